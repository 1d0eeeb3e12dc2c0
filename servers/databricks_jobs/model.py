"""Jobs, their runs, and every attempt at a task of a run; and how the API shows them."""

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

TERMINAL = ("TERMINATED", "SKIPPED", "INTERNAL_ERROR")
_SKIPPED = ("EXCLUDED", "UPSTREAM_FAILED", "UPSTREAM_CANCELED", "MAXIMUM_CONCURRENT_RUNS_REACHED")
USER = "tester@example.com"


def now_ms() -> int:
    """Return the time as the API gives it: milliseconds since 1970, UTC."""
    return int(datetime.now(UTC).timestamp() * 1000)


@dataclass(frozen=True)
class Outcome:
    """How an attempt at a task ends.

    Attributes:
        result: SUCCESS, FAILED, TIMEDOUT, CANCELED.
        message: Why; also the error of ``get-output``.
        values: Task values that it sets.
        logs: What it printed.
        is_final: No further attempt is made, whatever ``max_retries`` says.
        trace: The error with the lines of code it came from.
    """

    result: str = "SUCCESS"
    message: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    logs: str = ""
    is_final: bool = False
    trace: str = ""


@dataclass
class State:
    """Of a run or an attempt."""

    life: str = "PENDING"
    result: str = ""
    message: str = ""
    started_ms: int = field(default_factory=now_ms)
    ended_ms: int = 0

    @property
    def is_over(self) -> bool:
        """Whether it stays as it is."""
        return self.life in TERMINAL

    def end(self, result: str, message: str) -> None:
        """Make it terminal."""
        self.life = "SKIPPED" if result in _SKIPPED else "TERMINATED"
        self.result, self.message, self.ended_ms = result, message, now_ms()

    def shown(self) -> dict[str, Any]:
        """Return the fields of the API that say where it stands."""
        state: dict[str, Any] = {"life_cycle_state": self.life, "state_message": self.message}
        if self.is_over:
            state |= {
                "result_state": self.result,
                "user_cancelled_or_timedout": self.result in ("CANCELED", "TIMEDOUT"),
            }
        return {"state": state, "status": self._status(), "start_time": self.started_ms, "end_time": self.ended_ms}

    def _status(self) -> dict[str, Any]:
        if not self.is_over:
            return {"state": "WAITING" if self.life == "WAITING_FOR_RETRY" else self.life}
        is_success = self.result.startswith("SUCCESS")
        details = {"code": "SUCCESS" if is_success else "RUN_EXECUTION_ERROR", "message": self.message}
        return {"state": "TERMINATED", "termination_details": {**details, "type": _fault(is_success)}}


@dataclass
class Job:
    """A job and its settings as they were given."""

    job_id: int
    settings: dict[str, Any]
    created_ms: int = field(default_factory=now_ms)

    def shown(self, with_tasks: bool = True) -> dict[str, Any]:
        """Return the job as the API gives it."""
        heavy = () if with_tasks else ("tasks", "job_clusters", "parameters", "environments")
        settings = {name: value for name, value in self.settings.items() if name not in heavy}
        shown = {"job_id": self.job_id, "settings": settings, "created_time": self.created_ms}
        return {**shown, "creator_user_name": USER, "run_as_user_name": USER}


@dataclass
class Attempt:
    """One attempt at a task of a run."""

    run_id: int
    task: dict[str, Any]
    number: int = 0
    repair_id: int = 0
    state: State = field(default_factory=lambda: State("BLOCKED"))
    outcome: Outcome = field(default_factory=Outcome)
    condition: str = ""
    child_run_id: int = 0

    @property
    def key(self) -> str:
        """The task's key."""
        return str(self.task["task_key"])


@dataclass
class Repair:
    """One repair of a run, or with id 0 its first execution."""

    repair_id: int
    started_ms: int = field(default_factory=now_ms)


@dataclass
class Run:
    """A run of a job, or with ``job_id`` 0 a one-time run.

    Attributes:
        settings: Of the job when the run began.
        parameters: Job parameters with the values of this run, as yet with references.
        trigger: ONE_TIME, PERIODIC or RUN_JOB_TASK.
        triggered_at: What ``{{job.trigger.time}}`` says, in a repair too.
        stop: CANCELED or TIMEDOUT once it has to end.
        idle: Set while nothing of it is executed.
    """

    run_id: int
    job_id: int
    settings: dict[str, Any]
    parameters: dict[str, str]
    trigger: str
    triggered_at: datetime
    url: str
    state: State = field(default_factory=State)
    attempts: list[Attempt] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=lambda: [Repair(0)])
    stop: str = ""
    idle: threading.Event = field(default_factory=threading.Event)

    @property
    def name(self) -> str:
        """Of the job, or given with a one-time run."""
        return str(self.settings.get("name") or "Untitled")

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """The tasks' settings."""
        return list(self.settings.get("tasks") or [])

    def latest(self, key: str) -> Attempt:
        """Return the last attempt at a task."""
        return next(attempt for attempt in reversed(self.attempts) if attempt.key == key)

    def shown(self, with_tasks: bool = True, with_history: bool = False) -> dict[str, Any]:
        """Return the run as the API gives it."""
        shown = self._header(self.run_id, self.state)
        # Without a job it has none, as on Databricks: a client must not rely on it.
        shown |= {"job_id": self.job_id} if self.job_id else {}
        defaults = {
            parameter["name"]: parameter.get("default", "") for parameter in self.settings.get("parameters", [])
        }
        shown["job_parameters"] = [
            {"name": name, "default": defaults.get(name, ""), "value": value} for name, value in self.parameters.items()
        ]
        if with_tasks:
            shown["tasks"] = [self._task(attempt) for attempt in self.attempts]
            shown["job_clusters"] = self.settings.get("job_clusters", [])
        if with_history:
            shown["repair_history"] = [self._repair(repair) for repair in self.repairs]
        return shown

    def shown_task(self, attempt: Attempt) -> dict[str, Any]:
        """Return one attempt as the API gives it when asked by its own id."""
        shown = {**self._header(attempt.run_id, attempt.state), "job_run_id": self.run_id}
        return {**shown, "run_name": attempt.key, "run_type": "JOB_RUN", "tasks": [self._task(attempt)]}

    def _header(self, run_id: int, state: State) -> dict[str, Any]:
        kind = "SUBMIT_RUN" if not self.job_id else "WORKFLOW_RUN" if self.trigger == "RUN_JOB_TASK" else "JOB_RUN"
        shown = {"run_id": run_id, "run_name": self.name, "run_type": kind, "trigger": self.trigger}
        place = {"run_page_url": f"{self.url}/{run_id}", "creator_user_name": USER, "format": "MULTI_TASK"}
        return {**shown, **place, **state.shown()}

    def _task(self, attempt: Attempt) -> dict[str, Any]:
        place = {"run_id": attempt.run_id, "run_page_url": f"{self.url}/{attempt.run_id}"}
        shown = {**attempt.task, **place, "attempt_number": attempt.number, **attempt.state.shown()}
        if attempt.condition:
            shown["condition_task"] = {**attempt.task["condition_task"], "outcome": attempt.condition}
        return shown

    def _repair(self, repair: Repair) -> dict[str, Any]:
        of_it = [attempt for attempt in self.attempts if attempt.repair_id == repair.repair_id]
        shown = {"type": "REPAIR", "id": repair.repair_id} if repair.repair_id else {"type": "ORIGINAL"}
        is_last = repair is self.repairs[-1]
        state = self.state.shown()["state"] if is_last else {"life_cycle_state": "TERMINATED", "result_state": "FAILED"}
        times = {"start_time": repair.started_ms, "end_time": self.state.ended_ms if is_last else repair.started_ms}
        return {**shown, **times, "state": state, "task_run_ids": [attempt.run_id for attempt in of_it]}


def _fault(is_success: bool) -> str:
    return "SUCCESS" if is_success else "CLIENT_ERROR"
