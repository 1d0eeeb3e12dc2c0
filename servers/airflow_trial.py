"""Airflow beside our Jobs API server and sinks for its alerts: what a run of a DAG starts, and whom it tells."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers.airflow import AirflowHome, AirflowSession
from servers.alert_sinks import mailbox, webhook
from servers.databricks_jobs import DatabricksJobsServer, StartedRun

CHANNEL = "alerts"
"""Name of the connection by which alerts reach the webhook."""

WRONG_TOKEN = "wrong_token"
"""Name of a connection to the workspace that it does not let in."""

QUICK = {"polling_seconds": 0.05, "retry_delay_minutes": 0.002, "http_retry_delay_seconds": 0.01}
"""Options of DAGs that wait for nothing."""


@dataclass
class Ran:
    """What came of a run of a DAG.

    Attributes:
        state: Of the run.
        tasks: State by task.
        tries: How often each task was tried.
        started: Runs on Databricks.
        alerts: What the webhook was told.
        mails: What the mail server was given.
    """

    state: str
    tasks: dict[str, str]
    tries: dict[str, int]
    started: list[StartedRun]
    alerts: list[str]
    mails: list[Any]


@dataclass
class AirflowTrial:
    """Airflow, the server it talks to, and where its alerts arrive."""

    home: AirflowHome
    airflow: AirflowSession
    databricks: DatabricksJobsServer
    posted: list[Any]
    mailed: list[Any]

    def run(self, dag_id: str, **conf: str) -> Ran:
        """Run a DAG with these parameters, task after task, and return what came of it."""
        runs, posted, mailed = len(self.databricks.runs()), len(self.posted), len(self.mailed)
        found = self.airflow.run(dag_id, conf=conf)
        return Ran(
            found["state"],
            {name: task["state"] for name, task in found["tasks"].items()},
            {name: task["tries"] for name, task in found["tasks"].items()},
            self.databricks.runs()[runs:],
            [alert["text"] for alert in self.posted[posted:]],
            self.mailed[mailed:],
        )

    def create_job(self, settings: dict[str, Any]) -> int:
        """Create a job, and return its id."""
        created = self.databricks.client().api_client.do("POST", "/api/2.2/jobs/create", body=settings)
        assert isinstance(created, dict)
        return int(created["job_id"])

    def tries(self, run: StartedRun) -> dict[str, int]:
        """Return how often each task of a run on Databricks was executed."""
        tasks = self.databricks.client().jobs.get_run(run.run_id).tasks or []
        ended = [
            task.task_key for task in tasks if task.state and str(task.state.life_cycle_state).endswith(".TERMINATED")
        ]
        return dict(Counter(ended))

    def done(self, run: StartedRun) -> set[str]:
        """Return the tasks of a run on Databricks that were executed."""
        tasks = self.databricks.client().jobs.get_run(run.run_id).tasks or []
        return {task.task_key for task in tasks if task.state and str(task.state.result_state).endswith(".SUCCESS")}


@contextmanager
def airflow_trial(folder: Path, interpreter: Path | None = None, project: Path | None = None) -> Iterator[AirflowTrial]:
    """Start everything in a folder; with an interpreter and a project, notebooks are executed."""
    with (
        DatabricksJobsServer(folder / "databricks", interpreter, project, pause_s=0.01) as databricks,
        webhook() as posted,
        mailbox() as mailed,
    ):
        home = AirflowHome(folder / "home", _connections(databricks, posted.port, mailed.port))
        with home.session() as airflow:
            yield AirflowTrial(home, airflow, databricks, posted.arrived, mailed.arrived)


def _connections(databricks: DatabricksJobsServer, webhook_port: int, mail_port: int) -> dict[str, str]:
    workspace = {"host": databricks.host, "schema": "http", "port": databricks.port, "password": databricks.token}
    plain = {"disable_ssl": True, "disable_tls": True, "from_email": "loop@example.org"}
    connections = {
        "DATABRICKS_DEFAULT": {"conn_type": "databricks", **workspace},
        WRONG_TOKEN.upper(): {"conn_type": "databricks", **workspace, "password": "expired"},
        CHANNEL.upper(): {"conn_type": "http", "host": f"http://127.0.0.1:{webhook_port}/", "password": "secret"},
        "SMTP_DEFAULT": {"conn_type": "smtp", "host": "127.0.0.1", "port": mail_port, "extra": plain},
    }
    return {f"AIRFLOW_CONN_{name}": json.dumps(connection) for name, connection in connections.items()}
