"""Label Studio as an annotation platform.

Below the prefix in the store: ``projects``, ``pushes`` and ``shown``; see the modules of those names.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from al_platform.annotation.answers import Row, Sent, read_tasks
from al_platform.annotation.label_studio.client import Client, Json
from al_platform.annotation.label_studio.labelling_config import spelled_flat
from al_platform.annotation.label_studio.options import Access, LabelStudioOptions
from al_platform.annotation.label_studio.projects import Projects, Wanted
from al_platform.annotation.label_studio.push import Push
from al_platform.annotation.label_studio.pushes import Pushes, all_batches
from al_platform.annotation.label_studio.shown import Place, ShownTasks, Task, answers_that_hold
from al_platform.annotation.label_studio.tasks import is_ours
from al_platform.annotation.platform import Pulled, Receipt, as_pulled, pages_of_one_batch
from al_platform.domain.taxonomy import Taxonomy
from al_platform.storage.erasures import ErasedPages
from al_platform.storage.store import Store

_AT_A_TIME = 1000


class Counts(NamedTuple):
    """What became of the pages of a batch: ``pushed`` is the sum of the others.

    Attributes:
        pushed: Pages that arrived on the server.
        labelled: Pages with an answer.
        skipped: Pages that were only skipped.
        pending: Pages without an answer.
        removed: Pages without an answer whose task was deleted on the server.
    """

    pushed: int
    labelled: int
    skipped: int
    pending: int
    removed: int


class LabelStudio:
    """An annotation platform on which people work in a browser."""

    name = "label_studio"

    def __init__(
        self,
        store: Store,
        prefix: str,
        family: str,
        taxonomy: Taxonomy,
        options: LabelStudioOptions,
        access: Access,
        answers_per_page: int = 3,
    ):
        self._store = store
        self._pushed_in = f"{prefix}/pushes"
        self._taxonomy = taxonomy
        self._options = options
        self._client = Client(access, options.timeout_s)
        self._projects = Projects(store, f"{prefix}/projects", self._client)
        self._wanted = Wanted(family, taxonomy, options, answers_per_page)
        self._shown = ShownTasks(store, f"{prefix}/shown")

    def make_project(self) -> int:
        """Return the number of the project that the next batch goes to, made now if there is none."""
        self._client.require_known_version()
        return self._projects.wanted(self._wanted)

    def submit(self, batch: pa.Table) -> Receipt:
        """Send the pages of one batch that were not sent yet; a page whose task was deleted there stays deleted."""
        batch_id, rows = pages_of_one_batch(batch)
        if batch_id is None:
            return Receipt(batch_id=None, platform=self.name, tasks=0)
        self._client.require_known_version()
        answers = pc.fill_null(rows["answers_wanted"], self._wanted.answers).to_pylist()
        projects = {wanted: self._project(wanted) for wanted in sorted(set(answers))}
        placed = [projects[wanted] for wanted in answers]
        tasks = self._push(batch_id).send(rows, placed, self._taxonomy.guideline_version)
        return Receipt(batch_id=batch_id, platform=self.name, tasks=tasks)

    def pull(self) -> Pulled:
        """Ask for the tasks that changed since the last pull, and return the answers to all."""
        erased, sent, before = ErasedPages.of(self._store), self._sent(), self._shown.read()
        shown = self._shown.add(self._changed(before.places, erased), before)
        documents = ((f"task {each['id']}", self._document(each)) for each in self._shown.tasks(shown))
        return as_pulled(self._read(documents, sent, erased))

    def _read(
        self, documents: Iterator[tuple[str, object]], sent: Sent, erased: ErasedPages
    ) -> Iterator[tuple[list[Row], list[Row]]]:
        """Yield the rows of some tasks at a time."""
        while some := list(islice(documents, _AT_A_TIME)):
            taken, refused = read_tasks(some, sent, self._taxonomy)
            yield taken, [row for row in refused if row["page_id"] not in erased]

    def reconcile(self) -> dict[str, Counts]:
        """Return what became of the pages of each batch, by what the last pull saw and what the server holds now."""
        answered = self._answered_pages()
        batches = all_batches(self._store, self._pushed_in)
        return {batch_id: self._count(batch_id, answered.get(batch_id, {})) for batch_id in batches}

    def _answered_pages(self) -> dict[str | None, dict[str, bool]]:
        """Return by batch the pages with an answer, and whether one of them is no skip."""
        found: dict[str | None, dict[str, bool]] = {}
        for each in self._shown.tasks(self._shown.read()):
            if each["annotations"]:
                batch, page = each["data"].get("batch_id"), each["data"].get("page_id")
                pages = found.setdefault(batch, {})
                pages[page] = pages.get(page, False) or _is_labelled(each)
        return found

    def _project(self, answers: int) -> int:
        is_usual = answers == self._wanted.answers
        return self._projects.wanted(replace(self._wanted, answers=answers, is_usual=is_usual))

    def _push(self, batch_id: str) -> Push:
        return Push(self._client, self._projects.numbers(), self._pushes(batch_id), batch_id, self._options)

    def _pushes(self, batch_id: str) -> Pushes:
        return Pushes(self._store, self._pushed_in, batch_id)

    def _changed(self, before: Mapping[int, Place], erased: ErasedPages) -> Iterator[Json]:
        """Yield the tasks whose time of change is another than when they were last seen."""
        for project in self._projects.numbers():
            listed = (each for each in self._client.list_tasks(project) if not _is_erased(each, erased))
            changed = [each["id"] for each in listed if _has_changed(each, before)]
            yield from self._client.fetch_tasks(project, changed)

    def _document(self, shown: Task) -> Task:
        tree = self._options.tree_separator
        answers = [{**each, "result": spelled_flat(each.get("result"), tree)} for each in answers_that_hold(shown)]
        return {"data": shown["data"], "annotations": answers}

    def _sent(self) -> Sent:
        return {
            (batch_id, page_id): version
            for batch_id in all_batches(self._store, self._pushed_in)
            for page_id, version in self._pushes(batch_id).claimed().items()
        }

    def _count(self, batch_id: str, answered: Mapping[str, bool]) -> Counts:
        pushed = self._pushes(batch_id).sent().keys()
        pages = pushed & answered.keys()
        labelled = {page for page in pages if answered[page]}
        unanswered = pushed - pages
        there = self._push(batch_id).pages_there().keys()
        return Counts(
            pushed=len(pushed),
            labelled=len(labelled),
            skipped=len(pages - labelled),
            pending=len(unanswered & there),
            removed=len(unanswered - there),
        )


def _is_erased(listed: Json, erased: ErasedPages) -> bool:
    return is_ours(listed) and listed["meta"]["page_id"] in erased


def _has_changed(listed: Json, before: Mapping[int, Place]) -> bool:
    return listed["id"] not in before or before[listed["id"]].updated_at != listed["updated_at"]


def _is_labelled(shown: Task) -> bool:
    return any(not each["was_cancelled"] for each in shown["annotations"])
