"""The stores of an environment: one for each class of data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from al_platform.config import FamilyConfigLoader
from al_platform.stages import STAGE, DataClass, class_of
from al_platform.storage.audit_log import AuditLog
from al_platform.storage.run_record import actor
from al_platform.storage.store import Store, open_store

CLASSES: tuple[DataClass, ...] = get_args(DataClass)


@dataclass(frozen=True)
class Stores:
    """Where everything of an environment, or of one of its experiments, lies.

    Attributes:
        by_class: The store of each class of data.
    """

    by_class: Mapping[DataClass, Store]

    @classmethod
    def of_environment(cls, loader: FamilyConfigLoader) -> "Stores":
        """Return the stores that the configuration names."""
        return Stores({name: open_store(loader.root(name)) for name in CLASSES})

    def of_stage(self, stage: str) -> Store:
        """Return the store to which a stage commits."""
        return self.by_class[STAGE[stage].data_class]

    def holding(self, path: str) -> Store:
        """Return the store in which a path of a manifest lies."""
        return self.by_class[class_of(path)]


def open_anchor(loader: FamilyConfigLoader) -> Store | None:
    """Return the store where the audit log's head is held outside; None where none is configured."""
    return open_store(loader.audit_anchor) if loader.audit_anchor else None


def open_audit_log(loader: FamilyConfigLoader) -> AuditLog:
    """Return the audit log of the environment, to write to."""
    return AuditLog(open_store(loader.root("logs")), actor(), open_anchor(loader))
