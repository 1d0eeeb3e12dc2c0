"""The audit log: a line for every production write, chained by SHA-256, each a file that is created, never replaced.

A line is written before what it announces, so that no commit can lack one; a run that is killed in between leaves a
line without a commit, which is no error: the run's record tells it from a commit that somebody took away. The chain
shows a line that was changed or taken out. That its end was cut off, or all of it written anew, shows only against an
anchor: the number and digest of a line, held in another store.
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from itertools import groupby
from typing import Literal, TypeAlias
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, ValidationError

from al_platform.domain.errors import ConfigError, StoreError
from al_platform.progress import progress
from al_platform.storage.commit_log import Entry, StageKey, to_json
from al_platform.storage.erasures import FOLDER as ERASURES
from al_platform.storage.run_record import is_done
from al_platform.storage.store import Store

LOG = logging.getLogger("al_platform")

Subject: TypeAlias = dict[str, str | int | None]
"""What a line is about: names and values."""

Find: TypeAlias = Callable[[str, str], bytes | None]
"""Returns what lies in the store of a class of data at a path; None where nothing does."""

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
        action: What was about to be done: ``commit``, ``promote``, ``import``, ``erase``, ``repair``...
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
class Committed:
    """An entry of a stage's or a champion's log, or a tombstone, which a line must have announced."""

    data_class: str
    entry: str
    entry_sha256: str

    @property
    def is_tombstone(self) -> bool:
        """Whether it is a tombstone of an erasure."""
        return self.entry.startswith(f"{ERASURES}/")


@dataclass(frozen=True)
class Finding:
    """Something that should not be.

    Attributes:
        kind: ``tampered``: a line is not what it was; ``missing``: a line is gone; ``rewritten``: a line is not the one
            that was anchored; ``unannounced``: a commit or tombstone without a line; ``vanished``: one that a line
            announces and that is not there, though nothing says that it was never made.
        path: The file, below its root.
        detail: What was found.
        remedy: What to do.
    """

    kind: Literal["tampered", "missing", "rewritten", "unannounced", "vanished"]
    path: str
    detail: str
    remedy: str


@dataclass(frozen=True)
class Verification:
    """What a check of the log found.

    Attributes:
        findings: In the order of the log, then of the commits.
        lines: How many there are.
        anchors: How many there are; None without an anchor store.
        commits: How many log entries and tombstones were checked.
        announced_only: Those that a line announces and that were never made: the run failed or was killed, or another
            one came first. Each below its class of data.
        notes: What else to know.
    """

    findings: tuple[Finding, ...]
    lines: int
    anchors: int | None
    commits: int
    announced_only: tuple[str, ...]
    notes: tuple[str, ...] = ()


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
            if head.sha256 == _sha256(to_json(line)):
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
    return {"data_class": data_class, "entry": path, "entry_sha256": _sha256(data)}


def committed_entry(data_class: str, path: str, data: bytes) -> Committed:
    """Return a log entry or tombstone that is there as what a line must have announced."""
    return Committed(data_class, path, _sha256(data))


def last_lines(store: Store, count: int) -> list[AuditLine]:
    """Return the newest lines, oldest first.

    Raises:
        StoreError: One of them cannot be read as a line.
    """
    numbers = sorted(_numbers(store.list(_FOLDER)))[-count:]
    lines = {number: _parsed(number, store.read(_path(number))) for number in numbers}
    if damaged := [_path(number) for number, line in lines.items() if line is None]:
        raise StoreError(f"{damaged[0]} in {store.root} is no line of an audit log. Run: kedro al audit --verify")
    return [line for line in lines.values() if line is not None]


def verify(
    store: Store, anchor: Store | None, committed: Iterable[Committed], find: Find | None = None
) -> Verification:
    """Return what is wrong with the log.

    Args:
        store: Root of the logs.
        anchor: Where its head is held outside; without it a log that was cut off or written anew is not noticed.
        committed: Every log entry and tombstone that is in the stores.
        find: Looks again for one that was not among them: it may have been made since.
    """
    # In this order: a line is there before its commit and before its anchor.
    entries = list(committed)
    anchored = _anchored(anchor) if anchor else []
    files = dict(_read_all(store))
    lines = {number: _parsed(number, data) for number, data in files.items()}
    last = max([*files, *(number for number, _ in anchored)], default=0)
    announced = _announced(lines.values())
    absent = _Absent.of(store, announced, entries, find)
    findings = [
        *_missing(files, last),
        *_altered(files, lines),
        *_rewritten(files, lines, anchored),
        *_unannounced(entries, announced),
        *(_vanished(lost, announced[lost]) for lost in absent.lost),
    ]
    return Verification(
        findings=tuple(findings),
        lines=len(files),
        anchors=len(anchored) if anchor else None,
        commits=len(entries),
        announced_only=tuple(f"{never.data_class}/{never.entry}" for never in absent.never_made),
    )


def _put(store: Store, line: AuditLine) -> _Head:
    """Create the line, and return the head that is there then: this line, or another writer's."""
    path, data = _path(line.number), to_json(line)
    try:
        store.create(path, data)
    except FileExistsError:
        return _Head(line.number, _sha256(store.read(path)))
    except (OSError, StoreError):
        # The answer may be all that was lost.
        if not store.exists(path) or store.read(path) != data:
            raise
    return _Head(line.number, _sha256(data))


def _newest(store: Store) -> _Head:
    number = max(_numbers(store.list(_FOLDER)), default=0)
    return _Head(number, _sha256(store.read(_path(number))) if number else None)


def _numbers(paths: Iterable[str]) -> Iterator[int]:
    return (int(found[1]) for path in paths if (found := _LINE.fullmatch(path)))


def _path(number: int) -> str:
    return f"{_FOLDER}/{number:06d}.json"


def _read_all(store: Store) -> Iterator[tuple[int, bytes]]:
    numbers = sorted(_numbers(store.list(_FOLDER)))
    # Many small reads: on a remote store each waits for the network.
    with ThreadPoolExecutor(_PARALLEL_READS) as pool:
        read = ([found] for found in zip(numbers, pool.map(store.read, map(_path, numbers)), strict=True))
        for chunk in progress(read, total=len(numbers), what="reading the audit log"):
            yield from chunk


def _parsed(number: int, data: bytes) -> AuditLine | None:
    try:
        line = AuditLine.model_validate_json(data)
    except ValidationError:
        return None
    return line if line.number == number else None


def _anchored(anchor: Store) -> list[tuple[int, str]]:
    found = (_ANCHOR.fullmatch(path) for path in anchor.list(_ANCHORS))
    return [(int(match[1]), match[2]) for match in found if match]


def _missing(files: Mapping[int, bytes], last: int) -> Iterator[Finding]:
    for numbers in _runs([number for number in range(1, last + 1) if number not in files]):
        which = f"line {numbers[0]} is" if len(numbers) == 1 else f"lines {numbers[0]} to {numbers[-1]} are"
        why = "later lines are there" if numbers[-1] < max(files, default=0) else "an anchor holds their digest"
        yield Finding(
            "missing",
            _path(numbers[0]),
            f"{which} gone: {why}",
            "Restore from a former version of the objects or from a backup, and ask who may delete there.",
        )


def _runs(numbers: Sequence[int]) -> list[list[int]]:
    """Return consecutive numbers together."""
    pairs = groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    return [[number for _, number in group] for _, group in pairs]


def _altered(files: Mapping[int, bytes], lines: Mapping[int, AuditLine | None]) -> Iterator[Finding]:
    for number, line in lines.items():
        if line is None:
            yield _tampered(number, f"it cannot be read as line {number}")
            continue
        if number == 1 and line.previous_sha256 is not None:
            yield _tampered(number, "it says that a line was before it, but it is the first")
        if lines.get(number - 1) and line.previous_sha256 != (found := _sha256(files[number - 1])):
            said = (line.previous_sha256 or "none")[:12]
            yield _tampered(
                number - 1, f"its SHA-256 is {found[:12]}, line {number} says {said}: one of the two was changed"
            )


def _tampered(number: int, detail: str) -> Finding:
    remedy = "Compare with former versions of the object or a backup, restore it, and ask who may write there."
    return Finding("tampered", _path(number), detail, remedy)


def _rewritten(
    files: Mapping[int, bytes], lines: Mapping[int, AuditLine | None], anchored: Iterable[tuple[int, str]]
) -> Iterator[Finding]:
    for number, digest in anchored:
        if lines.get(number) and (found := _sha256(files[number])) != digest:
            yield Finding(
                "rewritten",
                _path(number),
                f"its SHA-256 is {found[:12]}, the anchor holds {digest[:12]}: the log was written anew, up to this "
                f"line at least",
                "Trust no line after the last anchor that fits; restore the log from a backup.",
            )


def _unannounced(entries: Iterable[Committed], announced: Mapping[Committed, AuditLine]) -> Iterator[Finding]:
    for entry in entries:
        if _anywhere(entry) not in announced:
            what = "tombstone" if entry.is_tombstone else "entry"
            yield Finding(
                "unannounced",
                entry.entry,
                f"no line announces this {what} of the {entry.data_class} with SHA-256 {entry.entry_sha256[:12]}",
                _FORGED if entry.is_tombstone else _PAST_US,
            )


_PAST_US = (
    "It was written past this program or changed since: ask who may write there, and restore it or roll back to the "
    "entry before."
)
_FORGED = (
    "It was written past this program or changed since, and readers accept changed files because of it: ask who may "
    "write there, compare the files that it names with a backup, and restore them."
)


@dataclass(frozen=True)
class _Absent:
    """What lines announce and is not there: it was never made, or it is lost."""

    never_made: tuple[Committed, ...]
    lost: tuple[Committed, ...]

    @classmethod
    def of(
        cls, logs: Store, announced: Mapping[Committed, AuditLine], entries: Iterable[Committed], find: Find | None
    ) -> "_Absent":
        there = {_anywhere(entry) for entry in entries}
        there |= set(_found_now([entry for entry in announced if entry not in there], find))
        absent = [entry for entry in announced if entry not in there]
        never_made = {entry for entry in absent if _was_never_made(logs, entry, announced, there)}
        return cls(tuple(sorted(never_made, key=_place)), tuple(entry for entry in absent if entry not in never_made))


def _found_now(absent: Iterable[Committed], find: Find | None) -> Iterator[Committed]:
    for entry in absent if find else ():
        if find and (data := find(entry.data_class, entry.entry)) is not None:
            yield _anywhere(committed_entry(entry.data_class, entry.entry, data))


def _was_never_made(
    logs: Store, entry: Committed, announced: Mapping[Committed, AuditLine], there: Set[Committed]
) -> bool:
    """Return whether something says that what a line announces was never made."""
    line = announced[entry]
    rivals = [other for other in there if _place(other) == _place(entry) and other in announced]
    run_id = line.subject.get("run_id")
    if run_id is None:
        return bool(rivals)
    if any(_has_equal_outputs(announced[rival], line) for rival in rivals):
        return True
    # What fails or is killed in the middle of a commit goes no further with its family.
    return not _is_followed(line, announced) and not is_done(logs, str(run_id))


def _has_equal_outputs(line: AuditLine, other: AuditLine) -> bool:
    outputs = line.subject.get("outputs_digest")
    return outputs is not None and outputs == other.subject.get("outputs_digest")


def _is_followed(line: AuditLine, announced: Mapping[Committed, AuditLine]) -> bool:
    """Return whether the same run announced more of the same family afterwards."""
    of_family = (later for later in announced.values() if _family(later) == _family(line))
    run_id = line.subject.get("run_id")
    return any(later.number > line.number and later.subject.get("run_id") == run_id for later in of_family)


def _family(line: AuditLine) -> str:
    return str(line.subject["entry"]).partition("/")[0]


def _place(entry: Committed) -> tuple[str, str]:
    return entry.data_class, entry.entry


def _vanished(entry: Committed, line: AuditLine) -> Finding:
    run_id = line.subject.get("run_id")
    why = f"though run {run_id} got past it" if run_id else "and no run's record tells why"
    return Finding(
        "vanished",
        entry.entry,
        f"line {line.number} ({line.action}, by {line.actor}) announces it with SHA-256 {entry.entry_sha256[:12]}, but "
        f"it is not there, {why}",
        "Restore it from a former version of the object or a backup, and ask who may delete there. If a command was "
        "interrupted before it was done, run it again.",
    )


def _announced(lines: Iterable[AuditLine | None]) -> dict[Committed, AuditLine]:
    """Return what lines announce, each with its newest line."""
    announcing = [line for line in lines if line is not None and "entry" in line.subject]
    return {_anywhere(Committed(*(str(line.subject.get(name)) for name in _ANNOUNCES))): line for line in announcing}


def _anywhere(entry: Committed) -> Committed:
    # Every root that an erasure changes holds the same tombstone: a line for one of them announces all.
    return replace(entry, data_class="erasures") if entry.is_tombstone else entry


_ANNOUNCES = ("data_class", "entry", "entry_sha256")


def _sha256(data: bytes) -> str:
    return sha256(data).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
