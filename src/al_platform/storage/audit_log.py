"""The audit log: a line for every production write, chained by SHA-256, each a file that is created, never replaced.

A line is written before what it announces, so that no commit can lack one; a run that is killed in between leaves a
line without a commit, which is no error: the run's record tells it from a commit that somebody took away. The chain
shows a line that was changed or taken out. That its end was cut off, or all of it written anew, shows only against an
anchor: the number and digest of a line, held in another store.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TypeAlias
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, ValidationError

from al_platform.domain.errors import ConfigError, StoreError
from al_platform.progress import progress
from al_platform.storage.commit_log import Entry, StageKey, to_json
from al_platform.storage.store import Store

LOG = logging.getLogger("al_platform")

Subject: TypeAlias = dict[str, str | int | None]
"""What a line is about: names and values."""

_FOLDER = "audit"
_ANCHORS = "anchors"
_LINE = re.compile(rf"{_FOLDER}/(\d{{6,}})\.json")
_ANCHOR = re.compile(rf"{_ANCHORS}/(\d{{6,}})-([0-9a-f]{{64}})\.json")
_TRIES = 1000
_STEPS = 16  # lines of other writers that are walked over one by one, before the folder is listed again
_PARALLEL_READS = 8


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AuditLine(_Record):
    """One line.

    Attributes:
        number: Position in the log, from 1.
        previous_sha256: What the bytes of the line before hash to; None for the first.
        id: Unique to this line: tells a lost reply from another writer's equal line.
        at: When, ISO 8601, UTC.
        actor: Who.
        action: What was about to be done: ``commit``, ``promote``, ``import``, ``erase``, ``repair``, ``adopt``...
        subject: To what; see ``commit_subject`` and ``entry_subject`` for what announces a log entry.
    """

    number: int
    previous_sha256: str | None
    id: str
    at: str
    actor: str
    action: str
    subject: Subject


class Anchor(_Record):
    """A line as it was at some time, held outside: its number and what its bytes hashed to."""

    number: int
    sha256: str
    at: str
    actor: str


@dataclass(frozen=True)
class _Head:
    number: int
    sha256: str | None


class AuditLog:
    """Writes lines."""

    def __init__(self, store: Store, actor: str, anchor: Store | None = None):
        """Open the log; nothing is read yet.

        Args:
            store: Root of the logs.
            actor: Who acts.
            anchor: Where the head is held outside: another bucket, best with object lock, or another machine.
        """
        self._store = store
        self._actor = actor
        self._anchor = anchor
        self._head: _Head | None = None

    @property
    def has_anchor(self) -> bool:
        """Whether there is a place outside where the head is held."""
        return self._anchor is not None

    def record(self, action: str, subject: Subject) -> AuditLine:
        """Add a line, and return it. Call this before the write that it announces.

        Raises:
            StoreError: Other writers were first every time.
        """
        head = self._head or _newest(self._store)
        draft = AuditLine(
            number=0, previous_sha256=None, id=uuid4().hex, at=_now(), actor=self._actor, action=action, subject=subject
        )
        for attempt in range(1, _TRIES + 1):
            line = draft.model_copy(update={"number": head.number + 1, "previous_sha256": head.sha256})
            self._head = head = _put(self._store, line)
            if head.sha256 == bytes_sha256(to_json(line)):
                return line
            if attempt % _STEPS == 0:
                head = _newest(self._store)
        raise StoreError(
            f"Asked to record {action!r} in the audit log of {self._store.root}, but {_TRIES} times another writer was "
            f"first. Nothing was written. Run again when fewer runs are at work."
        )

    def anchor_head(self) -> Anchor | None:
        """Hold the newest line's number and digest outside, and return them; None where that is done already.

        Raises:
            ConfigError: There is no anchor store.
        """
        if self._anchor is None:
            raise ConfigError(
                "Asked to anchor the audit log, but no place is configured for it. Give one outside the store's own "
                "reach in globals.yml, for instance audit_anchor: s3://another-bucket/audit."
            )
        head = _newest(self._store)
        if head.sha256 is None:
            return None
        anchor = Anchor(number=head.number, sha256=head.sha256, at=_now(), actor=self._actor)
        try:
            self._anchor.create(f"{_ANCHORS}/{head.number:06d}-{head.sha256}.json", to_json(anchor))
        except FileExistsError:
            return None
        return anchor


def anchor_quietly(audit: AuditLog) -> None:
    """Hold the log's head outside, where there is a place for it, at the end of what was recorded.

    What was done stands all the same, so that a place that cannot be written to is only logged.
    """
    if not audit.has_anchor:
        return
    try:
        audit.anchor_head()
    except (OSError, StoreError) as error:
        LOG.warning("The head of the audit log is not held outside yet; the next run does it. %s", error)


def commit_subject(data_class: str, key: StageKey, entry: Entry) -> Subject:
    """Return what the line says that announces ``entry`` of a stage's log."""
    path = f"{key.prefix}/log/{entry.number:06d}.json"
    return {
        "family": key.family,
        "cycle": key.cycle,
        "stage": key.stage,
        "run_id": entry.run_id,
        "manifest": entry.manifest,
        "manifest_sha256": entry.manifest_sha256,
        "outputs_digest": entry.outputs_digest,
        **entry_subject(data_class, path, to_json(entry)),
    }


def entry_subject(data_class: str, path: str, data: bytes) -> Subject:
    """Return the part of a subject that announces a log entry or tombstone: where it will lie, what it hashes to."""
    return {"data_class": data_class, "entry": path, "entry_sha256": bytes_sha256(data)}


def last_lines(store: Store, count: int) -> list[AuditLine]:
    """Return the newest lines, oldest first.

    Raises:
        StoreError: One of them cannot be read as a line.
    """
    return _lines(store, sorted(_numbers(store.list(_FOLDER)))[-count:])


def lines_after(store: Store, number: int) -> list[AuditLine]:
    """Return the lines after this one, oldest first.

    Raises:
        StoreError: One of them cannot be read as a line.
    """
    return _lines(store, sorted(found for found in _numbers(store.list(_FOLDER)) if found > number))


def announced_digests(store: Store) -> dict[tuple[str, str], str]:
    """Return the SHA-256 that lines announce, by class of data and path; of several lines the newest one's."""
    subjects = (line.subject for number, data in read_all(store) if (line := parsed_line(number, data)))
    return {
        (str(subject["data_class"]), str(subject["entry"])): str(subject["entry_sha256"])
        for subject in subjects
        if "entry" in subject
    }


def first_line_id(store: Store) -> str | None:
    """Return the id of the first line, which tells one log from another; None where there is none to read."""
    try:
        line = parsed_line(1, store.read(line_path(1)))
    except FileNotFoundError:
        return None
    return line.id if line else None


def _put(store: Store, line: AuditLine) -> _Head:
    """Create the line, and return the head that is there then: this line, or another writer's."""
    path, data = line_path(line.number), to_json(line)
    try:
        store.create(path, data)
    except FileExistsError:
        return _Head(line.number, bytes_sha256(store.read(path)))
    except (OSError, StoreError):
        # The answer may be all that was lost.
        if not store.exists(path) or store.read(path) != data:
            raise
    return _Head(line.number, bytes_sha256(data))


def _lines(store: Store, numbers: Sequence[int]) -> list[AuditLine]:
    with ThreadPoolExecutor(_PARALLEL_READS) as pool:
        read = pool.map(store.read, map(line_path, numbers))
        lines = {number: parsed_line(number, data) for number, data in zip(numbers, read, strict=True)}
    if damaged := [line_path(number) for number, line in lines.items() if line is None]:
        raise StoreError(f"{damaged[0]} in {store.root} is no line of an audit log. Run: kedro al audit --verify")
    return [line for line in lines.values() if line is not None]


def _newest(store: Store) -> _Head:
    number = max(_numbers(store.list(_FOLDER)), default=0)
    return _Head(number, bytes_sha256(store.read(line_path(number))) if number else None)


def _numbers(paths: Iterable[str]) -> Iterator[int]:
    return (int(found[1]) for path in paths if (found := _LINE.fullmatch(path)))


def line_path(number: int) -> str:
    """Return where a line lies."""
    return f"{_FOLDER}/{number:06d}.json"


def read_all(store: Store) -> Iterator[tuple[int, bytes]]:
    """Yield number and bytes of each line's file."""
    numbers = sorted(_numbers(store.list(_FOLDER)))
    # Many small reads: on a remote store each waits for the network.
    with ThreadPoolExecutor(_PARALLEL_READS) as pool:
        read = ([found] for found in zip(numbers, pool.map(store.read, map(line_path, numbers)), strict=True))
        for chunk in progress(read, total=len(numbers), what="reading the audit log"):
            yield from chunk


def parsed_line(number: int, data: bytes) -> AuditLine | None:
    """Return the line in a file's bytes; None where it is none, or not that of its place."""
    try:
        line = AuditLine.model_validate_json(data)
    except ValidationError:
        return None
    return line if line.number == number else None


def anchored_lines(anchor: Store) -> list[tuple[int, str]]:
    """Return number and digest of each line that is held outside."""
    found = (_ANCHOR.fullmatch(path) for path in anchor.list(_ANCHORS))
    return [(int(match[1]), match[2]) for match in found if match]


def bytes_sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal digits."""
    return sha256(data).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
