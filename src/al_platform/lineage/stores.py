"""The stores of an environment, and every file in them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from al_platform.config import FamilyConfigLoader
from al_platform.domain.errors import ConfigError
from al_platform.stages import DataClass, class_of
from al_platform.storage.store import Store, is_local, open_store
from al_platform.stores import CLASSES
from al_platform.stores import Stores as EnvironmentStores

_EXPERIMENTS = "experiments"


@dataclass(frozen=True)
class Place:
    """A file: the class of data it belongs to, its store, and its path there."""

    data_class: DataClass
    store: Store
    path: str


@dataclass(frozen=True)
class Stores(EnvironmentStores):
    """Where everything of an environment, or of one of its experiments, is read.

    Attributes:
        written: The stores that hold its own files, with the classes of data in each. Classes may share a root.
    """

    written: tuple[tuple[Store, tuple[DataClass, ...]], ...]

    @classmethod
    def of(cls, loader: FamilyConfigLoader) -> "Stores":
        """Return the stores that the configuration names."""
        by_class = EnvironmentStores.of_environment(loader).by_class
        return cls(by_class, _one_a_root(by_class))

    def places(self) -> Iterator[Place]:
        """Yield every file, each once."""
        for store, classes in self.written:
            for path in store.list(""):
                yield Place(classes[0] if len(classes) == 1 else class_of(path), store, path)


def production_and_experiments(loader: FamilyConfigLoader) -> list[Stores]:
    """Return the stores of the environment, then those of each experiment that was made in it.

    Raises:
        ConfigError: The environment is itself that of an experiment, which sees only part of what there is.
    """
    if experiment := loader.validated_globals.experiment:
        raise ConfigError(
            f"Asked to look for a page everywhere from within the experiment {experiment!r}. Run it in the "
            f"environment without the experiment: that covers all experiments too."
        )
    root = _common_root(loader)
    found = {path.split("/")[1] for path in open_store(root).list(_EXPERIMENTS)}
    return [Stores.of(loader), *(_experiment(loader, f"{root}/{_EXPERIMENTS}/{name}") for name in sorted(found))]


def _experiment(loader: FamilyConfigLoader, folder: str) -> Stores:
    own = {name: open_store(f"{folder}/{name}") for name in CLASSES}
    roots = {name: {"base": str(loader.root(name)), "own": f"{folder}/{name}"} for name in CLASSES}
    return Stores({name: open_store(root) for name, root in roots.items()}, _one_a_root(own))


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
