"""What the server showed at earlier pulls, so that a pull asks only for what changed, and a deletion is noticed.

The server has no tombstones: an answer that was shown and is there no more, while its task is, was deleted. An answer
whose task is gone stays what it was: a server that is tidied up, or lost, must not take labels along.

Below the folder, ``000001.jsonl`` and so on, each created by the pull that found it: one changed task a line, in Label
Studio's own format but without the page's text. The newest line of a task counts.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from al_platform.annotation.label_studio.tasks import is_ours
from al_platform.domain.errors import StoreError
from al_platform.storage.store import Store

Task: TypeAlias = dict[str, Any]

_KEPT = ("id", "completed_by", "result", "was_cancelled", "created_at", "updated_at")


class Shown(NamedTuple):
    """Each task as it was last seen, by id, and how many files tell it."""

    tasks: dict[int, Task]
    files: int


class ShownTasks:
    """The record of what was seen."""

    def __init__(self, store: Store, folder: str):
        self._store = store
        self._folder = folder

    def read(self) -> Shown:
        """Return what is recorded."""
        files = self._store.list(self._folder)
        return Shown({task["id"]: task for path in files for task in self._lines(path)}, len(files))

    def add(self, exported: Iterable[Mapping[str, Any]], before: Shown) -> Shown:
        """Record tasks as they are now, and return all.

        Args:
            exported: Tasks as the server exports them.
            before: What was recorded when they were asked for.
        """
        now = [_recorded(task) for task in exported]
        while news := [_with_deletions(task, before.tasks) for task in now if _is_newer(task, before.tasks)]:
            number = before.files + 1
            try:
                self._store.create(f"{self._folder}/{number:06}.jsonl", b"".join(map(_line, news)))
            except FileExistsError:
                # Another pull was faster: what it saw may be newer than what we did.
                before = self.read()
            else:
                return Shown(before.tasks | {task["id"]: task for task in news}, number)
        return before

    def _lines(self, path: str) -> list[Task]:
        try:
            return [json.loads(line) for line in self._store.read(path).split(b"\n") if line]
        except ValueError as error:
            raise StoreError(f"{path} is no record as al-platform writes it ({error}). Restore the file.") from error


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


def _is_newer(task: Task, before: Mapping[int, Task]) -> bool:
    """Return whether a task was seen later than what is recorded.

    At the same time of change it may have been seen earlier: the server first stores an answer, then the time.
    """
    known = before.get(task["id"])
    return known is None or _time(task) > _time(known)


def _time(task: Task) -> datetime:
    return datetime.fromisoformat(task["updated_at"])


def _with_deletions(task: Task, before: Mapping[int, Task]) -> Task:
    there = {each["id"] for each in task["annotations"]}
    once = answers_that_hold(before[task["id"]]) if task["id"] in before else []
    return {**task, "deleted": [_deletion(each) for each in once if each["id"] not in there]}


def _deletion(annotation: Mapping[str, Any]) -> Task:
    return {"id": annotation["id"], "completed_by": annotation["completed_by"], "deleted": True}


def _line(task: Task) -> bytes:
    return json.dumps(task).encode() + b"\n"
