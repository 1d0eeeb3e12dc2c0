"""Both exports and the whole real chain, how long they take; and faults: runs started, alerts sent, end state.

    python -m benchmarks.export     # QUICK=1: each export once, and no chain

The chain is a month and a quarter of the shipped configuration, all families: a real Airflow starts the exported jobs
on our Jobs API server, which executes the notebooks. The DAGs run as ``dag.test`` does; what a worker or a triggerer
that dies comes to, and a run that is late, is seen under Airflow's own scheduler. Writes ``results/export.json``.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from benchmarks.loop import KEDRO, ROOT, copy_project, measure, median
from kedro.framework.startup import bootstrap_project
from servers.airflow_deployment import (
    DEFERRED,
    HURRIED,
    JOB,
    SYNCHRONOUS,
    TASK,
    Deployment,
    deployment,
    quarterly_dags,
)  # fmt: skip
from servers.airflow_trial import CHANNEL, QUICK, AirflowTrial, airflow_trial
from servers.databricks_jobs import DatabricksJobsServer, Outcome
from servers.databricks_jobs.bundle import deployed

from al_platform.export.airflow.cli import generated
from al_platform.export.databricks.cli import checked_bundle
from al_platform.export.outcome import CONDITIONS

RESULTS = ROOT / "benchmarks" / "results" / "export.json"
ENV = "test"

# What is done to the server before a quarter of the cycle given, with three families.
FAULTS: dict[str, Callable[[DatabricksJobsServer, str], None]] = {
    "none": lambda server, cycle: None,
    "a family's job fails once": lambda server, cycle: fail(server, cycle, ["FAILED", "SUCCESS"]),
    "a family's job always fails": lambda server, cycle: fail(server, cycle, ["FAILED"]),
    "a family's job is always timed out": lambda server, cycle: fail(server, cycle, ["TIMEDOUT"]),
    "a family's run cannot be repaired": lambda server, cycle: refuse_repair(server, cycle),
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
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project = copy_project(folder / "project")
        times = {side: export_time(side, project, 1 if quick else 5) for side in ("airflow", "databricks")}
        chain = json.loads(RESULTS.read_text())["chain"] if quick else whole_chain(folder / "chain")
        with airflow_trial(folder / "trial") as trial:
            prepare(trial)
            faults = {way: all_faults(trial, project, way == "deferred") for way in ("synchronous", "deferred")}
        deaths = under_the_scheduler(folder / "scheduler", copy_project(folder / "scheduled"))
    for side, figures in times.items():
        print(f"{side:12} {figures['wall_s']:6.1f} s wall {figures['cpu_s']:6.1f} s CPU {figures['peak_mb']:6.0f} MB")
    print(f"{'chain':12} {chain}")
    for way, rows in {**faults, "scheduler": deaths}.items():
        for fault, row in rows.items():
            print(f"{way:12} {fault:52} {row['runs']} runs, {row['alerts']} alerts, {row['state']}")
    results = {"times": times, "chain": chain, "faults": faults, "scheduler": deaths}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


def export_time(side: str, project: Path, repeats: int) -> dict[str, Any]:
    """Return what one export takes, started as a user starts it."""
    return median([measure([*KEDRO, "al", "export", side, "--env=databricks"], project) for _ in range(repeats)])


def whole_chain(folder: Path) -> dict[str, Any]:
    """Return wall seconds and CPU seconds of a month and a quarter from Airflow to a champion, and what was run."""
    project = copy_project(folder / "project")
    shutil.copytree(ROOT / "notebooks", project / "notebooks")
    write_options(project, "local", is_deferrable=False)
    bootstrap_project(project)
    with airflow_trial(folder, Path(sys.executable), project) as trial:
        deploy(trial)
        trial.home.use(generated(project, "local"))
        started, before = time.monotonic(), os.times()
        states = [trial.run(f"al-platform-{name}", cycle="2026-10").state for name in ("monthly", "quarterly")]
        assert states == ["success"] * 2, states
        wall_s, after = time.monotonic() - started, os.times()
        cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
        runs = trial.databricks.runs()
        notebooks = sum(len(trial.done(run) - {"gate", "is_new"}) for run in runs)
    return {"wall_s": round(wall_s, 1), "notebooks_cpu_s": round(cpu_s, 1), "runs": len(runs), "notebooks": notebooks}


def write_options(project: Path, env: str, is_deferrable: bool) -> None:
    """Configure the DAGs of an environment for a trial."""
    options = {"airflow": {**QUICK, "is_deferrable": is_deferrable}, "notifications": {"webhooks": [CHANNEL]}}
    file = project / "conf" / env / "export.yml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(options))


def deploy(trial: AirflowTrial) -> None:
    """Create the exported jobs."""
    bundle = checked_bundle(ROOT, "databricks")
    for job in bundle.resources["jobs"].values():
        trial.create_job(deployed(job, bundle.settings))


def prepare(trial: AirflowTrial) -> None:
    """Create the exported jobs; their stages do nothing, and say that what follows is due."""
    deploy(trial)
    for stage, value in CONDITIONS.items():
        trial.databricks.script(stage, [Outcome(values={value: "true"})])


def all_faults(trial: AirflowTrial, project: Path, is_deferrable: bool) -> dict[str, dict[str, Any]]:
    """Return what came of a quarter under each fault."""
    write_options(project, ENV, is_deferrable)
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


def refuse_repair(server: DatabricksJobsServer, cycle: str) -> None:
    """Let the job of one family fail once, and its repair be refused."""
    fail(server, cycle, ["FAILED", "SUCCESS"])
    server.fault("runs/repair", 400, 1)


def say_no(server: DatabricksJobsServer, cycle: str) -> None:
    """Let the gate of one family find nothing to do."""
    outcome = Outcome(values={"verdict": "reject", "is_promotion_due": "false"})
    server.script("evaluation", [outcome], family="topics", cycle=cycle)


def under_the_scheduler(folder: Path, project: Path) -> dict[str, dict[str, Any]]:
    """Return what came of a quarter of one family under faults of Airflow itself."""
    bootstrap_project(project)
    with deployment(folder, quarterly_dags(project, generated)) as found:
        return {
            "a worker that waits dies": killed(found, SYNCHRONOUS, "2030-01", knows=True),
            "a worker dies before it knows its run": killed(found, SYNCHRONOUS, "2030-02", knows=False),
            "the same, where the triggerer is to wait": killed(found, DEFERRED, "2030-03", knows=False),
            "the triggerer dies": without_triggerer(found, "2030-04"),
            "a wait in the triggerer is too long": ended(found, HURRIED, held(found, HURRIED, "2030-05"), "2030-05"),
            "a task that ended well is cleared": cleared(found, "2030-06"),
        }


def held(found: Deployment, dag_id: str, cycle: str) -> str:
    """Start a quarter whose run on Databricks does not end yet."""
    found.databricks.hold(JOB)
    return found.session.trigger(dag_id, cycle=cycle)


def ended(found: Deployment, dag_id: str, run_id: str, cycle: str) -> dict[str, Any]:
    """Return runs, alerts and state of a quarter when it has ended; what tells of late runs left out."""
    state = found.until_run(dag_id, run_id, "success", "failed")
    found.databricks.release(JOB)
    alerts = [alert for alert in found.posted if run_id in alert["text"] and "has not ended" not in alert["text"]]
    return {"runs": len(found.started(cycle)), "alerts": len(alerts), "state": state}


def killed(found: Deployment, dag_id: str, cycle: str, knows: bool) -> dict[str, Any]:
    """Kill the worker after it started a run, before or after it learnt which."""
    if not knows:
        found.databricks.fault("run-now", 503, 1, is_done=True)
    run_id = held(found, dag_id, cycle)
    (found.until_known if knows else found.until_started)(cycle)
    found.servers.kill_busy_workers()
    found.until_try(dag_id, run_id, 2)
    found.databricks.release(JOB)
    return ended(found, dag_id, run_id, cycle)


def without_triggerer(found: Deployment, cycle: str) -> dict[str, Any]:
    """Kill the triggerer while it waits, and start another one."""
    run_id = held(found, DEFERRED, cycle)
    found.until_task(DEFERRED, run_id, "deferred")
    found.servers.kill("triggerer")
    found.databricks.release(JOB)
    found.servers.start("triggerer")
    return ended(found, DEFERRED, run_id, cycle)


def cleared(found: Deployment, cycle: str) -> dict[str, Any]:
    """Clear the task of a quarter that ended well."""
    run_id = found.session.trigger(DEFERRED, cycle=cycle)
    found.until_run(DEFERRED, run_id, "success")
    found.session.clear(DEFERRED, run_id, TASK)
    found.until_try(DEFERRED, run_id, 2)
    return ended(found, DEFERRED, run_id, cycle)


if __name__ == "__main__":
    main()
