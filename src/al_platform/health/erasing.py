"""Erasures that were killed halfway, and tombstones that are none."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from al_platform.health.commits import parsed
from al_platform.health.problem import RESTORE, Problem
from al_platform.health.stores import TendedStores, in_parallel
from al_platform.stages import DataClass, class_of
from al_platform.storage.erasures import ErasedFile, Tombstone

# Pages come in here: imports and simulated sources ask these roots what must not come back.
_ENTRANCES: tuple[DataClass, ...] = ("traffic", "labels")
UNFINISHED = "unfinished erasure"


@dataclass(frozen=True)
class StoredTombstone:
    """A tombstone, and the class of data of its root; ``content`` is None where it cannot be read."""

    data_class: DataClass
    path: str
    content: Tombstone | None


def read_tombstones(stores: TendedStores) -> list[StoredTombstone]:
    """Return every tombstone of every root."""

    def read(where: tuple[DataClass, str]) -> StoredTombstone:
        data_class, path = where
        content = parsed(Tombstone, path, stores.by_class[data_class].read(path))
        return StoredTombstone(data_class, path, content)

    return list(in_parallel(read, stores.tombstones(), "reading tombstones"))


def find_damaged(tombstones: Sequence[StoredTombstone]) -> list[Problem]:
    """Return the tombstones that cannot be read: readers and imports refuse to go on without them."""
    detail = "this file cannot be read as the tombstone of that number, so that nothing of its root can be trusted"
    return [
        Problem("tombstone", found.data_class, found.path, detail, f"{RESTORE}.")
        for found in tombstones
        if found.content is None
    ]


def find_unfinished(stores: TendedStores, tombstones: Sequence[StoredTombstone], quick: bool) -> list[Problem]:
    """Return what erasures announced and did not do.

    Args:
        stores: The stores.
        tombstones: Of all roots.
        quick: Hash no files.
    """
    return [*_not_refused(stores, tombstones), *([] if quick else _not_rewritten(stores, tombstones))]


def _not_refused(stores: TendedStores, tombstones: Sequence[StoredTombstone]) -> Iterator[Problem]:
    """Yield what lets an erased page in again: it was killed between two roots."""
    pages = {found.content.page_sha256: found for found in tombstones if found.content is not None}
    for root in stores.roots():
        told_of = {found.content.page_sha256 for found in _in(root.data_class, tombstones) if found.content is not None}
        for page_sha256 in pages.keys() - told_of if {*root.classes} & {*_ENTRANCES} else ():
            elsewhere = pages[page_sha256]
            detail = f"the {elsewhere.data_class} have a tombstone of a page that is let in here"
            yield _unfinished(root.data_class, elsewhere.path, detail, page_sha256)


def _in(data_class: DataClass, tombstones: Sequence[StoredTombstone]) -> Iterator[StoredTombstone]:
    return (found for found in tombstones if found.data_class == data_class)


@dataclass(frozen=True)
class _Step:
    file: ErasedFile
    page_sha256: str


def _not_rewritten(stores: TendedStores, tombstones: Sequence[StoredTombstone]) -> Iterator[Problem]:
    """Yield the files that hold still what a tombstone announces to be taken out."""
    steps: dict[str, list[_Step]] = {}
    for tombstone in (found.content for found in tombstones if found.content is not None):
        for file in tombstone.files:
            steps.setdefault(file.path, []).append(_Step(file, tombstone.page_sha256))

    def check(path: str) -> Problem | None:
        return _checked(stores, path, steps[path])

    return (problem for problem in in_parallel(check, sorted(steps), "hashing erased files") if problem is not None)


def _checked(stores: TendedStores, path: str, steps: Sequence[_Step]) -> Problem | None:
    data_class: DataClass = "logs" if path.startswith("runs/") else class_of(path)
    data = stores.find(data_class, path)
    found = None if data is None else sha256(data).hexdigest()
    pending = next((step for step in steps if step.file.sha256_before == found), None)
    if pending is None:
        return None
    return _unfinished(data_class, path, "a tombstone announces it without a page that it holds", pending.page_sha256)


def _unfinished(data_class: DataClass, path: str, detail: str, page_sha256: str) -> Problem:
    remedy = f"Run kedro al erase again, with the id of the page whose SHA-256 is {page_sha256}."
    return Problem(UNFINISHED, data_class, path, detail, remedy)
