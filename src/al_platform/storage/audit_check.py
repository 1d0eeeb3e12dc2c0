"""Whether the audit log is what it was, and whether every commit has its line in it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal, TypeAlias

from al_platform.storage.audit_log import (
    AuditLine,
    anchored_lines,
    bytes_sha256,
    line_path,
    parsed_line,
    read_all,
)
from al_platform.storage.erasures import FOLDER as ERASURES
from al_platform.storage.run_record import is_done
from al_platform.storage.store import Store

_ANNOUNCES = ("data_class", "entry", "entry_sha256")
_PAST_US = (
    "It was written past this program or changed since: ask who may write there, and restore it or roll back to the "
    "entry before."
)
_FORGED = (
    "It was written past this program or changed since, and readers accept changed files because of it: ask who may "
    "write there, compare the files that it names with a backup, and restore them."
)

Find: TypeAlias = Callable[[str, str], bytes | None]
"""Returns what lies in the store of a class of data at a path; None where nothing does."""


@dataclass(frozen=True)
class Committed:
    """An entry of a stage's or a champion's log, or a tombstone, which a line must have announced."""

    data_class: str
    entry: str
    entry_sha256: str

    @property
    def log(self) -> str:
        """The folder that it lies in."""
        return self.entry.rpartition("/")[0]

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


def committed_entry(data_class: str, path: str, data: bytes) -> Committed:
    """Return a log entry or tombstone that is there as what a line must have announced."""
    return Committed(data_class, path, bytes_sha256(data))


def unknown_to(store: Store, committed: Iterable[Committed]) -> list[Committed]:
    """Return the entries that are older than the audit log: no line knows of them, nor of one before them in their log.

    What was changed or added since has a line at its place or before it, and is not among them; nor is any tombstone.

    Args:
        store: Root of the logs.
        committed: Every log entry that is in the stores.
    """
    lines = (parsed_line(number, data) for number, data in read_all(store))
    first: dict[tuple[str, str], str] = {}
    for data_class, entry in map(_place, _announced(lines)):
        log = data_class, entry.rpartition("/")[0]
        first[log] = min(entry, first.get(log, entry))
    entries = (entry for entry in committed if not entry.is_tombstone)
    return [each for each in entries if each.entry < first.get((each.data_class, each.log), _AFTER_ALL)]


_AFTER_ALL = "\U0010ffff"


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
    anchored = anchored_lines(anchor) if anchor else []
    files = dict(read_all(store))
    lines = {number: parsed_line(number, data) for number, data in files.items()}
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


def _missing(files: Mapping[int, bytes], last: int) -> Iterator[Finding]:
    for numbers in _runs([number for number in range(1, last + 1) if number not in files]):
        which = f"line {numbers[0]} is" if len(numbers) == 1 else f"lines {numbers[0]} to {numbers[-1]} are"
        why = "later lines are there" if numbers[-1] < max(files, default=0) else "an anchor holds their digest"
        yield Finding(
            "missing",
            line_path(numbers[0]),
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
        if lines.get(number - 1) and line.previous_sha256 != (found := bytes_sha256(files[number - 1])):
            said = (line.previous_sha256 or "none")[:12]
            yield _tampered(
                number - 1, f"its SHA-256 is {found[:12]}, line {number} says {said}: one of the two was changed"
            )


def _tampered(number: int, detail: str) -> Finding:
    remedy = "Compare with former versions of the object or a backup, restore it, and ask who may write there."
    return Finding("tampered", line_path(number), detail, remedy)


def _rewritten(
    files: Mapping[int, bytes], lines: Mapping[int, AuditLine | None], anchored: Iterable[tuple[int, str]]
) -> Iterator[Finding]:
    for number, digest in anchored:
        if lines.get(number) and (found := bytes_sha256(files[number])) != digest:
            yield Finding(
                "rewritten",
                line_path(number),
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
