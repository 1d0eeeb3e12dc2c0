"""The server: HTTP in front of the API, and what a test tells it or asks it."""

import json
import secrets
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from databricks.sdk import WorkspaceClient
from servers.databricks_jobs.api import answer
from servers.databricks_jobs.errors import ApiError
from servers.databricks_jobs.execution import Executor, Script
from servers.databricks_jobs.model import Outcome, Run
from servers.databricks_jobs.notebooks import NotebookRunner

_RESULTS = ("SUCCESS", "FAILED", "TIMEDOUT", "CANCELED")


@dataclass(frozen=True)
class Call:
    """One request and what it got."""

    method: str
    path: str
    body: dict[str, Any]
    status: int


@dataclass(frozen=True)
class StartedRun:
    """One run as it stands.

    Attributes:
        run_id: Of the run.
        job: Name of its job, or of the run if it has none.
        parameters: Job parameters.
        state: Its result, or while it is active its life cycle state.
        trigger: ONE_TIME, PERIODIC or RUN_JOB_TASK.
        url: Its page.
    """

    run_id: int
    job: str
    parameters: dict[str, str]
    state: str
    trigger: str
    url: str


@dataclass(frozen=True)
class _Response:
    status: int
    body: dict[str, Any]
    retry_after: int | None = None


@dataclass
class _Fault:
    fragment: str
    status: int
    times: int
    retry_after: int | None
    is_done: bool


class DatabricksJobsServer:
    """The Jobs API 2.2 on a port of this machine only; a context manager.

    Jobs run as on Databricks: dependencies, ``run_if``, conditions, jobs in jobs, native retries, time-outs, queue,
    repair. Notebooks are executed in processes of their own, with ``dbutils``, where ``interpreter`` and ``project``
    are given, and otherwise succeed unexecuted. A task of any other kind fails and says so. All state but what
    notebooks print and set is in the server's memory, so that a client may die and come back.

    What a green run here does not prove: that a cluster starts, that libraries, runtime, Spark, permissions, secrets or
    a Git source are right, that Databricks takes a field this server does not read, or how long anything takes. Where
    Databricks' documentation says nothing (the life cycle state of a skipped task, a task behind some excluded and some
    successful dependencies, the wording of messages), this server's answer is a guess.

    Attributes:
        host: Without port.
        port: Chosen when the object is made.
        url: The workspace's address.
        token: The only one that is accepted.
    """

    host = "127.0.0.1"

    def __init__(
        self, folder: Path, interpreter: Path | None = None, project: Path | None = None, *,
        port: int = 0, token: str | None = None, retry_scale: float = 1.0, pause_s: float = 0.05,
    ) -> None:  # fmt: skip
        """Prepare a server; ``start`` starts it.

        Args:
            folder: For what notebooks print, and the task values they set.
            interpreter: Executes notebooks.
            project: Where the notebooks lie.
            port: A free one if 0.
            token: A random one if None.
            retry_scale: Multiplies ``min_retry_interval_millis``.
            pause_s: How long a run stays PENDING.
        """
        runner = NotebookRunner(interpreter, project) if interpreter and project else None
        self._http = _Http((self.host, port), self._respond)
        self.port = int(self._http.server_port)
        self.url = f"http://{self.host}:{self.port}"
        self.token = token or secrets.token_hex(12)
        self._executor = Executor(folder.absolute(), runner, f"{self.url}/#job/runs", pause_s)
        self._executor.retry_scale = retry_scale
        self._faults: list[_Fault] = []
        self._calls: list[Call] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Answer requests from now on."""
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Cancel what runs, wait for it, and close the port."""
        self.release()
        for run in list(self._executor.runs.values()):
            self._executor.cancel(run)
        for run in list(self._executor.runs.values()):
            run.idle.wait()
        self._http.shutdown()
        self._http.server_close()

    def client(self) -> WorkspaceClient:
        """Return an SDK client of this server, whatever the environment configures."""
        return WorkspaceClient(host=self.url, token=self.token, auth_type="pat")

    def fault(
        self, path_fragment: str, status: int, times: int, retry_after: int | None = None, is_done: bool = False
    ) -> None:
        """Let the next requests whose path holds a fragment fail.

        Args:
            path_fragment: For instance ``run-now``.
            status: Of HTTP, for instance 429 or 503.
            times: How many requests.
            retry_after: Seconds that the answer asks to wait.
            is_done: The request takes effect all the same: only its answer is lost.
        """
        self._faults.append(_Fault(path_fragment, status, times, retry_after, is_done))

    def script(self, job_or_task_key: str, outcomes: Iterable[Outcome | str], **parameters: str) -> None:
        """Let consecutive attempts end as listed instead of being executed; the last outcome stays.

        Args:
            job_or_task_key: A task's key; or a job's name, which means its first task. Conditions are always evaluated.
            outcomes: Outcomes, or results alone: SUCCESS, FAILED, TIMEDOUT, CANCELED.
            parameters: Only in runs with these job parameters, for instance ``family="topics"``.
        """
        given = [_outcome(job_or_task_key, outcome) for outcome in outcomes]
        with self._executor.lock:
            self._executor.scripts.append(Script(job_or_task_key, given, parameters))

    def hold(self, job_or_task_key: str) -> None:
        """Keep every task of a job, or tasks with this key, RUNNING until it is released."""
        with self._executor.lock:
            self._executor.held.add(job_or_task_key)

    def release(self, job_or_task_key: str | None = None) -> None:
        """Let what is held go on: of one job or task, or of all."""
        with self._executor.lock:
            self._executor.held -= {job_or_task_key} if job_or_task_key else set(self._executor.held)
            self._executor.lock.notify_all()

    def trigger(self, job: str, at: datetime) -> int:
        """Start a job as its schedule does, and return the run's id.

        Args:
            job: Its name.
            at: The time that the schedule fell due, with a time zone.

        Raises:
            RuntimeError: There is no such job, or its schedule is missing or paused.
        """
        with self._executor.lock:
            found = next((known for known in self._executor.jobs.values() if known.settings.get("name") == job), None)
            schedule = found.settings.get("schedule") if found else None
            if found is None or not schedule or schedule.get("pause_status") == "PAUSED":
                raise RuntimeError(f"Nothing is due: job {job!r} has the schedule {schedule}.")
            minute = at.astimezone(UTC).replace(second=0, microsecond=0)
            return self._executor.start(found.settings, {}, job_id=found.job_id, trigger="PERIODIC", at=minute).run_id

    def wait(self, run_id: int, timeout_s: float = 60) -> StartedRun:
        """Return a run when it has ended.

        Raises:
            TimeoutError: It has not ended in time.
        """
        if not self._executor.runs[run_id].idle.wait(timeout_s):
            raise TimeoutError(f"Run {run_id} has not ended in {timeout_s} s: {_started(self._executor.runs[run_id])}")
        return _started(self._executor.runs[run_id])

    def runs(self) -> list[StartedRun]:
        """Return every run that was started, in order; one that another job started, too."""
        with self._executor.lock:
            return [_started(run) for run in self._executor.runs.values()]

    def calls(self) -> list[Call]:
        """Return every request that came, in the order of their answers."""
        return list(self._calls)

    def _respond(self, method: str, path: str, body: dict[str, Any], authorization: str) -> _Response:
        response = self._answered(method, path, body, authorization)
        self._calls.append(Call(method, path, body, response.status))
        return response

    def _answered(self, method: str, path: str, body: dict[str, Any], authorization: str) -> _Response:
        fault = self._due_fault(path)
        refused = ApiError(f"{fault.status} was asked for by the test.", fault.status) if fault else None
        try:
            if refused is not None and not (fault and fault.is_done):
                raise refused
            if path.startswith("/api/") and authorization != f"Bearer {self.token}":
                raise ApiError("Credential was not sent or was of an unsupported type for this API.", 401)
            found = answer(self._executor, method, path, body)
            if refused is not None:
                raise refused
        except ApiError as error:
            return _Response(error.status, error.body, fault.retry_after if fault else None)
        return _Response(200, found)

    def _due_fault(self, path: str) -> _Fault | None:
        with self._executor.lock:
            fault = next((known for known in self._faults if known.times > 0 and known.fragment in path), None)
            if fault is not None:
                fault.times -= 1
            return fault


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], respond: Callable[..., _Response]) -> None:
        super().__init__(address, _Handler)
        self.respond = respond

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that died while it was answered."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Print nothing: ``calls`` tells."""

    def _serve(self) -> None:
        url = urlsplit(self.path)
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        # The asynchronous half of Airflow's provider sends the parameters of a GET as its body.
        body = {**dict(parse_qsl(url.query)), **(json.loads(content) if content else {})}
        response = self.server.respond(self.command, url.path, body, self.headers.get("Authorization", ""))
        sent = json.dumps(response.body).encode()
        self.send_response(response.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        if response.retry_after is not None:
            self.send_header("Retry-After", str(response.retry_after))
        self.end_headers()
        self.wfile.write(sent)


def _outcome(key: str, outcome: Outcome | str) -> Outcome:
    made = Outcome(outcome, f"{key}: {outcome} as scripted.") if isinstance(outcome, str) else outcome
    if made.result not in _RESULTS:
        raise ValueError(f"{made.result!r} is no result; known: {', '.join(_RESULTS)}.")
    return made


def _started(run: Run) -> StartedRun:
    state = run.state.result or run.state.life
    return StartedRun(run.run_id, run.name, dict(run.parameters), state, run.trigger, f"{run.url}/{run.run_id}")
