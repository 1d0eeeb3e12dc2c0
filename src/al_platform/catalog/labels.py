"""Labels that were there before the platform: imported, or the labelled start of a simulated source."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from al_platform.catalog.formats import read_parquet
from al_platform.catalog.outputs import StoreDataset, stored_files
from al_platform.catalog.traffic import IMPORTED, add_table, without_erased
from al_platform.schemas import IMPORTED_LABELS, conform
from al_platform.sources import SourceOptions, open_source
from al_platform.storage.commit_log import Input


class ImportedLabels(StoreDataset):
    """All labels imported for a family, in the order of import. A simulated source writes its own at first use."""

    def __init__(self, *, traffic: Mapping[str, Any], **where: Any):
        """Create the dataset.

        Args:
            traffic: ``source`` and ``options`` of ``globals.yml``.
            where: Root, family and cycle.
        """
        super().__init__(**where)
        self._traffic = traffic

    def _load(self) -> pa.Table:
        folder = labels_folder(self.family)
        if not self.store.list(folder) and self._traffic["source"] != IMPORTED:
            source = open_source(self._traffic["source"], SourceOptions.model_validate(self._traffic["options"]))
            add_table(self.store, folder, without_erased(self.store, source.seed_labels(self.family)))
        files = self.store.list(folder)
        self.source = Input.of_files(folder, stored_files(self.store, files))
        return read_labels(self.store.local(file) for file in files)


def read_labels(files: Iterable[Path]) -> pa.Table:
    """Return the imported labels in these files, one file after another."""
    tables = [_read(file) for file in files]
    return pa.concat_tables([IMPORTED_LABELS.empty_table(), *tables], promote_options="default")


def _read(file: Path) -> pa.Table:
    # Other columns that a file brought along may differ in type from file to file, and nothing reads them.
    return conform(read_parquet(file), IMPORTED_LABELS, file.name).select(IMPORTED_LABELS.names)


def labels_folder(family: str) -> str:
    """Return where the imported labels of a family lie below the labels root."""
    return f"{family}/imported"
