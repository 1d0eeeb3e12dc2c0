"""The newest Kedro runs, as they left word of themselves."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pydantic import ValidationError

from al_platform.storage.run_record import Heartbeat, RunEnd, RunStart, is_at_work
from al_platform.storage.store import Store

NEWEST = 100
_PARALLEL_READS = 8

State = Literal["done", "failed", "running", "lost", "unreadable"]


@dataclass(frozen=True)
class JobRun:
    """One Kedro run.

    Attributes:
        run_id: The run.
        state: ``lost``: it neither ended nor is at work, so that something killed it. ``unreadable``: its record is
            damaged.
        start: Who began it, where and when; None where that is unreadable.
        last_sign: When it ended or was last known to go on, ISO 8601, UTC.
        error: Message of a failed one.
        has_log: Whether its log was stored.
    """

    run_id: str
    state: State
    start: RunStart | None
    last_sign: str | None = None
    error: str | None = None
    has_log: bool = False

    @property
    def seconds(self) -> float | None:
        """From its start to its end or last sign of life."""
        if self.start is None or self.last_sign is None:
            return None
        return (datetime.fromisoformat(self.last_sign) - datetime.fromisoformat(self.start.began_at)).total_seconds()

    @property
    def log_path(self) -> str:
        """Where its log lies below the root of the logs."""
        return f"runs/{self.run_id}/run.log"


def newest_runs(logs: Store, patience: timedelta, limit: int = NEWEST) -> list[JobRun]:
    """Return the newest runs that recorded their start, newest first.

    Args:
        logs: Root of the logs.
        patience: See ``run_record.is_at_work``.
        limit: At most so many.
    """
    files = _files_by_run(logs.list("runs"))
    begun = [run_id for run_id in sorted(files, reverse=True) if "started.json" in files[run_id]]
    with ThreadPoolExecutor(_PARALLEL_READS) as pool:
        return list(pool.map(lambda run_id: _read(logs, run_id, files[run_id], patience), begun[:limit]))


def _files_by_run(paths: Iterable[str]) -> dict[str, set[str]]:
    files: dict[str, set[str]] = {}
    for path in paths:
        _, run_id, name = path.split("/", 2)
        files.setdefault(run_id, set()).add(name)
    return files


def _read(logs: Store, run_id: str, files: set[str], patience: timedelta) -> JobRun:
    folder = f"runs/{run_id}"
    has_log = "run.log" in files
    try:
        start = RunStart.model_validate_json(logs.read(f"{folder}/started.json"))
        if "ended.json" in files:
            end = RunEnd.model_validate_json(logs.read(f"{folder}/ended.json"))
            return JobRun(run_id, end.status, start, end.ended_at, end.error, has_log)
        is_beating = "heartbeat.json" in files
        sign = Heartbeat.model_validate_json(logs.read(f"{folder}/heartbeat.json")).at if is_beating else start.began_at
    except ValidationError:
        return JobRun(run_id, "unreadable", None, has_log=has_log)
    state: State = "running" if is_at_work(logs, run_id, patience) else "lost"
    return JobRun(run_id, state, start, sign, has_log=has_log)
