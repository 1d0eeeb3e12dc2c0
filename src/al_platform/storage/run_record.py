"""What a run leaves about itself below ``runs/<run_id>/`` of the logs: that it began, goes on, ended, and its log.

Whether an attempt is at work or abandoned follows from these alone.
"""

import getpass
import io
import logging
import os
import socket
import threading
import weakref
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from al_platform.domain.errors import StoreError
from al_platform.storage.commit_log import to_json
from al_platform.storage.redaction import RedactingFilter, redact
from al_platform.storage.store import Store

LOG = logging.getLogger("al_platform")
_Parsed = TypeVar("_Parsed", bound=BaseModel)
_PROCESSES = Path("/proc")
_BEAT_S = 60
_RUN_ID = "%Y-%m-%dT%H.%M.%S.%fZ"  # how Kedro begins the id of a run
_RUN_ID_LENGTH = len("2026-11-23T03.38.12.982Z")
# On Windows os.kill asks nothing: it ends the process.
_CAN_PROBE = os.name == "posix"


class RunStart(BaseModel):
    """Who began a run, where and when.

    Attributes:
        run_id: The run.
        actor: Who: ``AL_ACTOR``, or the user's name.
        host: The machine, and ``boot`` its uptime period where the system tells.
        pid: The process.
        pid_namespace: Within which ``pid`` means anything, where the system tells: containers may share all the rest.
        process_started: Clock ticks from boot to the start of the process, where the system tells: a pid comes again.
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
    pid_namespace: str | None = None
    process_started: int | None = None
    began_at: str
    environment: str | None
    pipelines: tuple[str, ...]
    cycle: str
    orchestrator: str | None


class Heartbeat(BaseModel):
    """That a run went on at a time, ISO 8601, UTC."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run_id: str
    at: str


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
        pid_namespace=_pid_namespace(),
        process_started=process.started if (process := _process(os.getpid())) else None,
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

    def __init__(self, logs: Store, start: RunStart, beat_s: float = _BEAT_S):
        """Prepare the records; nothing is written yet.

        Args:
            logs: Root of the logs.
            start: The run.
            beat_s: Seconds between two signs of life.
        """
        self._logs = logs
        self._start = start
        self._is_over = threading.Event()
        # A node may take a day, so that signs of life cannot wait for its end. Only a process that lives has the
        # thread, and a child that it forks has none. It ends with the journal, where nobody is left to end it.
        self._pulse = threading.Thread(
            target=_beat, args=(logs, start.run_id, beat_s, self._is_over), name="heartbeat", daemon=True
        )
        weakref.finalize(self, self._is_over.set)
        self._text = io.StringIO()
        self._handler = logging.StreamHandler(self._text)
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._handler.addFilter(RedactingFilter())

    def begin(self) -> None:
        """Record the start; keep what is logged from now on, and record once a minute that the run goes on."""
        record_start(self._logs, self._start)
        logging.getLogger().addHandler(self._handler)
        self._pulse.start()

    def end(self, error: str | None) -> None:
        """Record the end, and store the log.

        A store that cannot be written to must not hide what the run itself came to: then that is only logged.
        """
        self._is_over.set()
        if self._pulse.is_alive():
            self._pulse.join()
        logging.getLogger().removeHandler(self._handler)
        try:
            self._logs.write(f"runs/{self._start.run_id}/run.log", self._text.getvalue().encode())
            record_end(self._logs, self._start.run_id, error)
        except StoreError as problem:
            LOG.warning("The end of run %s is not recorded: %s", self._start.run_id, problem)


def _beat(logs: Store, run_id: str, beat_s: float, is_over: threading.Event) -> None:
    while not is_over.wait(beat_s):
        heartbeat = Heartbeat(run_id=run_id, at=_now())
        try:
            logs.write(f"runs/{run_id}/heartbeat.json", to_json(heartbeat))
        except (OSError, StoreError) as problem:
            LOG.warning("That run %s goes on is not recorded: %s", run_id, problem)


def is_done(logs: Store, run_id: str) -> bool:
    """Return whether a run ended well. An end that cannot be read counts as one: damage must excuse nothing."""
    try:
        return RunEnd.model_validate_json(logs.read(f"runs/{run_id}/ended.json")).status == "done"
    except FileNotFoundError:
        return False
    except ValidationError:
        return True


def is_at_work(logs: Store, run_id: str, patience: timedelta) -> bool:
    """Return whether a run may still be writing.

    Args:
        logs: Root of the logs.
        run_id: The run.
        patience: For how long after its last sign of life a run is taken to be at work that cannot be looked at from
            here: one on another machine, in another container, or without a record.
    """
    if logs.exists(f"runs/{run_id}/ended.json"):
        return False
    start = _record(RunStart, logs, f"runs/{run_id}/started.json")
    if start is None:
        return is_young(run_id, patience)
    if _CAN_PROBE and (start.host, start.boot, start.pid_namespace) == _here():
        return _is_alive(start)
    heartbeat = _record(Heartbeat, logs, f"runs/{run_id}/heartbeat.json")
    signs = [start.began_at, *([heartbeat.at] if heartbeat else [])]
    return _is_within(patience, max(datetime.fromisoformat(sign) for sign in signs))


def is_young(run_id: str, patience: timedelta) -> bool:
    """Return whether a run's id, which may begin with a time, says that the run began less than ``patience`` ago."""
    try:
        began_at = datetime.strptime(run_id[:_RUN_ID_LENGTH], _RUN_ID).replace(tzinfo=UTC)
    except ValueError:
        return False
    return _is_within(patience, began_at)


def _record(kind: type[_Parsed], logs: Store, path: str) -> _Parsed | None:
    try:
        return kind.model_validate_json(logs.read(path))
    except (FileNotFoundError, ValidationError):
        return None


def _is_within(patience: timedelta, at: datetime) -> bool:
    # Another machine's clock may be ahead; without patience nothing is at work all the same.
    return max(datetime.now(UTC) - at, timedelta(0)) < patience


class _Process(NamedTuple):
    state: str
    started: int


def _is_alive(start: RunStart) -> bool:
    try:
        os.kill(start.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    process = _process(start.pid)
    if process is None:
        return True
    is_another = start.process_started not in (None, process.started)
    return process.state not in _ENDED and not is_another


_ENDED = ("Z", "X")  # a process that was killed has an entry until its parent asks for it


def _process(pid: int) -> _Process | None:
    """Return what the system tells of a process; None where it tells nothing."""
    try:
        stat = (_PROCESSES / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # The name before it, in parentheses, may hold anything.
    fields = stat.rpartition(b")")[2].split()
    return _Process(fields[_STATE].decode(), int(fields[_STARTED]))


# Fields 3 and 22 of proc_pid_stat(5), of which two are cut off.
_STATE, _STARTED = 0, 19


def _here() -> tuple[str, str | None, str | None]:
    return socket.gethostname(), _boot(), _pid_namespace()


def _boot() -> str | None:
    file = _PROCESSES / "sys/kernel/random/boot_id"
    return file.read_text().strip() if file.exists() else None


def _pid_namespace() -> str | None:
    try:
        return str((_PROCESSES / "self/ns/pid").readlink())
    except OSError:
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
