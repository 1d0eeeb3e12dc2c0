"""A real Airflow in an environment and a folder of its own, for tests and trials of DAGs."""

import base64
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from servers.environments import environment

DRIVER = Path(__file__).with_name("airflow_driver.py")
# Scheduler and triggerer would serve their logs to the whole network.
_PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "api-server": (),
    "dag-processor": (),
    "scheduler": ("--skip-serve-logs",),
    "triggerer": ("--skip-serve-logs",),
}


class AirflowHome:
    """A folder with Airflow's database, DAGs and plugins, and the variables by which Airflow finds them.

    Attributes:
        dags: DAG files.
        plugins: What DAGs import.
    """

    def __init__(self, folder: Path, variables: Mapping[str, str] | None = None) -> None:
        """Make the folder, with a database.

        Args:
            folder: Made if missing.
            variables: More variables, for instance ``AIRFLOW_CONN_DATABRICKS_DEFAULT``.
        """
        self.folder = folder.absolute()
        self.dags = self.folder / "dags"
        self.plugins = self.folder / "plugins"
        self._variables = {**_server_settings(free_port()), **(variables or {})}
        for made in (self.dags, self.plugins):
            made.mkdir(parents=True, exist_ok=True)
        # Programs that start together would each write one, with a key of its own.
        (self.folder / "airflow.cfg").touch()
        if not (self.folder / "airflow.db").exists():
            shutil.copy(_empty_database(), self.folder / "airflow.db")

    def use(self, files: Mapping[str, str]) -> None:
        """Hold these files, by their path in ``airflow_dags``, instead of what was there."""
        for folder in (self.dags, self.plugins):
            shutil.rmtree(folder)
            folder.mkdir()
        for name, content in files.items():
            target = self.folder / name if name.startswith("plugins/") else self.dags / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)

    def servers(self) -> "AirflowServers":
        """Return what a deployment runs, for this folder; a context manager."""
        return AirflowServers(self)

    def session(self) -> "AirflowSession":
        """Return a process of Airflow that parses and runs DAGs; a context manager."""
        return AirflowSession(self)

    def start(self, name: str, program: str, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a program of Airflow's environment in a session of its own, with its output in ``logs/<name>.log``."""
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        with (logs / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [_program(program), *arguments], env=self.environment(), cwd=self.folder, stderr=log,
                start_new_session=True, **{"stdout": log, **options},
            )  # fmt: skip

    def environment(self) -> dict[str, str]:
        """Return the variables of Airflow's processes."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
        return {**inherited, **_settings(self.folder), **self._variables}


class AirflowServers:
    """What a deployment runs: API server, scheduler with its workers, DAG processor, triggerer; a context manager."""

    def __init__(self, home: AirflowHome) -> None:
        self._home = home
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        for name in _PROGRAMS:
            self.start(name)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            # A worker in the middle of a task stays when its scheduler ends.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def start(self, name: str) -> None:
        """Start one of them, by the name of its command."""
        self._processes[name] = self._home.start(name, "airflow", name, *_PROGRAMS[name])

    def kill(self, name: str) -> None:
        """Kill one of them as a machine that fails does: with all that it started."""
        for pid in (*_descendants(self._processes[name].pid), self._processes[name].pid):
            os.kill(pid, signal.SIGKILL)
        self._processes[name].wait()

    def kill_busy_workers(self) -> None:
        """Kill the scheduler's workers that run a task, with the task."""
        # An idle one may hold the lock of the queue that all of them read, and would take the others with it.
        for worker in _children(self._processes["scheduler"].pid):
            tasks = _descendants(worker)
            for pid in [*tasks, worker] if tasks else []:
                os.kill(pid, signal.SIGKILL)


class AirflowSession:
    """One process for many DAG runs: a start of Airflow takes ten seconds of a processor."""

    def __init__(self, home: AirflowHome) -> None:
        self._home = home

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = self._home.start("driver", "python", "-P", str(DRIVER), stdin=pipe, stdout=pipe)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def parse(self) -> dict[str, Any]:
        """Return what Airflow makes of the DAG files: ``errors`` by file, and ``dags`` by id."""
        return self._ask(do="parse")

    def run(self, dag_id: str, **options: Any) -> dict[str, Any]:
        """Run a DAG as ``dag.test`` does, task after task in this process.

        Args:
            dag_id: Of the DAG.
            options: ``conf``, ``run_after`` and ``logical_date`` of the run, times in ISO format; ``only`` the task
                that is executed, while all others count as done.

        Returns:
            The run's ``state``, each task's ``state``, ``tries`` and what it returned.
        """
        return self._ask(do="run", dag_id=dag_id, **options)

    def due(self, dag_id: str, now: str) -> dict[str, Any]:
        """Return ``run_after`` and ``logical_date`` of the first run after a time that a DAG's schedule asks for."""
        return self._ask(do="due", dag_id=dag_id, now=now)

    def trigger(self, dag_id: str, **conf: str) -> str:
        """Ask the scheduler of this folder for a run, and return the run's id."""
        return str(self._ask(do="trigger", dag_id=dag_id, conf=conf)["run_id"])

    def state(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return ``state`` and ``tasks`` of a run that the scheduler is at."""
        return self._ask(do="state", dag_id=dag_id, run_id=run_id)

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear a task of a run that has ended, as a person does who wants it to run again."""
        self._ask(do="clear", dag_id=dag_id, run_id=run_id, task_id=task_id)

    def known(self) -> list[str]:
        """Return the DAGs that the scheduler can run by now."""
        found: list[str] = self._ask(do="known")["dags"]
        return found

    def _ask(self, **request: Any) -> dict[str, Any]:
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"Airflow's process ended. Its log is in {self._home.folder / 'logs'}.")
        found: dict[str, Any] = json.loads(answer)
        if "error" in found:
            raise RuntimeError(found["error"])
        return found


def _children(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = (line.split() for line in listed.splitlines())
    return [int(child) for child, parent in pairs if int(parent) == pid]


def _descendants(pid: int) -> list[int]:
    children = _children(pid)
    return [*(found for child in children for found in _descendants(child)), *children]


def free_port() -> int:
    """Return a port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _program(name: str) -> Path:
    return environment("airflow") / "bin" / name


def _settings(folder: Path) -> dict[str, str]:
    return {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(folder / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder / "logs"),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "DO_NOT_TRACK": "1",
    }


def _server_settings(port: int) -> dict[str, str]:
    return {
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(16),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "2",
        # What is lost is noticed within seconds, where a deployment takes minutes.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
        "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",
    }


def _empty_database() -> Path:
    """Return a database that holds Airflow's tables, made once for an environment: that takes 15 seconds."""
    made = environment("airflow") / "empty.db"
    if not made.exists():
        folder = made.with_name(f"making-{os.getpid()}")
        folder.mkdir()
        command = [_program("airflow"), "db", "migrate"]
        subprocess.run(command, env={**os.environ, **_settings(folder)}, check=True, capture_output=True)
        (folder / "airflow.db").rename(made)
        shutil.rmtree(folder)
    return made
