"""Airflow's own scheduler, workers and triggerer beside our Jobs API server: for what ``dag.test`` cannot show."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from servers.airflow import AirflowHome, AirflowServers, AirflowSession
from servers.alert_sinks import webhook
from servers.databricks_jobs import DatabricksJobsServer, StartedRun

JOB = "al-platform-train"
TASK = "quarterly.topics.train"
SYNCHRONOUS, DEFERRED, HURRIED = "al-platform-quarterly", "deferred-quarterly", "hurried-quarterly"
"""The DAG whose worker waits for Databricks, one whose triggerer does, and one whose triggerer waits six seconds."""

_HTTP_RETRY_S = 2


@dataclass
class Deployment:
    """Airflow at work, and the workspace it talks to.

    Attributes:
        servers: Airflow's programs.
        session: Asks them.
        databricks: Says how many runs were started: each would be paid for.
        posted: Alerts.
    """

    servers: AirflowServers
    session: AirflowSession
    databricks: DatabricksJobsServer
    posted: list[Any]

    def started(self, cycle: str) -> list[StartedRun]:
        """Return the runs that were started for a cycle."""
        return [run for run in self.databricks.runs() if run.parameters["cycle"] == cycle]

    def until(self, holds: Callable[[], bool], what: str, timeout_s: float = 180) -> None:
        """Wait until something holds; AssertionError where it does not in time."""
        deadline = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < deadline, f"{what} did not come about in {timeout_s:.0f} s"
            time.sleep(0.2)

    def until_started(self, cycle: str) -> None:
        """Wait until a run is started for a cycle."""
        self.until(lambda: len(self.started(cycle)) == 1, "a run on Databricks")

    def until_known(self, cycle: str) -> None:
        """Wait until Airflow knows the run that was started for a cycle: it has asked for its page."""
        self.until_started(cycle)
        run_id = str(self.started(cycle)[0].run_id)
        asked = lambda: [call for call in self.databricks.calls() if str(call.body.get("run_id")) == run_id]  # noqa: E731
        self.until(lambda: bool(asked()), "a look at the run")

    def until_task(self, dag_id: str, run_id: str, *states: str) -> dict[str, Any]:
        """Wait until the task is in one of these states, and return what is known of it."""
        self.until(lambda: self._task(dag_id, run_id)["state"] in states, f"{TASK} {states}")
        return self._task(dag_id, run_id)

    def until_try(self, dag_id: str, run_id: str, number: int) -> None:
        """Wait until the task is tried for this time."""
        self.until(lambda: self._task(dag_id, run_id)["tries"] == number, f"try {number}")

    def until_run(self, dag_id: str, run_id: str, *states: str) -> str:
        """Wait until the DAG's run is in one of these states, and return which."""
        self.until(lambda: self.session.state(dag_id, run_id)["state"] in states, f"{dag_id} {states}")
        return str(self.session.state(dag_id, run_id)["state"])

    def _task(self, dag_id: str, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.session.state(dag_id, run_id)["tasks"][TASK]
        return found


@contextmanager
def deployment(folder: Path, files: Mapping[str, str]) -> Iterator[Deployment]:
    """Start everything in a folder, with these files of DAGs."""
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
        home.use(files)
        with home.servers() as servers, home.session() as session:
            found = Deployment(servers, session, databricks, sink.arrived)
            found.until(lambda: {SYNCHRONOUS, DEFERRED, HURRIED} <= {*session.known()}, "parsing")
            yield found


def quarterly_dags(project: Path, generate: Callable[[Path, str], dict[str, str]]) -> dict[str, str]:
    """Return the files of the quarterly DAG in its three kinds, for one family.

    Args:
        project: Its environment ``test`` is configured for this.
        generate: Writes the DAGs of an environment.
    """
    conf, in_100_days = project / "conf" / "test", datetime.now(UTC) + timedelta(days=100)
    (conf / "families.yml").write_text(yaml.safe_dump({"families": ["topics"]}))
    quick = {"polling_seconds": 0.2, "retry_delay_minutes": 0.002, "http_retry_delay_seconds": _HTTP_RETRY_S}
    files: dict[str, str] = {}
    for dag_id in (SYNCHRONOUS, DEFERRED, HURRIED):
        options = {
            "airflow": {**quick, "is_deferrable": dag_id != SYNCHRONOUS},
            "notifications": {"webhooks": ["alerts"]},
            # None is due while this runs.
            "schedules": {"quarterly": f"0 0 {in_100_days.day} {in_100_days.month} *"},
            "deadlines_hours": {"quarterly": 5 / 3600},
        }
        (conf / "export.yml").write_text(yaml.safe_dump(options))
        made = generate(project, "test")
        name = "al_platform_test_quarterly_dag.py"
        text = made[name].replace(SYNCHRONOUS, dag_id)
        if dag_id == HURRIED:
            text = re.sub(
                r"execution_timeout=.*,\n +retries=2", "execution_timeout=timedelta(seconds=6), retries=0", text
            )
        files |= {f"{dag_id}_{name}": text, **{n: made[n] for n in made if n.startswith("plugins/")}}
    return files
