"""A run to publish, and what each tracker shows of what was published."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from al_platform.tracking.tracked_run import TrackedArtifact, TrackedRun, TrackedTable, tracker_id

if TYPE_CHECKING:
    from wandb_stand_in import StoredRun, WandbStandIn

DIGEST = "ab" * 32


def model(**changes: Any) -> TrackedArtifact:
    known = {"name": "topics-model", "kind": "model", "sha256": DIGEST, "uri": "/nowhere/model"}
    return TrackedArtifact(**{**known, **changes})


def tracked_run(run_id: str = "r1", **changes: Any) -> TrackedRun:
    known: dict[str, Any] = {
        "id": tracker_id("topics", "2026-10", "training", run_id),
        "name": "topics 2026-10 training",
        "group": "topics 2026-10",
        "job_type": "training",
        "tags": ("topics", "2026-10"),
        "started_at": "2026-11-02T03:00:00.000+00:00",
        "ended_at": "2026-11-02T03:05:00.000+00:00",
        "config": {
            "family": "topics",
            "cycle": "2026-10",
            "stage": "training",
            "inputs": {"topics.dataset": {"place": "topics/dataset.parquet", "sha256": "cd" * 32}},
        },
        "summary": {"metrics.macro_f1.value": 0.75, "verdict": "promote"},
        "history": ({"epoch": 0, "validation_loss": 1.5}, {"epoch": 1, "validation_loss": 1.0}),
        "tables": {"classes": TrackedTable(columns=("label", "f1"), rows=(("sport", 0.5), ("tech", None)))},
        "plots": {"Reliability": "<svg></svg>"},
        "makes": (model(aliases=("challenger",)),),
    }
    return TrackedRun(**{**known, **changes})


@dataclass(frozen=True)
class Seen:
    """A run as the tracker's own reader shows it."""

    id: str
    name: str
    group: str
    job_type: str
    sha256_of_dataset: str
    macro_f1: float
    verdict: str
    losses: list[float]
    tables: set[str]
    model_aliases: set[str]
    is_finished: bool


def leet(file: Path, *options: str) -> str:
    """Ask W&B's own reader of offline files."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", *options, str(file)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def seen_in_wandb_files(folder: Path) -> list[Seen]:
    return [_of_file(file) for file in sorted(folder.glob("wandb/offline-run-*/*.wandb"))]


def records(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in leet(file).splitlines()]


def _of_file(file: Path) -> Seen:
    found = records(file)
    summary = json.loads(leet(file, "--summary"))
    run = next(record["run"] for record in found if record["type"] == "run")
    rows = [record["history"]["item"] for record in found if record["type"] == "history"]
    artifacts = [record["artifact"] for record in found if record["type"] == "artifact"]
    return Seen(
        id=run["run_id"],
        name=run["display_name"],
        group=run["run_group"],
        job_type=run["job_type"],
        sha256_of_dataset=summary["config"]["inputs"]["topics.dataset"]["sha256"],
        macro_f1=summary["summary"]["metrics.macro_f1.value"],
        verdict=summary["summary"]["verdict"],
        losses=[row["validation_loss"] for row in rows if "validation_loss" in row],
        tables={name for name, value in summary["summary"].items() if _type(value) == "table-file"},
        model_aliases={alias for made in artifacts if made["type"] == "model" for alias in made["aliases"]} & _ALIASES,
        is_finished=summary["exit_code"] == 0,
    )


_ALIASES = {"champion", "challenger"}


def seen_in_stand_in(server: "WandbStandIn") -> list[Seen]:
    return [_of_stand_in(server, run) for run in server.runs.values() if run.job_type != "fit"]


def _of_stand_in(server: "WandbStandIn", run: "StoredRun") -> Seen:
    models = {made.id for made in server.artifacts.values() if made.kind == "model"}
    return Seen(
        id=run.id,
        name=str(run.display_name),
        group=str(run.group),
        job_type=str(run.job_type),
        sha256_of_dataset=run.config["inputs"]["value"]["topics.dataset"]["sha256"],
        macro_f1=run.summary["metrics.macro_f1.value"],
        verdict=run.summary["verdict"],
        losses=[row["validation_loss"] for row in run.history if "validation_loss" in row],
        tables={name for name, value in run.summary.items() if _type(value) == "table-file"},
        model_aliases={alias for (_, alias), made in server.aliases.items() if made in models} & _ALIASES,
        is_finished=run.is_finished,
    )


def _type(value: object) -> object:
    return value.get("_type") if isinstance(value, dict) else None


def seen_in_mlflow(uri: str, project: str) -> list[Seen]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(project)
    return [_of_mlflow(client, run) for run in client.search_runs([experiment.experiment_id])] if experiment else []


def _of_mlflow(client: Any, run: Any) -> Seen:
    history = client.get_metric_history(run.info.run_id, "epoch.validation_loss")
    models = client.search_registered_models()
    return Seen(
        id=run.data.tags["al.id"],
        name=run.info.run_name,
        group=run.data.tags["group"],
        job_type=run.data.tags["job_type"],
        sha256_of_dataset=run.data.params["inputs.topics.dataset.sha256"],
        macro_f1=run.data.metrics["metrics.macro_f1.value"],
        verdict=run.data.tags["verdict"],
        losses=[point.value for point in sorted(history, key=lambda point: point.step)],
        tables={Path(file.path).stem for file in client.list_artifacts(run.info.run_id, "tables")},
        model_aliases={alias for model in models for alias in model.aliases},
        is_finished=run.info.status == "FINISHED",
    )
