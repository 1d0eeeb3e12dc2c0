"""The stores of an environment, and every file in them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from al_platform.config import FamilyConfigLoader
from al_platform.domain.errors import ConfigError, StoreError
from al_platform.stages import DataClass, class_of
from al_platform.storage.scratch import temporary_folder
from al_platform.storage.store import LocalStore, Store, is_local, open_store
from al_platform.storage.volume_store import NoSuchVolumeError
from al_platform.stores import CLASSES, Stores

_EXPERIMENTS = "experiments"


@dataclass(frozen=True)
class Place:
    """A file: the class of data it belongs to, its store, and its path there."""

    data_class: DataClass
    store: Store
    path: str


@dataclass(frozen=True)
class SearchedStores(Stores):
    """Where everything of an environment, or of one of its experiments, is read.

    Attributes:
        written: The stores that hold its own files, with the classes of data in each. Classes may share a root.
    """

    written: tuple[tuple[Store, tuple[DataClass, ...]], ...]

    @classmethod
    def of(cls, loader: FamilyConfigLoader) -> "SearchedStores":
        """Return the stores that the configuration names."""
        by_class = Stores.of_environment(loader).by_class
        return cls(by_class, _one_a_root(by_class))

    @property
    def roots(self) -> list[Store]:
        """The stores that hold its own files."""
        return [store for store, _ in self.written]

    def places(self) -> Iterator[Place]:
        """Yield every file, each once."""
        for store, classes in self.written:
            for path in store.list(""):
                yield Place(classes[0] if len(classes) == 1 else class_of(path), store, path)


def production_and_experiments(loader: FamilyConfigLoader) -> list[SearchedStores]:
    """Return the stores of the environment, then those of each experiment that was made in it.

    Raises:
        ConfigError: The environment is itself that of an experiment, which sees only part of what there is.
    """
    if experiment := loader.validated_globals.experiment:
        raise ConfigError(
            f"Asked to look for a page everywhere from within the experiment {experiment!r}. Run it in the "
            f"environment without the experiment: that covers all experiments too."
        )
    experiments = experiments_root(loader)
    own = (_experiment(loader, f"{experiments.root}/{name}") for name in _names_in(experiments))
    return [SearchedStores.of(loader), *own]


def experiments_root(loader: FamilyConfigLoader) -> Store:
    """Return the store that holds all experiments, each in a folder of its name with one for each class of data."""
    return open_store(f"{_common_root(loader)}/{_EXPERIMENTS}")


@contextmanager
def fresh_copy(store: Store, path: str) -> Iterator[Path]:
    """Lend a local file with what is at ``path`` now; a copy of a remote file goes with the block.

    What a store keeps of files that it has fetched may be older than a file that was written anew.

    Raises:
        StoreError: There is no such file any more.
    """
    if isinstance(store, LocalStore):
        yield store.local(path)
        return
    try:
        data = store.read(path)
    except FileNotFoundError as error:
        raise StoreError(f"{path} in {store.root} went while it was looked at. Run again.") from error
    with temporary_copy(path, data) as file:
        yield file


@contextmanager
def temporary_copy(path: str, data: bytes) -> Iterator[Path]:
    """Lend a local file of the name at the end of ``path`` with these bytes."""
    with temporary_folder() as folder:
        file = Path(folder) / path.rpartition("/")[2]
        file.write_bytes(data)
        yield file


def _names_in(experiments: Store) -> list[str]:
    try:
        return sorted({path.split("/")[0] for path in experiments.list("")})
    except NoSuchVolumeError:  # it is made for the first experiment
        return []


def _experiment(loader: FamilyConfigLoader, folder: str) -> SearchedStores:
    own = {name: open_store(f"{folder}/{name}") for name in CLASSES}
    roots = {name: {"base": str(loader.root(name)), "own": f"{folder}/{name}"} for name in CLASSES}
    return SearchedStores({name: open_store(root) for name, root in roots.items()}, _one_a_root(own))


def _one_a_root(by_class: Mapping[DataClass, Store]) -> tuple[tuple[Store, tuple[DataClass, ...]], ...]:
    classes: dict[str, list[DataClass]] = {}
    stores: dict[str, Store] = {}
    for name, store in by_class.items():
        stores.setdefault(store.root, store)
        classes.setdefault(store.root, []).append(name)
    return tuple((stores[root], tuple(names)) for root, names in classes.items())


def _common_root(loader: FamilyConfigLoader) -> str:
    root = loader.validated_globals.root.rstrip("/")
    return str(Path(loader.conf_source).absolute().parent / root) if is_local(root) else root
