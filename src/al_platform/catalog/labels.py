"""Labels that were there before the platform: imported, or the labelled start of a simulated source."""

from collections.abc import Mapping
from typing import Any

from al_platform.catalog.stored_table import FilesDataset, StoredTable
from al_platform.catalog.traffic import IMPORTED, add_table, without_erased
from al_platform.schemas import IMPORTED_LABELS
from al_platform.sources import SourceOptions, open_source


class ImportedLabels(FilesDataset):
    """All labels imported for a family, in the order of import. A simulated source writes its own at first use."""

    def __init__(self, *, traffic: Mapping[str, Any], **where: Any):
        """Create the dataset.

        Args:
            traffic: ``source`` and ``options`` of ``globals.yml``.
            where: Root, family and cycle, and where digests are recorded.
        """
        super().__init__(**where)
        self._traffic = traffic
        self.schema = IMPORTED_LABELS

    def _load(self) -> StoredTable:
        folder = labels_folder(self.family)
        if not self.store.list(folder) and self._traffic["source"] != IMPORTED:
            source = open_source(self._traffic["source"], SourceOptions.model_validate(self._traffic["options"]))
            add_table(self.store, folder, without_erased(self.store, source.seed_labels(self.family)))
        return self._table(folder, self.store.list(folder), self.schema)


def labels_folder(family: str) -> str:
    """Return where the imported labels of a family lie below the labels root."""
    return f"{family}/imported"
