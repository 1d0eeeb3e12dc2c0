"""Both exports, how long they take; and the faults that a DAG meets: runs started, alerts sent, end state.

    python -m benchmarks.export     # QUICK=1: each export once

The faults are those of our Jobs API server, and the DAGs run in a real Airflow as ``dag.test`` does. What needs the
scheduler (a worker that dies, a run that is late) is in ``tests/real/test_airflow_scheduler.py``. Writes
``results/export.json``.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from benchmarks.loop import KEDRO, ROOT, copy_project, measure, median
from kedro.framework.startup import bootstrap_project
from servers.airflow_trial import CHANNEL, QUICK, AirflowTrial, airflow_trial
from servers.databricks_jobs import DatabricksJobsServer, Outcome

from al_platform.export.airflow.cli import generated
from al_platform.export.airflow.dags import CONDITIONS
from al_platform.export.configuration import exported_loader
from al_platform.export.databricks.jobs import stage_jobs
from al_platform.export.options import export_options
from al_platform.export.stage_list import stage_list

RESULTS = ROOT / "benchmarks" / "results" / "export.json"
ENV = "test"
JOB = "al-platform-train"

# What is done to the server before a quarter of the cycle given, with three families.
FAULTS: dict[str, Callable[[DatabricksJobsServer, str], None]] = {
    "none": lambda server, cycle: None,
    "a family's job fails once": lambda server, cycle: fail(server, cycle, ["FAILED", "SUCCESS"]),
    "a family's job always fails": lambda server, cycle: fail(server, cycle, ["FAILED"]),
    "a family's job is always timed out": lambda server, cycle: fail(server, cycle, ["TIMEDOUT"]),
    "run-now answers 429 twice": lambda server, cycle: server.fault("run-now", 429, 2),
    "run-now answers 503 twice": lambda server, cycle: server.fault("run-now", 503, 2),
    "run-now's answer is lost": lambda server, cycle: server.fault("run-now", 503, 1, is_done=True),
    "runs/get answers 503 twice": lambda server, cycle: server.fault("runs/get", 503, 2),
    "the gate says no to a family": lambda server, cycle: say_no(server, cycle),
}


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")))
    repeats = 1 if parser.parse_args().quick else 5
    with tempfile.TemporaryDirectory() as name:
        project = copy_project(Path(name) / "project")
        times = {side: export_time(side, project, repeats) for side in ("airflow", "databricks")}
        with airflow_trial(Path(name)) as trial:
            prepare(trial.databricks, trial)
            faults = {way: all_faults(trial, project, way == "deferred") for way in ("synchronous", "deferred")}
    for side, figures in times.items():
        print(f"{side:12} {figures['wall_s']:6.1f} s wall {figures['cpu_s']:6.1f} s CPU {figures['peak_mb']:6.0f} MB")
    for way, rows in faults.items():
        for fault, row in rows.items():
            print(f"{way:12} {fault:36} {row['runs']} runs, {row['alerts']} alerts, {row['state']}")
    RESULTS.write_text(json.dumps({"times": times, "faults": faults}, indent=2) + "\n")


def export_time(side: str, project: Path, repeats: int) -> dict[str, Any]:
    """Return what one export takes, started as a user starts it."""
    return median([measure([*KEDRO, "al", "export", side, "--env=databricks"], project) for _ in range(repeats)])


def prepare(server: DatabricksJobsServer, trial: AirflowTrial) -> None:
    """Create the exported jobs; their stages do nothing, and say that what follows is due."""
    loader = exported_loader(ROOT, "databricks")
    options = export_options(loader)
    for job in stage_jobs(stage_list(loader, options), options).values():
        trial.create_job(dict(job.as_dict()))
    for stage, value in CONDITIONS.values():
        server.script(stage, [Outcome(values={value: "true"})])


def all_faults(trial: AirflowTrial, project: Path, is_deferrable: bool) -> dict[str, dict[str, Any]]:
    """Return what came of a quarter under each fault."""
    options = {"airflow": {**QUICK, "is_deferrable": is_deferrable}, "notifications": {"webhooks": [CHANNEL]}}
    (project / "conf" / ENV / "export.yml").write_text(yaml.safe_dump(options))
    bootstrap_project(project)
    trial.home.use(generated(project, ENV))
    return {fault: under(trial, fault, f"20{20 + is_deferrable}-{n:02d}") for n, fault in enumerate(FAULTS, 1)}


def under(trial: AirflowTrial, fault: str, cycle: str) -> dict[str, Any]:
    """Return runs, alerts and state of a quarter under a fault."""
    FAULTS[fault](trial.databricks, cycle)
    ran = trial.run("al-platform-quarterly", cycle=cycle)
    return {"runs": len(ran.started), "alerts": len(ran.alerts), "state": ran.state}


def fail(server: DatabricksJobsServer, cycle: str, outcomes: list[str]) -> None:
    """Let the job of one family end so."""
    server.script(JOB, outcomes, family="topics", cycle=cycle)


def say_no(server: DatabricksJobsServer, cycle: str) -> None:
    """Let the gate of one family find nothing to do."""
    outcome = Outcome(values={"verdict": "reject", "is_promotion_due": "false"})
    server.script("evaluation", [outcome], family="topics", cycle=cycle)


if __name__ == "__main__":
    main()
