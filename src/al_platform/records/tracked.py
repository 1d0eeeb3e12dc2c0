"""The same table as the index of runs, from what a tracker tells of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from al_platform.records.query import Wanted
from al_platform.records.run_index import RUNS
from al_platform.stages import STAGE
from al_platform.tracking.options import TrackingOptions
from al_platform.tracking.sender import Sender
from al_platform.tracking.tracker import Found
from al_platform.tracking.wandb_server import has_account

_ASKED = ("family", "stage", "cycle")
_OF_RUN = ("wall_s", "size_bytes")


def why_not_asked(options: TrackingOptions) -> str | None:
    """Return why there is no tracker that could answer; None where there is one."""
    if options.backend == "none":
        return "backend is none in tracking.yml"
    if options.backend == "wandb" and options.mode == "offline" and not has_account():
        return "W&B is offline, and there is no account (WANDB_API_KEY)"
    return None


def tracked_runs(options: TrackingOptions, project: Path, wanted: Wanted) -> pa.Table:
    """Return the committed stage runs that a tracker knows, as ``run_index.RUNS``, oldest first.

    Figures hold all that the tracker has as the run's last values, a training's curves among them in W&B.

    Args:
        options: Which tracker.
        project: The project's folder.
        wanted: Family, stage and cycle are asked for; the rest is for ``find_runs``.

    Raises:
        TrackerError: It does not answer.
    """
    filters = {name: value for name in _ASKED if (value := getattr(wanted, name)) is not None}
    with Sender(options, project) as sender:
        found = sender.find(filters)
    # Not live curves, nor what people did by hand: the table is of commits.
    rows = [_row(each) for each in found if each.config.get("stage") in STAGE and "commit" in each.config]
    return pa.Table.from_pylist(sorted(rows, key=lambda row: (row["committed_at"], row["run_id"])), RUNS)


def _row(found: Found) -> dict[str, Any]:
    config = found.config
    figures = {name: value for name, value in found.summary.items() if name not in _OF_RUN}
    return {
        **{name: config[name] for name in (*_ASKED, "run_id")},
        "number": int(config["commit"]),
        "committed_at": config["ended_at"],
        "wall_s": float(found.summary.get("wall_s", 0)),
        "size_bytes": int(found.summary.get("size_bytes", 0)),
        **{name: config.get(name) for name in ("code_revision", "dataset", "model")},
        "figures": _json(figures),
        "inputs": _json({name: read.get("sha256") for name, read in config.get("inputs", {}).items()}),
        "outputs": _json(config.get("outputs", {})),
        "parameters": _json(config.get("parameters", {})),
    }


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)
