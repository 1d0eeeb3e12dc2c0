"""The DAGs under Airflow's own scheduler, workers and triggerer: what ``dag.test`` cannot show.

A worker that dies, a triggerer that dies, and a run that is late. Against our Jobs API server, which says how many runs
were started: each would be paid for.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kedro.framework.startup import bootstrap_project
from servers.airflow import AirflowHome, AirflowServers, AirflowSession
from servers.alert_sinks import webhook
from servers.databricks_jobs import DatabricksJobsServer

from al_platform.export.airflow.cli import generated
from temporary_project import make_project

pytestmark = pytest.mark.real

JOB = "al-platform-train"
SYNCHRONOUS, DEFERRED, HURRIED = "al-platform-quarterly", "deferred-quarterly", "hurried-quarterly"
BOTH = pytest.mark.parametrize("dag_id", [SYNCHRONOUS, DEFERRED])
TASK = "quarterly.topics.train"


@dataclass
class Deployment:
    """Airflow at work, and the workspace it talks to."""

    servers: AirflowServers
    session: AirflowSession
    databricks: DatabricksJobsServer
    posted: list[Any]

    def started(self, cycle: str) -> int:
        """How many runs were started for a cycle."""
        return sum(run.parameters["cycle"] == cycle for run in self.databricks.runs())

    def until(self, holds: Callable[[], bool], what: str, timeout_s: float = 180) -> None:
        deadline = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < deadline, f"{what} did not come about in {timeout_s:.0f} s"
            time.sleep(0.5)

    def until_task(self, dag_id: str, run_id: str, *states: str) -> dict[str, Any]:
        """Wait until the task is in one of these states, and return what is known of it."""
        self.until(lambda: self.session.state(dag_id, run_id)["tasks"][TASK]["state"] in states, f"{TASK} {states}")
        found: dict[str, Any] = self.session.state(dag_id, run_id)["tasks"][TASK]
        return found

    def until_try(self, dag_id: str, run_id: str, number: int) -> None:
        """Wait until the task is tried for this time."""
        self.until(lambda: self.session.state(dag_id, run_id)["tasks"][TASK]["tries"] == number, f"try {number}")


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("scheduler")
    with DatabricksJobsServer(folder / "databricks", pause_s=0.01) as databricks, webhook() as sink:
        task = {"task_key": "training", "notebook_task": {"notebook_path": "/training"}, "existing_cluster_id": "any"}
        parameters = [{"name": name, "default": ""} for name in ("family", "cycle", "env")]
        settings = {"name": JOB, "parameters": parameters, "tasks": [task], "max_concurrent_runs": 10}
        databricks.client().api_client.do("POST", "/api/2.2/jobs/create", body=settings)
        workspace = {"host": databricks.host, "schema": "http", "port": databricks.port, "password": databricks.token}
        connections = {
            "DATABRICKS_DEFAULT": {"conn_type": "databricks", **workspace},
            "ALERTS": {"conn_type": "http", "host": f"http://127.0.0.1:{sink.port}/"},
        }
        variables = {f"AIRFLOW_CONN_{name}": json.dumps(value) for name, value in connections.items()}
        home = AirflowHome(folder / "home", variables)
        home.use(dags(folder))
        with home.servers() as servers, home.session() as session:
            found = Deployment(servers, session, databricks, sink.arrived)
            found.until(lambda: {SYNCHRONOUS, DEFERRED, HURRIED} <= {*session.known()}, "parsing")
            yield found


@pytest.fixture(autouse=True)
def _nothing_is_held(deployment: Deployment) -> Iterator[None]:
    yield
    deployment.databricks.release()


def dags(folder: Any) -> dict[str, str]:
    """Return the files of the quarterly DAG: a worker waits for Databricks, or the triggerer, or that not for long."""
    project = make_project(folder / "project")
    project.only("topics")
    bootstrap_project(project.path)
    in_100_days = datetime.now(UTC) + timedelta(days=100)
    quick = {"polling_seconds": 0.2, "retry_delay_minutes": 0.002, "http_retry_delay_seconds": 2}
    files = {}
    for dag_id, is_deferrable in ((SYNCHRONOUS, False), (DEFERRED, True), (HURRIED, True)):
        options = {
            "airflow": {**quick, "is_deferrable": is_deferrable},
            "notifications": {"webhooks": ["alerts"]},
            # None is due while the tests run.
            "schedules": {"quarterly": f"0 0 {in_100_days.day} {in_100_days.month} *"},
            "deadlines_hours": {"quarterly": 5 / 3600},
        }
        project.configure("export.yml", options)
        made = generated(project.path, "test")
        name, library = "al_platform_test_quarterly_dag.py", {n: made[n] for n in made if n.startswith("plugins/")}
        text = made[name].replace(SYNCHRONOUS, dag_id)
        if dag_id == HURRIED:
            text = re.sub(
                r"execution_timeout=.*,\n +retries=2", "execution_timeout=timedelta(seconds=1), retries=0", text
            )
        files |= {f"{dag_id}_{name}": text, **library}
    return files


def test_a_worker_that_dies_costs_no_second_run(deployment: Deployment) -> None:
    deployment.databricks.hold(JOB)
    run_id = deployment.session.trigger(SYNCHRONOUS, cycle="2026-01")
    deployment.until(lambda: deployment.started("2026-01") == 1, "a run on Databricks")
    time.sleep(1)
    deployment.servers.kill_busy_workers()
    deployment.until_try(SYNCHRONOUS, run_id, 2)
    deployment.until_task(SYNCHRONOUS, run_id, "running")
    deployment.databricks.release(JOB)
    task = deployment.until_task(SYNCHRONOUS, run_id, "success", "failed")
    assert task == {"state": "success", "tries": 2}
    assert deployment.started("2026-01") == 1


def test_a_worker_that_dies_before_the_triggerer_takes_over_costs_no_second_run(deployment: Deployment) -> None:
    deployment.databricks.hold(JOB)
    deployment.databricks.fault("runs/get", 503, 3)
    run_id = deployment.session.trigger(DEFERRED, cycle="2026-02")
    deployment.until(lambda: deployment.started("2026-02") == 1, "a run on Databricks")
    time.sleep(1)
    assert deployment.session.state(DEFERRED, run_id)["tasks"][TASK] == {"state": "running", "tries": 1}
    deployment.servers.kill_busy_workers()
    deployment.until_task(DEFERRED, run_id, "deferred")
    deployment.databricks.release(JOB)
    task = deployment.until_task(DEFERRED, run_id, "success", "failed")
    assert task == {"state": "success", "tries": 2}
    assert deployment.started("2026-02") == 1


@BOTH
def test_a_worker_that_dies_before_it_knows_its_run_takes_up_that_run(deployment: Deployment, dag_id: str) -> None:
    cycle = f"2027-{[SYNCHRONOUS, DEFERRED].index(dag_id) + 1:02d}"
    deployment.databricks.hold(JOB)
    # The run is started, and the answer that tells its id is lost: Airflow waits before it asks again.
    deployment.databricks.fault("run-now", 503, 1, is_done=True)
    run_id = deployment.session.trigger(dag_id, cycle=cycle)
    deployment.until(lambda: deployment.started(cycle) == 1, "a run on Databricks")
    deployment.servers.kill_busy_workers()
    deployment.until_try(dag_id, run_id, 2)
    deployment.until_task(dag_id, run_id, "running", "deferred")
    deployment.databricks.release(JOB)
    task = deployment.until_task(dag_id, run_id, "success", "failed")
    assert task == {"state": "success", "tries": 2}
    assert deployment.started(cycle) == 1


@BOTH
def test_a_task_that_is_cleared_runs_again(deployment: Deployment, dag_id: str) -> None:
    cycle = f"2028-{[SYNCHRONOUS, DEFERRED].index(dag_id) + 1:02d}"
    run_id = deployment.session.trigger(dag_id, cycle=cycle)
    deployment.until(lambda: deployment.session.state(dag_id, run_id)["state"] == "success", "success")
    deployment.session.clear(dag_id, run_id, TASK)
    deployment.until_try(dag_id, run_id, 2)
    deployment.until_task(dag_id, run_id, "success")
    assert deployment.started(cycle) == 2


def test_a_run_that_the_triggerer_waits_for_too_long_is_cancelled(deployment: Deployment) -> None:
    deployment.databricks.hold(JOB)
    run_id = deployment.session.trigger(HURRIED, cycle="2026-05")
    assert deployment.until_task(HURRIED, run_id, "success", "failed") == {"state": "failed", "tries": 1}
    [run] = [run for run in deployment.databricks.runs() if run.parameters["cycle"] == "2026-05"]
    assert deployment.databricks.wait(run.run_id).state == "CANCELED"


def test_a_triggerer_that_dies_costs_neither_a_run_nor_a_try(deployment: Deployment) -> None:
    deployment.databricks.hold(JOB)
    run_id = deployment.session.trigger(DEFERRED, cycle="2026-03")
    deployment.until_task(DEFERRED, run_id, "deferred")
    time.sleep(1)
    deployment.servers.kill("triggerer")
    deployment.databricks.release(JOB)
    deployment.servers.start("triggerer")
    task = deployment.until_task(DEFERRED, run_id, "success", "failed")
    assert task == {"state": "success", "tries": 1}
    assert deployment.started("2026-03") == 1


def test_a_run_that_is_late_is_reported_once_and_goes_on(deployment: Deployment) -> None:
    deployment.databricks.hold(JOB)
    before = len(deployment.posted)
    run_id = deployment.session.trigger(SYNCHRONOUS, cycle="2026-04")
    deployment.until(lambda: len(deployment.posted) > before, "an alert")
    deployment.databricks.release(JOB)
    assert deployment.until_task(SYNCHRONOUS, run_id, "success", "failed")["state"] == "success"
    time.sleep(5)
    [alert] = deployment.posted[before:]
    assert f"Run {run_id} of {SYNCHRONOUS} has not ended" in alert["text"]
