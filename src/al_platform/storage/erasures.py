"""Erasures: the one case in which a stored file is written anew, and the tombstone that says so.

A tombstone, ``erasures/000001.json``, is created before the first file changes. It holds what every file hashes to
before and after, so that readers accept the new bytes in place of those that a manifest names, and a run that was
killed in between can be finished. Every root of one erasure gets the same tombstone, under the same number.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, ValidationError

from al_platform.domain.errors import StoreError
from al_platform.storage.commit_log import to_json
from al_platform.storage.store import Store

FOLDER = "erasures"
_PARALLEL_READS = 8


class FormerVersion(NamedTuple):
    """What a file was before it was replaced or removed: its path, and the store's name of the version."""

    path: str
    version: str


@runtime_checkable
class Versioned(Protocol):
    """A store that may keep what was replaced or removed."""

    def former_versions(self) -> Sequence[FormerVersion]:
        """Return every version of every file but the present ones."""
        ...

    def read_version(self, former: FormerVersion) -> bytes:
        """Return the bytes of a version; FileNotFoundError if it is gone."""
        ...

    def erase_versions(self, former: Sequence[FormerVersion]) -> None:
        """Remove versions for good; StoreError if one of them must stay, when all others are gone."""
        ...


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ErasedFile(_Record):
    """A file that is written anew: its path below the root of its class of data, and how many rows go."""

    path: str
    sha256_before: str
    sha256_after: str
    rows: int


class AffectedModel(_Record):
    """A model that saw the page: what for, and in which cycle it was trained."""

    digest: str
    family: str
    cycle: str
    role: str


class Tombstone(_Record):
    """One erasure of a page.

    Attributes:
        number: Position among the tombstones, from 1.
        page_sha256: SHA-256 of the page's id; the id itself is erased too.
        reason: Why, without naming the page.
        at: When it was announced, ISO 8601, UTC.
        actor: Who asked.
        files: Every file that it changes, of all roots.
        models: Models that saw the page; they are never changed.
    """

    number: int
    page_sha256: str
    reason: str
    at: str
    actor: str
    files: tuple[ErasedFile, ...]
    models: tuple[AffectedModel, ...] = ()


@dataclass(frozen=True)
class ErasedPages:
    """The pages that were erased: ``page_id in erased`` tells of each."""

    digests: frozenset[str]

    @classmethod
    def of(cls, store: Store) -> "ErasedPages":
        """Return those that the store's tombstones tell of."""
        return cls(frozenset(tombstone.page_sha256 for tombstone in tombstones(store)))

    def __contains__(self, page_id: object) -> bool:
        return bool(self.digests) and isinstance(page_id, str) and page_sha256(page_id) in self.digests


def page_sha256(page_id: str) -> str:
    """Return what stands for a page's id in a tombstone."""
    return sha256(page_id.encode("utf-8", "surrogatepass")).hexdigest()


def tombstones(store: Store) -> list[Tombstone]:
    """Return every tombstone of a root, oldest first.

    Raises:
        StoreError: One of them cannot be read.
    """
    paths = store.list(FOLDER)
    # Many small reads: on a remote store each waits for the network.
    with ThreadPoolExecutor(_PARALLEL_READS) as pool:
        return [_parsed(store, *found) for found in zip(paths, pool.map(store.read, paths), strict=True)]


def tombstone_file(tombstone: Tombstone) -> tuple[str, bytes]:
    """Return where a tombstone lies in its root, and its bytes."""
    return f"{FOLDER}/{tombstone.number:06d}.json", to_json(tombstone)


def create_tombstone(store: Store, tombstone: Tombstone) -> None:
    """Create a tombstone, which a line of the audit log has announced; FileExistsError if its number is taken."""
    store.create(*tombstone_file(tombstone))


def accepts(store: Store, path: str, expected: str, found: str) -> bool:
    """Return whether erasures alone lead from the bytes that a manifest names to those that are there.

    Args:
        store: Where the file lies.
        path: The file.
        expected: SHA-256 that was recorded.
        found: SHA-256 of what is there.
    """
    steps = [file for tombstone in tombstones(store) for file in tombstone.files if file.path == path]
    reached = {expected}
    # Several erasures follow one another, in any order of their numbers after a kill.
    while new := {step.sha256_after for step in steps if step.sha256_before in reached} - reached:
        reached |= new
    return found in reached


def _parsed(store: Store, path: str, data: bytes) -> Tombstone:
    try:
        return Tombstone.model_validate_json(data)
    except ValidationError as error:
        raise StoreError(f"{path} in {store.root} is no tombstone of an erasure. Restore the file.") from error
