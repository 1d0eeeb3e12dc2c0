"""The commit log: nothing is overwritten, and one created file decides a race.

A stage run writes its outputs below ``<family>/<cycle>/<stage>/attempts/<run_id>/``, then their manifest, then the
next entry of the stage's log, ``log/000003.json``. The highest entry is the head. A run that is killed before its
entry leaves the previous head as it was; a run whose outputs equal the head's adds nothing.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from al_platform.domain.errors import CommitConflictError, StoreError
from al_platform.storage.store import Store

_PARALLEL_READS = 8


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Output(_Record):
    """A file that a stage wrote: its path in the stage's store, what its content hashes to, and its size in bytes."""

    path: str
    sha256: str
    size: int


class File(_Record):
    """A file that a stage read: its path below the root of its class of data, and what its bytes hash to."""

    path: str
    sha256: str


class Input(_Record):
    """Something a stage read.

    Attributes:
        place: Where it lies, for people; ``none`` for what was not there yet.
        sha256: What it hashed to; None for what is not there or is generated.
        files: Every file of it, in the order it was read.
    """

    place: str
    sha256: str | None
    files: tuple[File, ...] = ()

    @classmethod
    def of_files(cls, place: str, files: Sequence[File]) -> "Input":
        """Return an input of these files, with one digest for all of them; ``none`` without files."""
        if not files:
            return cls(place="none", sha256=None)
        if len(files) == 1:
            return cls(place=place, sha256=files[0].sha256, files=tuple(files))
        digest = sha256(to_json({file.path: file.sha256 for file in files})).hexdigest()
        return cls(place=place, sha256=digest, files=tuple(files))


class Manifest(_Record):
    """What a stage run read and wrote, and with what.

    Attributes:
        run_id: The Kedro run.
        outputs: By dataset name.
        inputs: By dataset name.
        parameters: The family's parameters of this stage.
        code_revision: Git revision, with ``-dirty`` where the tree had changes.
        environment: Versions of Python and the main libraries.
        started_at: ISO 8601, UTC.
        ended_at: ISO 8601, UTC.
    """

    family: str
    cycle: str
    stage: str
    run_id: str
    outputs: dict[str, Output]
    inputs: dict[str, Input] = Field(default_factory=dict)
    parameters: dict[str, Any] = Field(default_factory=dict)
    code_revision: str | None = None
    environment: dict[str, str] = Field(default_factory=dict)
    started_at: str
    ended_at: str

    @property
    def outputs_digest(self) -> str:
        """The digest of all outputs: what decides whether a run changed anything."""
        return digest_of_outputs(self.outputs)


class Entry(_Record):
    """One entry of a stage's log."""

    number: int
    run_id: str
    manifest: str
    manifest_sha256: str
    outputs_digest: str
    committed_at: str


PARTS = "parts-"
"""What the name of a folder of parts begins with, beside the attempts that are named after their run."""


@dataclass(frozen=True)
class StageKey:
    """A stage of one family in one cycle."""

    family: str
    cycle: str
    stage: str

    @property
    def prefix(self) -> str:
        """The folder of this stage in its store."""
        return f"{self.family}/{self.cycle}/{self.stage}"

    def attempt(self, run_id: str) -> str:
        """Return the folder that the run writes to."""
        return f"{self.prefix}/attempts/{run_id}"

    def parts(self, digest: str) -> str:
        """Return the folder of parts that any run finds again which makes them of the same, by its digest."""
        return self.attempt(f"{PARTS}{digest}")


Announce: TypeAlias = Callable[[StageKey, Entry], object]
"""Told of an entry that is about to be created."""


def to_json(value: BaseModel | Mapping[str, Any]) -> bytes:
    """Return ``value`` as JSON that is the same for equal values."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return (json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal digits."""
    digest = sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def digest_of_outputs(outputs: Mapping[str, Output]) -> str:
    """Return one digest for all outputs, whatever their paths."""
    return sha256(to_json({name: output.sha256 for name, output in outputs.items()})).hexdigest()


def parts_of(outputs: Mapping[str, Output], name: str) -> list[Output]:
    """Return the files of a dataset: the output of this name, and those named ``name.00001`` and so on, in order."""
    return [output for part, output in sorted(outputs.items()) if part == name or part.startswith(f"{name}.")]


def entries(store: Store, folder: str) -> list[bytes]:
    """Return the log entries below ``folder``, oldest first."""
    return [store.read(path) for path in store.list(folder) if path.endswith(".json")]


def append(store: Store, folder: str, number: int, entry: bytes) -> None:
    """Create entry ``number`` of the log at ``folder``; FileExistsError if another writer was first."""
    store.create(f"{folder}/{number:06d}.json", entry)


def head(store: Store, key: StageKey) -> Manifest | None:
    """Return the manifest that the stage's newest log entry points to, or None before the first commit.

    Raises:
        StoreError: The manifest is missing or does not hash to what the entry says.
    """
    newest = newest_entry(store, key)
    return read_manifest(store, newest) if newest else None


def newest_entry(store: Store, key: StageKey) -> Entry | None:
    """Return the highest entry of the stage's log, or None before the first commit."""
    log = store.list(f"{key.prefix}/log")
    return Entry.model_validate_json(store.read(log[-1])) if log else None


def history(store: Store, family: str, stage: str, before: str | None = None) -> dict[str, Manifest]:
    """Return the head of every cycle in which the family committed this stage, oldest cycle first.

    Args:
        store: Of the stage.
        family: The model family.
        stage: The stage.
        before: Only cycles before this one.
    """
    cycles = [cycle for cycle in committed_cycles(store, family, stage) if before is None or cycle < before]
    # Many small reads: on a remote store each waits for the network.
    with ThreadPoolExecutor(_PARALLEL_READS) as pool:
        heads = pool.map(lambda cycle: head(store, StageKey(family, cycle, stage)), cycles)
        return {cycle: manifest for cycle, manifest in zip(cycles, heads, strict=True) if manifest is not None}


def committed_cycles(store: Store, family: str, stage: str) -> list[str]:
    """Return the cycles in which the family committed this stage, oldest first."""
    return sorted({path.split("/")[1] for path in store.list(family) if f"/{stage}/log/" in path})


def log_length(store: Store, key: StageKey) -> int:
    """Return how many entries the stage's log has."""
    return len(store.list(f"{key.prefix}/log"))


def commit(store: Store, manifest: Manifest, base: int, announce: Announce | None = None) -> Entry | None:
    """Add ``manifest`` to its stage's log, and return the entry.

    Args:
        store: Of the stage.
        manifest: What the run wrote and read.
        base: Entries in the log when the run began the stage: what it read then is what it built on.
        announce: Told of the entry before it is created, so that none can be without its line in the audit log.

    Returns:
        None where the outputs equal the head's: then nothing is added and the attempt is removed.

    Raises:
        CommitConflictError: Another run committed other outputs in the meantime. Its entry stands.
    """
    key = StageKey(manifest.family, manifest.cycle, manifest.stage)
    folder = f"{key.prefix}/log"
    newest = newest_entry(store, key)
    if newest and newest.outputs_digest == manifest.outputs_digest and is_whole(store, newest):
        store.remove(key.attempt(manifest.run_id))
        return None
    if newest and newest.number != base:
        raise _conflict(key, newest)
    data = to_json(manifest)
    path = f"{key.attempt(manifest.run_id)}/manifest.json"
    store.write(path, data)
    entry = Entry(
        number=base + 1,
        run_id=manifest.run_id,
        manifest=path,
        manifest_sha256=sha256(data).hexdigest(),
        outputs_digest=manifest.outputs_digest,
        committed_at=manifest.ended_at,
    )
    if announce:
        announce(key, entry)
    try:
        append(store, folder, entry.number, to_json(entry))
    except FileExistsError:
        return _settle_race(store, key, folder, entry)
    except (StoreError, OSError):
        # The answer may be all that was lost.
        if not _is_ours(store, folder, entry):
            raise
    return entry


def is_whole(store: Store, entry: Entry) -> bool:
    """Return whether what an entry points to is there and is what it was: only then need nothing be written again."""
    try:
        manifest = read_manifest(store, entry)
    except StoreError:
        return False
    files = ((store.local(output.path), output) for output in manifest.outputs.values())
    return all(file.is_file() and file_sha256(file) == output.sha256 for file, output in files)


def _is_ours(store: Store, folder: str, ours: Entry) -> bool:
    path = f"{folder}/{ours.number:06d}.json"
    return store.exists(path) and store.read(path) == to_json(ours)


def _settle_race(store: Store, key: StageKey, folder: str, ours: Entry) -> Entry | None:
    # A lost reply looks like a lost race: the entry read back tells which of the two it was.
    theirs = Entry.model_validate_json(store.read(f"{folder}/{ours.number:06d}.json"))
    if theirs.run_id == ours.run_id:
        return theirs
    if theirs.outputs_digest == ours.outputs_digest and is_whole(store, theirs):
        store.remove(key.attempt(ours.run_id))
        return None
    raise _conflict(key, theirs)


def _conflict(key: StageKey, theirs: Entry) -> CommitConflictError:
    return CommitConflictError(
        f"Run {theirs.run_id} committed {key.stage} of {key.family} {key.cycle} while this run was at work; "
        f"its result stands. Run again to build on it."
    )


def read_manifest(store: Store, entry: Entry) -> Manifest:
    """Return the manifest that a log entry points to; StoreError if it is missing or was changed."""
    try:
        data = store.read(entry.manifest)
    except FileNotFoundError as error:
        raise StoreError(f"The log points to {entry.manifest}, which is missing from {store.root}.") from error
    if sha256(data).hexdigest() != entry.manifest_sha256:
        raise StoreError(f"{entry.manifest} in {store.root} was changed after it was committed.")
    return Manifest.model_validate_json(data)
