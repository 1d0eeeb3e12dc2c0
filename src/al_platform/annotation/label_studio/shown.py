"""What the server showed at earlier pulls, so that a pull asks only for what changed, and a deletion is noticed.

The server has no tombstones: an answer that was shown and is there no more, while its task is, was deleted. An answer
whose task is gone stays what it was: a server that is tidied up, or lost, must not take labels along.

Below the folder, ``000001.jsonl`` and so on, each created by the pull that found it: one changed task a line, in Label
Studio's own format but without the page's text. The newest line of a task counts. Only its place and time are kept in
memory: a family's tasks grow with each month, what a pull holds of them should not.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import groupby, islice
from typing import Any, NamedTuple, TypeAlias

from al_platform.annotation.label_studio.tasks import is_ours
from al_platform.domain.errors import StoreError
from al_platform.storage.store import Store

Task: TypeAlias = dict[str, Any]

_IN_ONE_FILE = 1000
_KEPT = ("id", "completed_by", "result", "was_cancelled", "created_at", "updated_at")


class Place(NamedTuple):
    """Where the newest line of a task is, and when the task had changed last by then."""

    file: int
    start: int
    end: int
    updated_at: str


class Shown(NamedTuple):
    """The place of each task as it was last seen, by id, and how many files there are."""

    places: dict[int, Place]
    files: int


class ShownTasks:
    """The record of what was seen."""

    def __init__(self, store: Store, folder: str):
        self._store = store
        self._folder = folder

    def read(self) -> Shown:
        """Return what is recorded."""
        paths = self._store.list(self._folder)
        places: dict[int, Place] = {}
        for number in range(1, len(paths) + 1):
            places |= self._places(number, self._store.read(self._path(number)))
        return Shown(places, len(paths))

    def tasks(self, shown: Shown, wanted: Collection[int] | None = None) -> Iterator[Task]:
        """Yield recorded tasks as they were last seen, file after file; by default all."""
        chosen = shown.places.items() if wanted is None else ((each, shown.places.get(each)) for each in wanted)
        places = sorted((place, number) for number, place in chosen if place is not None)
        for file, in_file in groupby(places, lambda each: each[0].file):
            data = self._store.read(self._path(file))
            for place, _ in in_file:
                yield self._task(data[place.start : place.end], file)

    def add(self, exported: Iterable[Mapping[str, Any]], before: Shown) -> Shown:
        """Record tasks as they are now, and return all.

        Args:
            exported: Tasks as the server exports them.
            before: What was recorded when they were asked for.
        """
        rest = iter(exported)
        while chunk := [_recorded(task) for task in islice(rest, _IN_ONE_FILE)]:
            before = self._add(chunk, before)
        return before

    def _add(self, now: list[Task], before: Shown) -> Shown:
        while news := [task for task in now if _is_newer(task, before.places)]:
            known = {task["id"]: task for task in self.tasks(before, [task["id"] for task in news])}
            number = before.files + 1
            data = b"".join(_line(_with_deletions(task, known)) for task in news)
            try:
                self._store.create(self._path(number), data)
            except FileExistsError:
                # Another pull was faster: what it saw may be newer than what we did.
                before = self.read()
            else:
                return Shown(before.places | self._places(number, data), number)
        return before

    def _places(self, number: int, data: bytes) -> dict[int, Place]:
        found, start = {}, 0
        for line in data.split(b"\n"):
            if line:
                task = self._task(line, number)
                found[task["id"]] = Place(number, start, start + len(line), task["updated_at"])
            start += len(line) + 1
        return found

    def _path(self, number: int) -> str:
        return f"{self._folder}/{number:06}.jsonl"

    def _task(self, line: bytes, number: int) -> Task:
        try:
            task: Task = json.loads(line)
        except ValueError as error:
            raise StoreError(
                f"{self._path(number)} is no record as al-platform writes it ({error}). Restore the file."
            ) from error
        return task


def answers_that_hold(task: Task) -> list[Task]:
    """Return a task's answers, the deleted ones as deletions."""
    return [*task["annotations"], *task["deleted"]]


def _recorded(exported: Mapping[str, Any]) -> Task:
    """Return what is kept of a task: the key, and who answered what and when."""
    known = exported["meta"] if is_ours(exported) else exported["data"]
    ordered = sorted(exported["annotations"], key=lambda each: int(each["id"]))
    return {
        "id": exported["id"],
        "updated_at": exported["updated_at"],
        "data": {name: known[name] for name in ("page_id", "batch_id") if name in known},
        "annotations": [{name: each.get(name) for name in _KEPT} for each in ordered],
    }


def _is_newer(task: Task, before: Mapping[int, Place]) -> bool:
    """Return whether a task was seen later than what is recorded.

    At the same time of change it may have been seen earlier: the server first stores an answer, then the time.
    """
    known = before.get(task["id"])
    return known is None or datetime.fromisoformat(task["updated_at"]) > datetime.fromisoformat(known.updated_at)


def _with_deletions(task: Task, before: Mapping[int, Task]) -> Task:
    there = {each["id"] for each in task["annotations"]}
    once = answers_that_hold(before[task["id"]]) if task["id"] in before else []
    return {**task, "deleted": [_deletion(each) for each in once if each["id"] not in there]}


def _deletion(annotation: Mapping[str, Any]) -> Task:
    return {"id": annotation["id"], "completed_by": annotation["completed_by"], "deleted": True}


def _line(task: Task) -> bytes:
    return json.dumps(task).encode() + b"\n"
