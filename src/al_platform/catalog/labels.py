"""Labels that were there before the platform: imported, or the labelled start of a simulated source."""

from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from al_platform.catalog.formats import read_parquet
from al_platform.catalog.stored_table import FilesDataset, StoredTable
from al_platform.catalog.traffic import IMPORTED, add_table, without_erased
from al_platform.schemas import IMPORTED_LABELS
from al_platform.sources import SourceOptions, open_source
from al_platform.storage.store import Store


class ImportedLabels(FilesDataset):
    """All labels imported for a family, in the order of import. A simulated source writes its own at first use."""

    def __init__(self, *, traffic: Mapping[str, Any], **where: Any):
        """Create the dataset.

        Args:
            traffic: ``source`` and ``options`` of ``globals.yml``.
            where: Root, family and cycle, where digests are recorded, and the engine.
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


def imported_truth(store: Store, family: str, page_ids: Collection[str]) -> dict[str, list[str]]:
    """Return the labels that some pages came with, by page id; the newest import counts."""
    asked = pa.array(sorted(page_ids), pa.string())
    found: dict[str, list[str]] = {}
    for file in store.list(labels_folder(family)):
        table = read_parquet(store.local(file)).select(["page_id", "values"])
        rows = table.filter(pc.is_in(table["page_id"], value_set=asked)).to_pylist()
        found |= {row["page_id"]: row["values"] for row in rows}
    return found
