"""The record of what was sent, and whose turn it is to send: files that are created, never replaced.

The server knows no uniqueness, so that no two requests that add pages of a batch may be under way at once. Each is a
*turn* with a number. Below the folder of a batch:
    000001.claimed.jsonl    the pages that are about to be sent in one request; whoever creates it has the turn
    000001.sent.jsonl       those of them that arrived, all or none; whoever creates it ends the turn
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from al_platform.domain.errors import StoreError
from al_platform.storage.store import Store

GuidelineVersions: TypeAlias = dict[str, str]
"""Guideline version by page."""

_FILE = re.compile(r"(\d{6})\.(claimed|sent)\.jsonl")


@dataclass(frozen=True)
class Turn:
    """One request that adds pages.

    Attributes:
        number: Counted from 1.
        pages: That it sends.
        is_over: Whether it is known what became of it.
    """

    number: int
    pages: frozenset[str]
    is_over: bool


class Pushes:
    """The turns of one batch."""

    def __init__(self, store: Store, folder: str, batch_id: str):
        self._store = store
        self._folder = f"{folder}/{batch_id}"

    def newest(self) -> Turn | None:
        """Return the turn with the highest number."""
        files = self._files()
        if not files:
            return None
        number = max(number for number, _ in files)
        pages = frozenset(self._read(number, "claimed"))
        return Turn(number, pages, (number, "sent") in files)

    def take(self, number: int, pages: GuidelineVersions) -> bool:
        """Take a turn; False where somebody else has."""
        return self._create(number, "claimed", pages)

    def end(self, turn: Turn, *, arrived: bool) -> None:
        """Record what became of a turn; where that is known already, nothing happens."""
        claimed = self._read(turn.number, "claimed")
        self._create(turn.number, "sent", claimed if arrived else {})

    def sent(self) -> GuidelineVersions:
        """Return the pages that arrived."""
        return self._all("sent")

    def claimed(self) -> GuidelineVersions:
        """Return the pages that arrived or may have."""
        return self._all("claimed")

    def _all(self, kind: str) -> GuidelineVersions:
        numbers = sorted(number for number, found in self._files() if found == kind)
        return {page: version for number in numbers for page, version in self._read(number, kind).items()}

    def _files(self) -> set[tuple[int, str]]:
        matches = (_FILE.fullmatch(path.rpartition("/")[2]) for path in self._store.list(self._folder))
        return {(int(match[1]), match[2]) for match in matches if match}

    def _path(self, number: int, kind: str) -> str:
        return f"{self._folder}/{number:06}.{kind}.jsonl"

    def _create(self, number: int, kind: str, pages: GuidelineVersions) -> bool:
        lines = [{"page_id": page, "guideline_version": version} for page, version in pages.items()]
        try:
            self._store.create(self._path(number, kind), b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        except FileExistsError:
            return False
        return True

    def _read(self, number: int, kind: str) -> GuidelineVersions:
        path = self._path(number, kind)
        try:
            return dict(_pages(self._store.read(path).split(b"\n")))
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{path} is no record as al-platform writes it ({type(error).__name__}: {error}). "
                f"Restore the file: it says what was sent."
            ) from error


def all_batches(store: Store, folder: str) -> list[str]:
    """Return the ids of all batches of which a page was sent, or may have been."""
    return sorted({path.removeprefix(f"{folder}/").split("/")[0] for path in store.list(folder)})


def _pages(lines: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    for line in lines:
        if line:
            page = json.loads(line)
            yield page["page_id"], page["guideline_version"]
