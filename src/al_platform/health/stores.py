"""The stores of an environment, and what lies in them by the shape of its path."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from al_platform.config import FamilyConfigLoader
from al_platform.domain.errors import ConfigError
from al_platform.progress import progress
from al_platform.stages import DataClass, class_of
from al_platform.storage.audit_check import Committed, committed_entry
from al_platform.storage.commit_log import PARTS, StageKey
from al_platform.storage.erasures import FOLDER as ERASURES
from al_platform.storage.store import Store
from al_platform.stores import Stores

_PARALLEL_READS = 8
_Asked = TypeVar("_Asked")
_Done = TypeVar("_Done")
_LOG = re.compile(r"(?P<folder>[^/]+(/\d{4}-\d\d/[^/]+)?/log)/[^/]+")
_ATTEMPT = re.compile(r"(?P<family>[^/]+)/(?P<cycle>\d{4}-\d\d)/(?P<stage>[^/]+)/attempts/(?P<run_id>[^/]+)/.+")
_CHECKPOINTS = re.compile(r"(?P<family>[^/]+)/(?P<cycle>\d{4}-\d\d)/(?P<stage>[^/]+)/checkpoints/.+")
_MODEL = re.compile(r"(?P<family>[^/]+)/by_digest/(?P<digest>[^/]+)/(?P<file>.+)")
_WITHOUT_LOGS: frozenset[DataClass] = frozenset({"traffic", "logs"})


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
    """The folder that a run wrote to for one stage, or one of parts, which ``is_parts``."""

    data_class: DataClass
    key: StageKey
    run_id: str

    @property
    def path(self) -> str:
        """Where it lies in its store."""
        return self.key.attempt(self.run_id)

    @property
    def is_parts(self) -> bool:
        """Whether it belongs to no single run: any that makes them of the same goes on from them."""
        return self.run_id.startswith(PARTS)


@dataclass(frozen=True)
class Root:
    """A root with the classes of data that lie there, of which ``data_class`` is the first."""

    store: Store
    classes: tuple[DataClass, ...]

    @property
    def data_class(self) -> DataClass:
        """What the root is called."""
        return self.classes[0]


@dataclass(frozen=True)
class TendedStores(Stores):
    """The stores of an environment.

    Attributes:
        families: Those in ``families.yml``; others in the stores are looked at all the same.
    """

    families: tuple[str, ...]

    @classmethod
    def of(cls, loader: FamilyConfigLoader) -> "TendedStores":
        """Return the stores that the configuration names.

        Raises:
            ConfigError: It is that of an experiment, which writes into no store of production.
        """
        if experiment := loader.validated_globals.experiment:
            raise ConfigError(
                f"Asked to look after the stores from within the experiment {experiment!r}, which only reads them. "
                f"Give the environment without it, by --env or globals.yml."
            )
        return cls(Stores.of_environment(loader).by_class, tuple(loader.families))

    def roots(self) -> list[Root]:
        """Return the roots, each once."""
        classes: dict[str, list[DataClass]] = {}
        for data_class, store in self.by_class.items():
            classes.setdefault(store.root, []).append(data_class)
        return [Root(self.by_class[names[0]], tuple(names)) for names in classes.values()]

    def logs(self) -> list[Log]:
        """Return every log."""
        found: dict[tuple[DataClass, str], list[str]] = {}
        for data_class, path in self._paths():
            if match := _LOG.fullmatch(path):
                found.setdefault((data_class, match["folder"]), []).append(path)
        return [
            Log(data_class, folder, tuple(files), is_of_stage=folder.count("/") > 1)
            for (data_class, folder), files in found.items()
        ]

    def attempts(self) -> list[StoredAttempt]:
        """Return every attempt, committed or not."""
        matches = ((data_class, match) for data_class, path in self._paths() if (match := _ATTEMPT.fullmatch(path)))
        attempts = (
            StoredAttempt(data_class, StageKey(match["family"], match["cycle"], match["stage"]), match["run_id"])
            for data_class, match in matches
        )
        # A dictionary keeps the order and one of each.
        return list(dict.fromkeys(attempts))

    def models(self) -> dict[str, dict[str, set[str]]]:
        """Return, by family, the files of every model by its digest."""
        found: dict[str, dict[str, set[str]]] = {}
        for data_class, path in self._paths():
            if data_class == "models" and (match := _MODEL.fullmatch(path)):
                found.setdefault(match["family"], {}).setdefault(match["digest"], set()).add(match["file"])
        return found

    def checkpoints(self) -> list[StageKey]:
        """Return the stages that left checkpoints to go on from."""
        matches = (match for _, path in self._paths() if (match := _CHECKPOINTS.fullmatch(path)))
        return list(dict.fromkeys(StageKey(match["family"], match["cycle"], match["stage"]) for match in matches))

    def tombstones(self) -> list[tuple[DataClass, str]]:
        """Return where the tombstones of every root lie."""
        return [(root.data_class, path) for root in self.roots() for path in root.store.list(ERASURES)]

    def committed(self) -> Iterator[Committed]:
        """Yield every entry of every log, and every tombstone."""
        entries = [(log.data_class, path) for log in self.logs() for path in log.paths]
        for data_class, path, data in in_parallel(self._read, [*entries, *self.tombstones()], "reading the logs"):
            yield committed_entry(data_class, path, data)

    def find(self, data_class: str, path: str) -> bytes | None:
        """Return what lies at a path of a class of data, or of any root if there is no such class; None if nothing."""
        named = [store for name, store in self.by_class.items() if name == data_class]
        there = (store for store in named or [root.store for root in self.roots()] if store.exists(path))
        return next((store.read(path) for store in there), None)

    def beyond(self, families: Iterable[str]) -> tuple[str, ...]:
        """Return what to know about families of which ``families.yml`` names no more."""
        if left := sorted({*families} - {*self.families}):
            return (f"{', '.join(left)}: in the stores, but not in families.yml. They are looked after all the same.",)
        return ()

    def _read(self, where: tuple[DataClass, str]) -> tuple[DataClass, str, bytes]:
        data_class, path = where
        return data_class, path, self.by_class[data_class].read(path)

    def _paths(self) -> Iterator[tuple[DataClass, str]]:
        """Yield every file of the classes that hold logs; a root may be shared by several."""
        for root in self.roots():
            classes = set(root.classes) - _WITHOUT_LOGS
            for path in root.store.list("") if classes else ():
                if (data_class := class_of(path)) in classes:
                    yield data_class, path


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
