"""What the logs hold, read once: every entry, its manifest, and the models that they refer to."""

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from al_platform.catalog.champion import ChampionEntry
from al_platform.domain.errors import StoreError
from al_platform.health.stores import Log, TendedStores, in_parallel
from al_platform.stages import DataClass
from al_platform.storage.commit_log import Entry, Manifest, Output, read_manifest

# The output of training that refers to models, and the names by which it does.
_MODEL_REFERENCE = "challenger"
_REFERRED = ("model_digest", "simpler_model")
_ENTRY = re.compile(r".*/(\d{6,})\.json")
_Parsed = TypeVar("_Parsed", bound=BaseModel)


@dataclass(frozen=True)
class StoredCommit:
    """One entry of a stage's log.

    Attributes:
        data_class: Of the store it lies in.
        path: Where the entry lies there.
        entry: None where it cannot be read.
        manifest: None where it is missing or not what the entry says.
        problem: Why there is no manifest.
    """

    data_class: DataClass
    path: str
    entry: Entry | None
    manifest: Manifest | None = None
    problem: str | None = None

    @property
    def stage(self) -> str:
        """The folder of its stage."""
        return self.path.partition("/log/")[0]


@dataclass(frozen=True)
class StoredPromotion:
    """One entry of a champion's log; ``entry`` is None where it cannot be read."""

    data_class: DataClass
    path: str
    entry: ChampionEntry | None

    @property
    def family(self) -> str:
        """The model family."""
        return self.path.partition("/")[0]


@dataclass(frozen=True)
class Commits:
    """All entries of all logs.

    Attributes:
        logs: The logs.
        of_stages: Their entries.
        of_champions: The champions' entries.
    """

    logs: tuple[Log, ...]
    of_stages: tuple[StoredCommit, ...]
    of_champions: tuple[StoredPromotion, ...]

    @property
    def families(self) -> frozenset[str]:
        """Every family that has a log."""
        return frozenset(log.folder.partition("/")[0] for log in self.logs)

    def by_stage(self) -> dict[str, list[StoredCommit]]:
        """Return the stages' entries by the folder of their stage."""
        found: dict[str, list[StoredCommit]] = {}
        for commit in self.of_stages:
            found.setdefault(commit.stage, []).append(commit)
        return found


def read_commits(stores: TendedStores) -> Commits:
    """Return what all logs hold now."""
    logs = stores.logs()
    stages = [(log.data_class, path) for log in logs if log.is_of_stage for path in log.paths]
    champions = [(log.data_class, path) for log in logs if not log.is_of_stage for path in log.paths]
    return Commits(
        logs=tuple(logs),
        of_stages=tuple(in_parallel(lambda where: _commit(stores, *where), stages, "reading the logs")),
        of_champions=tuple(_promotion(stores, *where) for where in champions),
    )


@dataclass(frozen=True)
class References:
    """The models of a family that something refers to.

    Attributes:
        champions: Digests that the champion log names.
        stages: Digests that commits refer to, superseded ones included.
        is_complete: Whether all references could be read.
    """

    champions: frozenset[str]
    stages: frozenset[str]
    is_complete: bool


def references(stores: TendedStores, commits: Commits, family: str) -> References:
    """Return the models of a family that something refers to."""
    champions = [found.entry for found in commits.of_champions if found.family == family]
    manifests = [found.manifest for found in commits.of_stages if found.path.startswith(f"{family}/")]
    outputs = (found.outputs.get(_MODEL_REFERENCE) for found in manifests if found is not None)
    digests = [_referred(stores, output) for output in outputs if output is not None]
    return References(
        champions=frozenset(entry.model_digest for entry in champions if entry is not None),
        stages=frozenset(digest for referred in digests if referred is not None for digest in referred),
        is_complete=None not in champions and None not in manifests and None not in digests,
    )


def number_in(path: str) -> int | None:
    """Return the number in the name of a log's entry; None for any other file."""
    found = _ENTRY.fullmatch(path)
    return int(found[1]) if found else None


def parsed(kind: type[_Parsed], path: str, data: bytes) -> _Parsed | None:
    """Return a file of the number that its name holds; None where it is no such thing or has another number."""
    try:
        found = kind.model_validate_json(data)
    except ValidationError:
        return None
    return found if found.model_dump().get("number") == number_in(path) else None


def _commit(stores: TendedStores, data_class: DataClass, path: str) -> StoredCommit:
    store = stores.by_class[data_class]
    entry = parsed(Entry, path, store.read(path))
    if entry is None:
        return StoredCommit(data_class, path, None)
    try:
        return StoredCommit(data_class, path, entry, read_manifest(store, entry))
    except StoreError as error:
        return StoredCommit(data_class, path, entry, problem=str(error))
    except ValidationError as error:
        return StoredCommit(data_class, path, entry, problem=f"{entry.manifest} is no manifest: {error}")


def _promotion(stores: TendedStores, data_class: DataClass, path: str) -> StoredPromotion:
    return StoredPromotion(data_class, path, parsed(ChampionEntry, path, stores.by_class[data_class].read(path)))


def _referred(stores: TendedStores, output: Output) -> list[str] | None:
    store = stores.by_class["models"]
    data = store.read(output.path) if store.exists(output.path) else b""
    if sha256(data).hexdigest() != output.sha256:
        return None
    reference = json.loads(data)
    return [reference[name] for name in _REFERRED if name in reference]
