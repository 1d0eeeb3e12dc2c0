"""Talks to a tracker through a process that is ended when its time is over: a server that hangs stops nobody."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from al_platform.domain.errors import TrackerError
from al_platform.storage.redaction import redact
from al_platform.storage.scratch import scratch_folder
from al_platform.tracking.options import TrackingOptions
from al_platform.tracking.tracked_run import TrackedRun
from al_platform.tracking.tracker import Found

_CHILD = "al_platform.tracking.child"
_LAST_CHARS = 1000
_STOP_S = 10.0


class Sender:
    """A tracker at arm's length; a context manager."""

    def __init__(self, options: TrackingOptions, project: Path, into: Path | None = None):
        """Prepare; the process starts with the first order.

        Args:
            options: Which tracker, and how long it may take for one order.
            project: The project's folder.
            into: See ``registry.open_tracker``.
        """
        self._options = options
        self._arguments = [str(project), options.model_dump_json(), *([str(into)] if into else [])]
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._log = scratch_folder("tracker") / "log"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def publish(self, runs: Sequence[TrackedRun], within_s: float | None = None) -> Iterator[str]:
        """Publish runs of which none needs another one, and yield the id of each that is safely there.

        Args:
            runs: At most one of each family.
            within_s: Less time than the options give.

        Raises:
            TrackerError: It refused, failed or took too long; those that were not yielded are to be published again.
        """
        for answer in self._ask({"do": "publish", "runs": [run.model_dump(mode="json") for run in runs]}, within_s):
            yield answer["sent"]

    def send_fit(self, file: Path, within_s: float | None = None) -> None:
        """Send what a training left behind; TrackerError where it did not arrive."""
        list(self._ask({"do": "send_fit", "file": str(file)}, within_s))

    def find(self, filters: Mapping[str, str]) -> list[Found]:
        """Return the runs whose config has these values; TrackerError where the tracker does not answer."""
        return [Found(**answer["found"]) for answer in self._ask({"do": "find", "filters": dict(filters)}, None)]

    def stop(self) -> None:
        """End the process, and what its tracker's library started."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(_STOP_S)
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if pipe:
                    pipe.close()
        self._process = None

    def _ask(self, order: Mapping[str, Any], within_s: float | None) -> Iterator[dict[str, Any]]:
        limit_s = min(self._options.timeout_s, within_s or self._options.timeout_s)
        process = self._started()
        deadline = time.monotonic() + limit_s
        try:
            assert process.stdin is not None
            process.stdin.write(f"{json.dumps(order)}\n")
            process.stdin.flush()
            while True:
                answer = self._next(deadline, limit_s)
                if "error" in answer:
                    raise TrackerError(answer["error"])
                if "done" in answer:
                    return
                yield answer
        except OSError as error:
            raise self._ended() from error

    def _next(self, deadline: float, limit_s: float) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            self.stop()
            raise TrackerError(
                f"The tracker took longer than {limit_s:g} s and was given up. What it did not take is kept."
            ) from None
        if line is None:
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ended(self) -> TrackerError:
        self.stop()
        said = redact(self._log.read_text(encoding="utf-8", errors="replace")[-_LAST_CHARS:].strip())
        return TrackerError(f"The process that talks to the tracker ended before its time: {said or 'it said nothing'}")

    def _started(self) -> "subprocess.Popen[str]":
        if self._process is not None:
            return self._process
        self._answers = queue.Queue()
        folder = scratch_folder("tracker")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _CHILD, *self._arguments],
                # Where a tracker's library keeps files of its own.
                env={**os.environ, "WANDB_DATA_DIR": str(folder), "WANDB_CACHE_DIR": str(folder)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        threading.Thread(target=_read, args=(self._process, self._answers), daemon=True).start()
        return self._process


def _read(process: "subprocess.Popen[str]", answers: "queue.Queue[str | None]") -> None:
    assert process.stdout is not None
    with suppress(ValueError, OSError):  # closed by whoever stopped it
        for line in process.stdout:
            answers.put(line)
    answers.put(None)
