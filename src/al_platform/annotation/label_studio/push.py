"""Sending the pages of one batch, each once, whatever fails and whoever else sends it at the same time.

What is on the server is listed, the rest is sent in chunks, and what arrived is listed again. Requests that add pages
follow one another among all processes (see ``pushes``). A request whose answer was lost is looked for before its pages
are sent again; should it come through later still, the copies are removed while nobody has answered them.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import pyarrow as pa

from al_platform.annotation.label_studio.client import (
    Client,
    FailedError,
    Json,
    LabelStudioError,
    NoAnswerError,
    RefusedError,
    UnreachableError,
)
from al_platform.annotation.label_studio.options import LabelStudioOptions
from al_platform.annotation.label_studio.pushes import Pushes, Turn
from al_platform.annotation.label_studio.tasks import is_ours, task
from al_platform.domain.errors import ConfigError, InputError

LOG = logging.getLogger("al_platform")

Chunk: TypeAlias = tuple[int, Sequence[Mapping[str, Any]]]
"""Rows of a batch that go into one request, with the number of their project."""

_LOOK_S = 0.5
_TRIES = 4


class Push:
    """One batch on its way to the server."""

    def __init__(
        self, client: Client, projects: Sequence[int], pushes: Pushes, batch_id: str, options: LabelStudioOptions
    ):
        """Begin a push.

        Args:
            client: Of the server.
            projects: All in which pages of the batch may be.
            pushes: The batch's record.
            batch_id: Of the batch.
            options: Sizes and times.
        """
        self._client = client
        self._projects = projects
        self._pushes = pushes
        self._batch_id = batch_id
        self._options = options

    def send(self, batch: pa.Table, projects: Sequence[int], guideline_version: str) -> int:
        """Send the rows that were not sent yet, and return how many pages of the batch are there.

        Args:
            batch: ``schemas.BATCH``. Beside it no more than one request's texts are in memory.
            projects: Number of the project of each row.
            guideline_version: That annotators follow.

        Raises:
            InputError: The server refuses a page.
            LabelStudioError: It lost one request after the other, or cannot be reached.
        """
        page_ids = batch["page_id"].to_pylist()
        failures = 0
        while True:
            number = self._next_turn()
            # In this order: what is recorded as sent was there when the server was asked, unless somebody deleted it.
            sent = self._pushes.sent()
            there = self.pages_there()
            missing = [row for row, page in enumerate(page_ids) if page not in there and page not in sent]
            if not missing:
                break
            chunks = self._chunks(batch, projects, missing)
            failures += not self._send_in_turns(number, chunks, guideline_version)
            if failures == _TRIES:
                raise LabelStudioError(
                    f"Label Studio lost {_TRIES} requests: {len(missing)} of {len(page_ids)} pages of {self._batch_id} "
                    f"are not there yet. Look at the server's log, and run again: nothing is sent twice."
                )
        strays = sorted({*page_ids} & there.keys() - sent.keys())
        self._record_strays(number, dict.fromkeys(strays, guideline_version))
        self._remove_copies(there)
        return len(there)

    def pages_there(self) -> dict[str, list[int]]:
        """Return the numbers of the tasks of each page of the batch that are on the server."""
        found: dict[str, list[int]] = {}
        for project in self._projects:
            for each in self._client.list_tasks(project, self._batch_id):
                if is_ours(each):
                    found.setdefault(each["meta"]["page_id"], []).append(each["id"])
        return found

    def _next_turn(self) -> int:
        """Return the number of the next turn, once it is known what became of the one before."""
        waits_for, since = 0, time.monotonic()
        while (newest := self._pushes.newest()) is not None and not newest.is_over:
            if newest.number != waits_for:
                waits_for, since = newest.number, time.monotonic()
            if self._has_arrived(newest):
                self._pushes.end(newest, arrived=True)
            # Whoever has the turn may wait for an answer, and as long again for the pages.
            elif time.monotonic() - since > 2 * self._options.timeout_s:
                self._pushes.end(newest, arrived=False)
            else:
                time.sleep(_LOOK_S)
        return newest.number + 1 if newest else 1

    def _send_in_turns(self, number: int, chunks: Iterable[Chunk], guideline_version: str) -> bool:
        """Send chunks as long as each turn is ours; False where a request was lost."""
        for project, rows in chunks:
            pages = dict.fromkeys((row["page_id"] for row in rows), guideline_version)
            if not self._pushes.take(number, pages):
                return True
            tasks = [task(row, guideline_version, self._options.tree_separator) for row in rows]
            if not self._send_chunk(project, Turn(number, frozenset(pages), is_over=False), tasks):
                return False
            number += 1
        return True

    def _chunks(self, batch: pa.Table, projects: Sequence[int], rows: Sequence[int]) -> Iterator[Chunk]:
        """Yield what goes into one request: rows of one project, in their order."""
        for project in sorted({projects[row] for row in rows}):
            own = [row for row in rows if projects[row] == project]
            for start in range(0, len(own), self._options.chunk_pages):
                yield project, batch.take(own[start : start + self._options.chunk_pages]).to_pylist()

    def _send_chunk(self, project: int, turn: Turn, tasks: Sequence[Json]) -> bool:
        try:
            is_there = self._client.import_tasks(project, tasks) or self._comes_late(turn)
        except (UnreachableError, RefusedError, ConfigError) as error:
            self._pushes.end(turn, arrived=False)
            if isinstance(error, RefusedError):
                raise InputError(f"Batch {self._batch_id} cannot be sent. {error}") from error
            raise
        except FailedError:
            is_there = self._has_arrived(turn)
        except NoAnswerError:
            is_there = self._comes_late(turn)
        self._pushes.end(turn, arrived=is_there)
        return is_there

    def _comes_late(self, turn: Turn) -> bool:
        """Wait until the pages of a request are there, at most as long as a request may take."""
        until = time.monotonic() + self._options.timeout_s
        while not (is_there := self._has_arrived(turn)) and time.monotonic() < until:
            time.sleep(_LOOK_S)
        return is_there

    def _has_arrived(self, turn: Turn) -> bool:
        # A request adds all its pages or none, and they were not there before.
        return not turn.pages.isdisjoint(self.pages_there())

    def _record_strays(self, number: int, strays: dict[str, str]) -> None:
        """Record pages that arrived after they were given up."""
        if strays and self._pushes.take(number, strays):
            self._pushes.end(Turn(number, frozenset(strays), is_over=False), arrived=True)

    def _remove_copies(self, there: Mapping[str, Sequence[int]]) -> None:
        for page_id, tasks in there.items():
            if len(tasks) == 1:
                continue
            numbers = sorted(tasks)
            # Each task is asked for its answers: the counts in a listing may lag behind them.
            kept = [number for number in numbers if self._client.has_answers(number)] or numbers[:1]
            for number in numbers:
                if number not in kept:
                    LOG.warning("%s holds page %s twice: task %s stays.", self._batch_id, page_id, kept[0])
                    self._client.delete_task(number)
