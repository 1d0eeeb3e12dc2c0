"""Executes runs: a thread for each run and each of its tasks, all state behind one lock."""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from servers.databricks_jobs.conditions import Ended, ended, holds, refusal, run_result
from servers.databricks_jobs.errors import ApiError
from servers.databricks_jobs.model import Attempt, Job, Outcome, Repair, Run, State
from servers.databricks_jobs.notebooks import NotebookRunner, Request
from servers.databricks_jobs.references import resolve
from servers.databricks_jobs.settings import dependencies, in_order, kind_of

_UNLIMITED = -1


@dataclass
class Script:
    """What consecutive attempts become that are not executed; the last outcome stays.

    Attributes:
        key: Of a task, or the name of a job, whose first task it then is.
        outcomes: Of the attempts, in order.
        parameters: Only of runs with these.
    """

    key: str
    outcomes: list[Outcome]
    parameters: dict[str, str] = field(default_factory=dict)

    def fits(self, run: Run, attempt: Attempt) -> bool:
        """Return whether it decides about this attempt; conditions are always evaluated."""
        if "condition_task" in attempt.task:
            return False
        first = in_order(run.tasks)[0]["task_key"]
        is_meant = self.key == attempt.key or (self.key == run.name and attempt.key == first)
        return is_meant and self.parameters.items() <= run.parameters.items()

    def take(self) -> Outcome:
        """Return the next outcome."""
        return self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]


class Executor:
    """Jobs and runs of a workspace, and what executes them.

    Attributes:
        lock: Guards everything; notified at each change.
        retry_scale: Multiplies the waiting time before a native retry.
    """

    def __init__(self, folder: Path, runner: NotebookRunner | None, url: str, pause_s: float) -> None:
        self.lock = threading.Condition(threading.RLock())
        self.jobs: dict[int, Job] = {}
        self.runs: dict[int, Run] = {}
        self.scripts: list[Script] = []
        self.held: set[str] = set()
        self.retry_scale = 1.0
        self._tokens: dict[str, int] = {}
        self._ids = itertools.count(1001)
        self._folder, self._runner, self._url, self._pause_s = folder, runner, url, pause_s

    def new_id(self) -> int:
        """Return an id that nothing else has."""
        return next(self._ids)

    def job(self, job_id: int) -> Job:
        """Return a job; ApiError if there is none."""
        if job_id not in self.jobs:
            raise ApiError(f"Job {job_id} does not exist.")
        return self.jobs[job_id]

    def run(self, run_id: int) -> Run:
        """Return a run by its own id; ApiError if there is none."""
        if run_id not in self.runs:
            raise ApiError(f"Run {run_id} does not exist.")
        return self.runs[run_id]

    def attempt(self, run_id: int) -> tuple[Run, Attempt] | None:
        """Return the attempt with this id and its run, None if it is no attempt's."""
        pairs = ((run, attempt) for run in self.runs.values() for attempt in run.attempts)
        return next(((run, attempt) for run, attempt in pairs if attempt.run_id == run_id), None)

    def start(
        self, settings: dict[str, Any], parameters: dict[str, str], *, job_id: int = 0, token: str = "",
        trigger: str = "ONE_TIME", at: datetime | None = None,
    ) -> Run:  # fmt: skip
        """Start a run, unless one with this idempotency token was started: then that one is returned."""
        with self.lock:
            if token in self._tokens:
                return self.run(self._tokens[token])
            defaults = {known["name"]: str(known.get("default", "")) for known in settings.get("parameters") or []}
            run = Run(
                self.new_id(), job_id, settings, {**defaults, **parameters}, trigger, at or datetime.now(UTC), self._url
            )
            run.attempts = [Attempt(self.new_id(), task) for task in in_order(run.tasks)]
            if token:
                self._tokens[token] = run.run_id
            self.runs[run.run_id] = run
            self._admit(run)
        return run

    def repair(self, run: Run, keys: Sequence[str], parameters: dict[str, str]) -> Repair:
        """Execute tasks of an ended run again, as attempts of the same run."""
        with self.lock:
            repair = Repair(self.new_id())
            run.repairs.append(repair)
            run.parameters |= parameters
            for task in in_order(run.tasks):
                if task["task_key"] in keys:
                    number = run.latest(task["task_key"]).number + 1
                    run.attempts.append(Attempt(self.new_id(), task, number, repair.repair_id))
            run.state.life, run.state.result, run.state.message, run.stop = "PENDING", "", "", ""
            self._admit(run)
        return repair

    def cancel(self, run: Run, result: str = "CANCELED") -> None:
        """Let a run end as soon as its tasks have; nothing happens if it has ended."""
        with self.lock:
            if run.state.is_over:
                return
            run.stop = run.stop or result
            if run.state.life == "QUEUED":
                self._end_run(run, result)
            else:
                run.state.life = "TERMINATING"
            self.lock.notify_all()

    def _admit(self, run: Run) -> None:
        active = [other for other in self.runs.values() if _is_active(other) and other.job_id == run.job_id]
        most = run.settings.get("max_concurrent_runs", 1)
        if not run.job_id or len([other for other in active if other is not run]) < most:
            self._execute(run)
        elif (run.settings.get("queue") or {}).get("enabled"):
            run.state.life = "QUEUED"
        else:
            message = f"Skipping this run because the limit of {most} maximum concurrent runs has been reached."
            for attempt in run.attempts:
                attempt.state.end("UPSTREAM_CANCELED", message)
            run.state.end("MAXIMUM_CONCURRENT_RUNS_REACHED", message)
            run.idle.set()

    def _execute(self, run: Run) -> None:
        run.state.life = "PENDING"
        run.idle.clear()
        threading.Thread(target=self._drive, args=(run,), daemon=True).start()

    def _drive(self, run: Run) -> None:
        # As on Databricks a run is seen PENDING first, while its cluster starts.
        self._wait(run, lambda: False, time.monotonic() + self._pause_s)
        with self.lock:
            if not run.stop:
                run.state.life = "RUNNING"
            waiting = [attempt for attempt in run.attempts if not attempt.state.is_over]
        timer = self._timer(run)
        threads = [threading.Thread(target=self._follow, args=(run, attempt), daemon=True) for attempt in waiting]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        timer.cancel()
        with self.lock:
            self._end_run(run, run.stop or _result(run))

    def _timer(self, run: Run) -> threading.Timer:
        timer = threading.Timer(
            # Airflow's provider sends numbers as text, which Databricks takes.
            float(run.settings.get("timeout_seconds") or threading.TIMEOUT_MAX),
            self.cancel,
            (run, "TIMEDOUT"),
        )
        timer.daemon = True
        timer.start()
        return timer

    def _end_run(self, run: Run, result: str) -> None:
        for attempt in run.attempts:
            if not attempt.state.is_over:
                attempt.state.end(result, "The run ended.")
        broken = [attempt for attempt in _last(run) if ended(attempt.state.result) == "failed"]
        run.state.end(result, "; ".join(f"Task {a.key} failed with message: {a.state.message}" for a in broken))
        run.idle.set()
        for other in self.runs.values():
            if other.state.life == "QUEUED" and other.job_id == run.job_id:
                self._admit(other)
        self.lock.notify_all()

    def _follow(self, run: Run, attempt: Attempt) -> None:
        self._wait(run, lambda: all(run.latest(key).state.is_over for key in dependencies(attempt.task)))
        with self.lock:
            refused = run.stop or refusal(attempt.task.get("run_if", "ALL_SUCCESS"), _ends(run, attempt.task))
            if refused:
                attempt.state.end(refused, f"The task did not run: {refused}.")
                self.lock.notify_all()
                return
        following: Attempt | None = attempt
        while following is not None:
            following = self._try(run, following)

    def _try(self, run: Run, attempt: Attempt) -> Attempt | None:
        """Make one attempt, and return the next one where there is one."""
        timeout_s = float(attempt.task.get("timeout_seconds") or threading.TIMEOUT_MAX)
        deadline = time.monotonic() + timeout_s
        with self.lock:
            attempt.state = State("RUNNING")
        self._wait(run, lambda: not self.held & {run.name, attempt.key}, deadline)
        outcome = self._stopped(run, deadline) or self._outcome(run, attempt, deadline)
        # Under one lock: between an attempt and the next, dependants must not take the task for ended.
        with self.lock:
            attempt.outcome = outcome
            attempt.state.end(outcome.result, outcome.message)
            following = self._following(run, attempt)
            self.lock.notify_all()
        if following is not None:
            interval_s = attempt.task.get("min_retry_interval_millis", 0) / 1000 * self.retry_scale
            self._wait(run, lambda: False, time.monotonic() + interval_s)
        return following

    def _following(self, run: Run, failed: Attempt) -> Attempt | None:
        if run.stop or not _may_retry(run, failed):
            return None
        attempt = Attempt(self.new_id(), failed.task, failed.number + 1, failed.repair_id, State("WAITING_FOR_RETRY"))
        run.attempts.append(attempt)
        return attempt

    def _stopped(self, run: Run, deadline: float) -> Outcome | None:
        result = self._stop(run, deadline)
        return Outcome(result, f"The task was stopped: {result}.") if result else None

    def _stop(self, run: Run, deadline: float) -> str:
        return run.stop or ("TIMEDOUT" if time.monotonic() > deadline else "")

    def _outcome(self, run: Run, attempt: Attempt, deadline: float) -> Outcome:
        with self.lock:
            script = next((script for script in reversed(self.scripts) if script.fits(run, attempt)), None)
            if script is not None:
                return script.take()
        kind = kind_of(attempt.task)
        try:
            settings = resolve(attempt.task[kind], run, attempt)
            if kind == "condition_task":
                return _condition(attempt, settings)
            if kind == "run_job_task":
                return self._run_job(run, attempt, settings, deadline)
            if kind == "notebook_task":
                return self._notebook(run, attempt, settings, deadline)
        except KeyError as error:
            return Outcome("FAILED", str(error.args[0]), is_final=True)
        return Outcome("FAILED", f"{kind} is not supported by this server: nothing was executed.", is_final=True)

    def _notebook(self, run: Run, attempt: Attempt, settings: dict[str, Any], deadline: float) -> Outcome:
        if self._runner is None:
            return Outcome("SUCCESS", "Not executed: the server has no project.")
        # Job parameters are pushed down, and win over the task's own.
        widgets = {**(settings.get("base_parameters") or {}), **resolve(run.parameters, run, attempt)}
        variables = resolve(_cluster(run, attempt.task).get("spark_env_vars") or {}, run, attempt)
        values = {known.key: known.outcome.values for known in _last(run)}
        folder = self._folder / "attempts" / str(attempt.run_id)
        request = Request(settings["notebook_path"], widgets, values, variables, folder)
        return self._runner.run(request, lambda: self._stop(run, deadline))

    def _run_job(self, run: Run, attempt: Attempt, settings: dict[str, Any], deadline: float) -> Outcome:
        job_id = int(settings["job_id"])
        if job_id not in self.jobs:
            return Outcome("FAILED", f"Job {job_id} does not exist.", is_final=True)
        # Job parameters are pushed down here too.
        parameters = {**(settings.get("job_parameters") or {}), **resolve(run.parameters, run, attempt)}
        child = self.start(self.jobs[job_id].settings, parameters, job_id=job_id, trigger="RUN_JOB_TASK")
        attempt.child_run_id = child.run_id
        self._wait(run, child.idle.is_set, deadline)
        if stopped := self._stopped(run, deadline):
            self.cancel(child)
            child.idle.wait()
            return stopped
        is_success = child.state.result in ("SUCCESS", "SUCCESS_WITH_FAILURES")
        return Outcome("SUCCESS" if is_success else "FAILED", f"Run {child.run_id} ended {child.state.result}.")

    def _wait(self, run: Run, is_met: Callable[[], bool], deadline: float = float("inf")) -> None:
        with self.lock:
            while not is_met() and not run.stop and (left := deadline - time.monotonic()) > 0:
                self.lock.wait(min(left, threading.TIMEOUT_MAX))


def _condition(attempt: Attempt, settings: dict[str, Any]) -> Outcome:
    try:
        attempt.condition = str(holds(settings["left"], settings["op"], settings["right"])).lower()
    except ValueError as error:
        return Outcome("FAILED", f"{settings['op']} compares numbers: {error}", is_final=True)
    return Outcome(message=f"{settings['left']} {settings['op']} {settings['right']}: {attempt.condition}")


def _cluster(run: Run, task: dict[str, Any]) -> dict[str, Any]:
    clusters = {cluster["job_cluster_key"]: cluster for cluster in run.settings.get("job_clusters") or []}
    cluster: dict[str, Any] = clusters.get(task.get("job_cluster_key"), task).get("new_cluster") or {}
    return cluster


def _may_retry(run: Run, failed: Attempt) -> bool:
    if failed.outcome.is_final or (failed.state.result == "TIMEDOUT" and not failed.task.get("retry_on_timeout")):
        return False
    made = [known for known in run.attempts if (known.key, known.repair_id) == (failed.key, failed.repair_id)]
    most = failed.task.get("max_retries", 0)
    return failed.state.result in ("FAILED", "TIMEDOUT") and (most == _UNLIMITED or len(made) <= most)


def _ends(run: Run, task: dict[str, Any]) -> list[Ended]:
    return [_end(run.latest(known["task_key"]), known.get("outcome")) for known in task.get("depends_on") or []]


def _end(attempt: Attempt, outcome: str | None) -> Ended:
    if outcome is not None and attempt.condition and attempt.condition != outcome:
        return "excluded"
    return ended(attempt.state.result)


def _last(run: Run) -> list[Attempt]:
    return [run.latest(task["task_key"]) for task in run.tasks]


def _result(run: Run) -> str:
    followed = {key for task in run.tasks for key in dependencies(task)}
    leaves = [attempt.state.result for attempt in _last(run) if attempt.key not in followed]
    return run_result(leaves, [attempt.state.result for attempt in _last(run) if attempt.key in followed])


def _is_active(run: Run) -> bool:
    return not run.state.is_over and run.state.life != "QUEUED"
