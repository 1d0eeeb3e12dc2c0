"""What a run leaves about itself below ``runs/<run_id>/`` of the logs: that it began, that it ended, and its log.

Whether an attempt is at work or abandoned follows from these alone.
"""

import getpass
import io
import logging
import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from al_platform.domain.errors import StoreError
from al_platform.storage.commit_log import to_json
from al_platform.storage.redaction import RedactingFilter, redact
from al_platform.storage.store import Store

LOG = logging.getLogger("al_platform")
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class RunStart(BaseModel):
    """Who began a run, where and when.

    Attributes:
        run_id: The run.
        actor: Who: ``AL_ACTOR``, or the user's name.
        host: The machine, and ``boot`` its uptime period where the system tells.
        pid: The process.
        began_at: ISO 8601, UTC.
        environment: Kedro's configuration environment.
        pipelines: Names of the pipelines.
        cycle: The month.
        orchestrator: Link to the run of the scheduler, from ``AL_RUN_URL``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    run_id: str
    actor: str
    host: str
    boot: str | None
    pid: int
    began_at: str
    environment: str | None
    pipelines: tuple[str, ...]
    cycle: str
    orchestrator: str | None


class RunEnd(BaseModel):
    """How a run ended; ``error`` is the message of a failed one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run_id: str
    status: Literal["done", "failed"]
    ended_at: str
    error: str | None = None


def actor() -> str:
    """Return who acts: ``AL_ACTOR`` where it is set, for instance by a scheduler, or else the user's name."""
    if name := os.environ.get("AL_ACTOR"):
        return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid-{os.getuid()}"


def start_of(run_id: str, environment: str | None, pipelines: tuple[str, ...], cycle: str) -> RunStart:
    """Return the start of a run in this process, now."""
    return RunStart(
        run_id=run_id,
        actor=actor(),
        host=socket.gethostname(),
        boot=_boot(),
        pid=os.getpid(),
        began_at=_now(),
        environment=environment,
        pipelines=pipelines,
        cycle=cycle,
        orchestrator=redact(os.environ.get("AL_RUN_URL", "")) or None,
    )


def record_start(logs: Store, start: RunStart) -> None:
    """Record that a run began."""
    logs.write(f"runs/{start.run_id}/started.json", to_json(start))


def record_end(logs: Store, run_id: str, error: str | None) -> None:
    """Record that a run ended, with the message of its failure if it failed."""
    message = redact(error) if error else None
    end = RunEnd(run_id=run_id, status="failed" if error else "done", ended_at=_now(), error=message)
    logs.write(f"runs/{run_id}/ended.json", to_json(end))


class RunJournal:
    """The records of one run, and what it logs between them."""

    def __init__(self, logs: Store, start: RunStart):
        self._logs = logs
        self._start = start
        self._text = io.StringIO()
        self._handler = logging.StreamHandler(self._text)
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._handler.addFilter(RedactingFilter())

    def begin(self) -> None:
        """Record the start, and keep what is logged from now on."""
        record_start(self._logs, self._start)
        logging.getLogger().addHandler(self._handler)

    def end(self, error: str | None) -> None:
        """Record the end, and store the log.

        A store that cannot be written to must not hide what the run itself came to: then that is only logged.
        """
        logging.getLogger().removeHandler(self._handler)
        try:
            self._logs.write(f"runs/{self._start.run_id}/run.log", self._text.getvalue().encode())
            record_end(self._logs, self._start.run_id, error)
        except StoreError as problem:
            LOG.warning("The end of run %s is not recorded: %s", self._start.run_id, problem)


def is_at_work(logs: Store, run_id: str, patience: timedelta) -> bool:
    """Return whether a run may still be writing.

    Args:
        logs: Root of the logs.
        run_id: The run.
        patience: For how long a run on another machine, which cannot be looked at from here, is taken to be at work.
    """
    if logs.exists(f"runs/{run_id}/ended.json") or not logs.exists(f"runs/{run_id}/started.json"):
        return False
    start = RunStart.model_validate_json(logs.read(f"runs/{run_id}/started.json"))
    if (start.host, start.boot) == (socket.gethostname(), _boot()):
        return _is_alive(start.pid)
    return datetime.now(UTC) - datetime.fromisoformat(start.began_at) < patience


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _boot() -> str | None:
    return _BOOT.read_text().strip() if _BOOT.exists() else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
