"""The DAGs under Airflow's own scheduler, workers and triggerer: what ``dag.test`` cannot show.

A worker that dies, a triggerer that dies, a task that is cleared, a wait that is too long, and a run that is late.
Against our Jobs API server, which says how many runs were started: each would be paid for.
"""

import time
from collections.abc import Iterator

import pytest
from kedro.framework.startup import bootstrap_project
from servers.airflow_deployment import DEFERRED, HURRIED, JOB, SYNCHRONOUS, TASK, Deployment, deployment, quarterly_dags

from al_platform.export.airflow.cli import generated
from temporary_project import make_project

pytestmark = pytest.mark.real

BOTH = pytest.mark.parametrize("dag_id", [SYNCHRONOUS, DEFERRED])


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("scheduler")
    project = make_project(folder / "project")
    bootstrap_project(project.path)
    with deployment(folder, quarterly_dags(project.path, generated)) as found:
        yield found


@pytest.fixture(autouse=True)
def _nothing_is_held(deployed: Deployment) -> Iterator[None]:
    yield
    deployed.databricks.release()


def cycle(year: int, dag_id: str) -> str:
    """Return a month of this year that is the DAG's own."""
    return f"{year}-{[SYNCHRONOUS, DEFERRED].index(dag_id) + 1:02d}"


def test_a_worker_that_dies_costs_no_second_run(deployed: Deployment) -> None:
    deployed.databricks.hold(JOB)
    run_id = deployed.session.trigger(SYNCHRONOUS, cycle="2026-01")
    deployed.until_known("2026-01")
    deployed.servers.kill_busy_workers()
    deployed.until_try(SYNCHRONOUS, run_id, 2)
    deployed.until_task(SYNCHRONOUS, run_id, "running")
    deployed.databricks.release(JOB)
    assert deployed.until_task(SYNCHRONOUS, run_id, "success", "failed") == {"state": "success", "tries": 2}
    assert len(deployed.started("2026-01")) == 1


def test_a_worker_that_dies_before_the_triggerer_takes_over_costs_no_second_run(deployed: Deployment) -> None:
    deployed.databricks.hold(JOB)
    deployed.databricks.fault("runs/get", 503, 3)
    run_id = deployed.session.trigger(DEFERRED, cycle="2026-02")
    deployed.until_known("2026-02")
    assert deployed.until_task(DEFERRED, run_id, "running", "deferred") == {"state": "running", "tries": 1}
    deployed.servers.kill_busy_workers()
    deployed.until_task(DEFERRED, run_id, "deferred")
    deployed.databricks.release(JOB)
    assert deployed.until_task(DEFERRED, run_id, "success", "failed") == {"state": "success", "tries": 2}
    assert len(deployed.started("2026-02")) == 1


@BOTH
def test_a_worker_that_dies_before_it_knows_its_run_takes_up_that_run(deployed: Deployment, dag_id: str) -> None:
    deployed.databricks.hold(JOB)
    # The run is started, and the answer that tells its id is lost: Airflow waits before it asks again.
    deployed.databricks.fault("run-now", 503, 1, is_done=True)
    run_id = deployed.session.trigger(dag_id, cycle=cycle(2027, dag_id))
    deployed.until_started(cycle(2027, dag_id))
    deployed.servers.kill_busy_workers()
    deployed.until_try(dag_id, run_id, 2)
    deployed.until_task(dag_id, run_id, "running", "deferred")
    deployed.databricks.release(JOB)
    assert deployed.until_task(dag_id, run_id, "success", "failed") == {"state": "success", "tries": 2}
    assert len(deployed.started(cycle(2027, dag_id))) == 1


@BOTH
def test_a_task_that_ended_well_and_is_cleared_runs_again(deployed: Deployment, dag_id: str) -> None:
    run_id = deployed.session.trigger(dag_id, cycle=cycle(2028, dag_id))
    deployed.until_run(dag_id, run_id, "success")
    deployed.session.clear(dag_id, run_id, TASK)
    deployed.until_try(dag_id, run_id, 2)
    assert deployed.until_run(dag_id, run_id, "success", "failed") == "success"
    assert len(deployed.started(cycle(2028, dag_id))) == 2


def alert_of(deployed: Deployment, run_id: str) -> str:
    """Return the one alert that tells of a failure in a run of a DAG."""

    def found() -> list[str]:
        return [alert["text"] for alert in deployed.posted if f"Run {run_id}, try" in alert["text"]]

    deployed.until(lambda: bool(found()), "an alert")
    time.sleep(3)
    [alert] = found()
    return alert


def test_a_last_try_whose_worker_dies_alerts_once(deployed: Deployment) -> None:
    deployed.databricks.hold(JOB)
    deployed.databricks.fault("run-now", 503, 1, is_done=True)
    run_id = deployed.session.trigger(HURRIED, cycle="2026-06")
    deployed.until_started("2026-06")
    deployed.servers.kill_busy_workers()
    assert deployed.until_task(HURRIED, run_id, "success", "failed") == {"state": "failed", "tries": 1}
    alert = alert_of(deployed, run_id)
    assert f"{HURRIED}: {TASK} failed" in alert
    assert "the task's process was lost" in alert


def test_a_run_that_the_triggerer_waits_for_too_long_is_cancelled_with_one_alert(deployed: Deployment) -> None:
    deployed.databricks.hold(JOB)
    run_id = deployed.session.trigger(HURRIED, cycle="2026-05")
    assert deployed.until_task(HURRIED, run_id, "success", "failed") == {"state": "failed", "tries": 1}
    [run] = deployed.started("2026-05")
    assert deployed.databricks.wait(run.run_id).state == "CANCELED"
    assert run.url in alert_of(deployed, run_id)


def test_a_triggerer_that_dies_costs_neither_a_run_nor_a_try(deployed: Deployment) -> None:
    deployed.databricks.hold(JOB)
    run_id = deployed.session.trigger(DEFERRED, cycle="2026-03")
    deployed.until_task(DEFERRED, run_id, "deferred")
    time.sleep(1)
    deployed.servers.kill("triggerer")
    deployed.databricks.release(JOB)
    deployed.servers.start("triggerer")
    assert deployed.until_task(DEFERRED, run_id, "success", "failed") == {"state": "success", "tries": 1}
    assert len(deployed.started("2026-03")) == 1


def test_a_run_that_is_late_is_reported_once_and_goes_on(deployed: Deployment) -> None:
    deployed.databricks.hold(JOB)
    run_id = deployed.session.trigger(SYNCHRONOUS, cycle="2026-04")
    late = f"Run {run_id} of {SYNCHRONOUS} has not ended"
    deployed.until(lambda: any(late in alert["text"] for alert in deployed.posted), "an alert")
    deployed.databricks.release(JOB)
    assert deployed.until_task(SYNCHRONOUS, run_id, "success", "failed")["state"] == "success"
    time.sleep(5)
    assert len([alert for alert in deployed.posted if late in alert["text"]]) == 1
