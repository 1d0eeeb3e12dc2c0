"""Runs in Airflow's environment: takes requests as lines of JSON, and answers them so."""

import json
import os
import re
import sys
from datetime import datetime
from typing import Any


def parse() -> dict[str, Any]:
    """Parse the DAG files."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    return {"errors": bag.import_errors, "dags": {name: _dag(dag) for name, dag in bag.dags.items()}}


def run(
    dag_id: str,
    conf: dict[str, Any] | None = None,
    run_after: str | None = None,
    logical_date: str | None = None,
    only: str = "",
) -> dict[str, Any]:
    """Run a DAG in this process; with ``only``, this task, and all others count as done."""
    from airflow.utils.cli import get_bagged_dag

    dag = get_bagged_dag(None, dag_id)
    # Airflow 3.3's own test run cannot look a deadline up: it wants it stored, and does not store it.
    dag.deadline = None
    others = f"^(?!{re.escape(only)}$)" if only else None
    found = dag.test(_time(run_after), _time(logical_date), run_conf=conf, mark_success_pattern=others)
    returned = {ti.task_id: ti.xcom_pull(task_ids=ti.task_id) for ti in found.get_task_instances()}
    return {**_run(found), "returned": returned}


def trigger(dag_id: str, conf: dict[str, Any]) -> dict[str, Any]:
    """Ask a running scheduler for a run."""
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunTriggeredByType

    with create_session() as session:
        DagModel.get_dagmodel(dag_id, session=session).is_paused = False
    made = trigger_dag(dag_id, triggered_by=DagRunTriggeredByType.TEST, conf=conf)
    return {"run_id": made.run_id}


def state(dag_id: str, run_id: str) -> dict[str, Any]:
    """Look at a run that a scheduler is at."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    with create_session() as session:
        found = session.query(DagRun).filter_by(dag_id=dag_id, run_id=run_id).one()
        return _run(found)


def clear(dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
    """Clear a task of a run, and let a running scheduler take the run up again."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import clear_task_instances
    from airflow.utils.session import create_session

    with create_session() as session:
        found = session.query(DagRun).filter_by(dag_id=dag_id, run_id=run_id).one()
        clear_task_instances([found.get_task_instance(task_id, session=session)], session)
    return {}


def known() -> dict[str, Any]:
    """List the DAGs that the dag processor has stored."""
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.utils.session import create_session

    with create_session() as session:
        return {"dags": sorted(dag_id for (dag_id,) in session.query(SerializedDagModel.dag_id).distinct())}


def due(dag_id: str, now: str) -> dict[str, Any]:
    """Find the first run that the schedule asks for after a time."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.encoders import coerce_to_core_timetable
    from airflow.timetables.base import TimeRestriction

    dag = DagBag(dag_folder=os.environ["AIRFLOW__CORE__DAGS_FOLDER"]).dags[dag_id]
    timetable = coerce_to_core_timetable(dag.timetable)
    moment = _time(now)
    info = timetable.next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(moment, None, catchup=True)
    )
    return {"run_after": info.run_after.isoformat(), "logical_date": info.logical_date.isoformat()}


def _time(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None


def _run(found: Any) -> dict[str, Any]:
    tasks = {ti.task_id: {"state": str(ti.state), "tries": ti.try_number} for ti in found.get_task_instances()}
    return {"state": str(found.state), "tasks": tasks}


def _dag(dag: Any) -> dict[str, Any]:
    return {
        "file": dag.fileloc,
        "schedule": getattr(dag.timetable, "expression", None),
        "time_zone": str(getattr(dag.timetable, "timezone", "")),
        "catchup": dag.catchup,
        "active_runs": dag.max_active_runs,
        "tags": sorted(dag.tags),
        "deadlines_s": [alert.interval.total_seconds() for alert in dag.deadline or ()],
        "tasks": {task.task_id: _task(task) for task in dag.tasks},
    }


def _task(task: Any) -> dict[str, Any]:
    return {
        "type": type(task).__name__,
        "upstream": sorted(task.upstream_task_ids),
        "retries": task.retries,
        "retry_delay_s": task.retry_delay.total_seconds(),
        "backoff": task.retry_exponential_backoff,
        "timeout_s": task.execution_timeout.total_seconds() if task.execution_timeout else None,
        "alerts": [type(callback).__name__ for callback in task.on_failure_callback or ()],
        "deferrable": getattr(task, "deferrable", None),
        **{name: getattr(task, name, None) for name in ("job_name", "project", "python")},
    }


_REQUESTS = {function.__name__: function for function in (parse, run, trigger, state, clear, known, due)}


def main() -> None:
    """Answer until there are no more requests."""
    answers = os.fdopen(os.dup(1), "w")
    # Whatever Airflow prints goes to the log.
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = _REQUESTS[request.pop("do")](**request)
        # Whatever it is, whoever asked must learn of it, and may ask again.
        except Exception as error:  # noqa: BLE001
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
