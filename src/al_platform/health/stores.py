"""The stores of an environment, and what lies in them by the shape of its path."""

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from al_platform.config import FamilyConfigLoader
from al_platform.domain.errors import ConfigError
from al_platform.progress import progress
from al_platform.stages import DataClass, class_of
from al_platform.storage.audit_log import Committed, committed_entry
from al_platform.storage.commit_log import StageKey
from al_platform.stores import Stores as EnvironmentStores

_PARALLEL_READS = 8
_Asked = TypeVar("_Asked")
_Done = TypeVar("_Done")
_LOG = re.compile(r"(?P<folder>[^/]+(/\d{4}-\d\d/[^/]+)?/log)/[^/]+")
_ATTEMPT = re.compile(r"(?P<family>[^/]+)/(?P<cycle>\d{4}-\d\d)/(?P<stage>[^/]+)/attempts/(?P<run_id>[^/]+)/.+")
_MODEL = re.compile(r"[^/]+/by_digest/(?P<digest>[^/]+)/(?P<file>.+)")


@dataclass(frozen=True)
class Log:
    """A log: of a stage of one cycle, or the champion's.

    Attributes:
        data_class: Of the store it lies in.
        folder: Where it lies there.
        paths: Its files, sorted.
        is_of_stage: Whether it is a stage's.
    """

    data_class: DataClass
    folder: str
    paths: tuple[str, ...]
    is_of_stage: bool


@dataclass(frozen=True)
class StoredAttempt:
    """The folder that a run wrote to for one stage."""

    data_class: DataClass
    key: StageKey
    run_id: str

    @property
    def path(self) -> str:
        """Where it lies in its store."""
        return self.key.attempt(self.run_id)


@dataclass(frozen=True)
class Stores(EnvironmentStores):
    """The stores of an environment.

    Attributes:
        families: The families whose part of them is looked at.
    """

    families: tuple[str, ...]

    @classmethod
    def of(cls, loader: FamilyConfigLoader) -> "Stores":
        """Return the stores that the configuration names.

        Raises:
            ConfigError: It is that of an experiment, which writes into no store of production.
        """
        if experiment := loader.validated_globals.experiment:
            raise ConfigError(
                f"Asked to look after the stores from within the experiment {experiment!r}, which only reads them. "
                f"Give the environment without it, by --env or globals.yml."
            )
        return cls(EnvironmentStores.of_environment(loader).by_class, tuple(loader.families))

    def paths(self, data_class: DataClass, family: str) -> list[str]:
        """Return all files of a family in this class of data; a root may be shared by several."""
        return [path for path in self.by_class[data_class].list(family) if class_of(path) == data_class]

    def logs(self) -> list[Log]:
        """Return every log."""
        return [log for data_class, paths in self._all_paths() for log in _logs(data_class, paths)]

    def attempts(self) -> list[StoredAttempt]:
        """Return every attempt, committed or not."""
        return [found for data_class, paths in self._all_paths() for found in _attempts(data_class, paths)]

    def models(self, family: str) -> dict[str, set[str]]:
        """Return the files of every model by its digest."""
        found: dict[str, set[str]] = {}
        for path in self.paths("models", family):
            if match := _MODEL.fullmatch(path):
                found.setdefault(match["digest"], set()).add(match["file"])
        return found

    def committed(self) -> Iterator[Committed]:
        """Yield every entry of every log."""
        entries = [(log.data_class, path) for log in self.logs() for path in log.paths]
        for data_class, path, data in in_parallel(self._read, entries, "reading the logs"):
            yield committed_entry(data_class, path, data)

    def _read(self, where: tuple[DataClass, str]) -> tuple[DataClass, str, bytes]:
        data_class, path = where
        return data_class, path, self.by_class[data_class].read(path)

    def _all_paths(self) -> Iterator[tuple[DataClass, list[str]]]:
        for data_class in self.by_class:
            for family in self.families:
                yield data_class, self.paths(data_class, family)


def in_parallel(work: Callable[[_Asked], _Done], asked: Sequence[_Asked], what: str) -> Iterator[_Done]:
    """Yield what ``work`` makes of each, in order, several at once since each may wait for the network.

    Args:
        work: Reads or checks one.
        asked: What to read or check.
        what: For people: "reading the logs".
    """
    with ThreadPoolExecutor(_PARALLEL_READS) as pool:
        for chunk in progress(([done] for done in pool.map(work, asked)), total=len(asked), what=what):
            yield from chunk


def _logs(data_class: DataClass, paths: list[str]) -> list[Log]:
    found: dict[str, list[str]] = {}
    for path in paths:
        if match := _LOG.fullmatch(path):
            found.setdefault(match["folder"], []).append(path)
    return [Log(data_class, folder, tuple(files), is_of_stage=folder.count("/") > 1) for folder, files in found.items()]


def _attempts(data_class: DataClass, paths: list[str]) -> list[StoredAttempt]:
    matches = (match for path in paths if (match := _ATTEMPT.fullmatch(path)))
    # A dictionary keeps the order and one of each.
    found = {(StageKey(match["family"], match["cycle"], match["stage"]), match["run_id"]): None for match in matches}
    return [StoredAttempt(data_class, key, run_id) for key, run_id in found]
