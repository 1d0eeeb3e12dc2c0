"""Progress of long steps: a bar in a terminal, a line now and then in a log."""

import logging
import time
from collections.abc import Iterable, Iterator, Sized
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LOG = logging.getLogger("al_platform")
SECONDS_BETWEEN_LINES = 15


class _Chunk(Sized, Protocol): ...


Chunk = TypeVar("Chunk", bound=_Chunk)


class LogLine:
    """A line in the log, every ``SECONDS_BETWEEN_LINES`` at most."""

    def __init__(self, what: str, total: int | None) -> None:
        self.what = what
        self.total = total
        self._told = time.monotonic()

    def tell(self, done: int) -> None:
        """Say how many units are done, where the last line is old enough."""
        if time.monotonic() - self._told > SECONDS_BETWEEN_LINES:
            of = "" if self.total is None else f" of {self.total:,}"
            LOG.info("%s: %s%s", self.what, f"{done:,}", of)
            self._told = time.monotonic()


def progress(chunks: Iterable[Chunk], *, total: int | None, what: str) -> Iterator[Chunk]:
    """Yield ``chunks``, each counting as many units as its length, and show how far they are.

    Args:
        chunks: Sized pieces of the work.
        total: Units in all; None where that is not known.
        what: What is being done, and what the units are: "scoring pages".
    """
    console = Console(stderr=True)
    return _bar(chunks, total, what, console) if console.is_terminal else _lines(chunks, total, what)


def _bar(chunks: Iterable[Chunk], total: int | None, what: str, console: Console) -> Iterator[Chunk]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True, console=console) as bar:
        task = bar.add_task(what, total=total)
        for chunk in chunks:
            yield chunk
            bar.advance(task, len(chunk))


def _lines(chunks: Iterable[Chunk], total: int | None, what: str) -> Iterator[Chunk]:
    done, line = 0, LogLine(what, total)
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        line.tell(done)
