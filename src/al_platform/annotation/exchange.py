"""Labelling through files: batches go out as Label Studio tasks, answers come in as Label Studio exports.

Below the prefix:
    outbox/<batch_id>.jsonl     one task a line; further parts (<batch_id>.2.jsonl) hold pages that were added later
    inbox/**/*.jsonl, *.json    exports, one task a line or a list of tasks; never changed by us
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from al_platform.annotation.answers import Row, Sent, read_answers
from al_platform.annotation.platform import Pulled, Receipt, as_pulled, pages_of_one_batch
from al_platform.domain.errors import StoreError
from al_platform.domain.taxonomy import Taxonomy
from al_platform.storage.erasures import ErasedPages
from al_platform.storage.store import Store

_ENDINGS = (".json", ".jsonl")


class FileExchange:
    """An annotation platform that is a folder: somebody carries the files to the annotators and back."""

    name = "exchange"

    def __init__(self, store: Store, prefix: str, taxonomy: Taxonomy):
        self._store = store
        self._outbox = f"{prefix}/outbox"
        self._inbox = f"{prefix}/inbox"
        self._taxonomy = taxonomy

    def submit(self, batch: pa.Table) -> Receipt:
        """Write the pages that are in no part of the batch yet as its next part."""
        batch_id, rows = pages_of_one_batch(batch)
        if batch_id is None:
            return Receipt(batch_id=None, platform=self.name, tasks=0)
        pages = rows.to_pylist()
        while missing := self._missing(batch_id, pages):
            try:
                self._store.create(self._next_part(batch_id), _lines(missing, self._taxonomy.guideline_version))
            except FileExistsError:
                # Another run wrote this part meanwhile: look again what is missing.
                continue
        return Receipt(batch_id=batch_id, platform=self.name, tasks=len(self._sent_pages(batch_id)))

    def pull(self) -> Pulled:
        """Read all exports of the inbox anew: a file may be corrected in place, and no store tells cheaply that it was.

        What was taken stays taken when its file is moved away.
        """
        return as_pulled(self._read())

    def _read(self) -> Iterator[tuple[list[Row], list[Row]]]:
        """Yield what each file of the inbox holds."""
        sent, erased = self._sent(), ErasedPages.of(self._store)
        for path in self._store.list(self._inbox):
            if path.endswith(_ENDINGS):
                taken, refused = read_answers(self._store.read(path), path, sent, self._taxonomy)
                yield taken, [_without_erased(row, erased) for row in refused]

    def all_parts(self) -> list[str]:
        """Return the paths of the parts of every batch."""
        return self._store.list(self._outbox)

    def parts(self, batch_id: str) -> list[str]:
        """Return the paths of the parts of a batch, in the order they were written."""
        name = re.compile(rf"{re.escape(batch_id)}(?:\.(\d+))?\.jsonl")
        found = {path: name.fullmatch(path.rpartition("/")[2]) for path in self._store.list(self._outbox)}
        numbered = sorted((int(match[1] or 1), path) for path, match in found.items() if match)
        return [path for _, path in numbered]

    def tasks(self, path: str) -> list[dict[str, Any]]:
        """Return the ``data`` of each task of a part.

        Raises:
            StoreError: The file is not as we wrote it.
        """
        lines = self._store.read(path).split(b"\n")
        return [_task_data(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1) if line]

    def answers_path(self, part: str) -> str:
        """Return where the answers to a part lie if we write them ourselves."""
        return f"{self._inbox}/{part.rpartition('/')[2]}"

    def _missing(self, batch_id: str, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        sent = self._sent_pages(batch_id)
        return [row for row in rows if row["page_id"] not in sent]

    def _sent_pages(self, batch_id: str) -> set[str]:
        return {task["page_id"] for part in self.parts(batch_id) for task in self.tasks(part)}

    def _next_part(self, batch_id: str) -> str:
        number = len(self.parts(batch_id)) + 1
        return f"{self._outbox}/{batch_id}.jsonl" if number == 1 else f"{self._outbox}/{batch_id}.{number}.jsonl"

    def _sent(self) -> Sent:
        return {
            (task["batch_id"], task["page_id"]): task["guideline_version"]
            for path in self.all_parts()
            for task in self.tasks(path)
        }


def _without_erased(row: dict[str, Any], erased: ErasedPages) -> dict[str, Any]:
    # An export that was made before an erasure still names the page; our files must not name it again.
    return {"page_id": None, "reason": "erased", "detail": None} if row["page_id"] in erased else row


def _lines(rows: Sequence[Mapping[str, Any]], guideline_version: str) -> bytes:
    """Return the tasks, one a line.

    What the model predicts and why the page was chosen is left out: annotators who see it lean towards it, and the
    audit would no longer be blind.
    """
    return b"".join(_line(row, guideline_version) for row in rows)


def _line(row: Mapping[str, Any], guideline_version: str) -> bytes:
    data = {name: row[name] for name in ("page_id", "batch_id", "rank", "answers_wanted")}
    shown = {name: row[name] or "" for name in ("url", "title", "text")}
    # ASCII only, so that no character of a page is taken for the end of a line.
    return json.dumps({"data": data | shown | {"guideline_version": guideline_version}}).encode() + b"\n"


def _task_data(line: bytes, place: str) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads(line)["data"]
        told = {name: data[name] for name in ("page_id", "batch_id", "guideline_version")}
        # Tasks that were sent by an older version do not say it.
        return {**told, "answers_wanted": data.get("answers_wanted")}
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{place} is no task as al-platform writes it ({type(error).__name__}: {error}). "
            f"Restore the file: the outbox is the record of what was sent."
        ) from error
