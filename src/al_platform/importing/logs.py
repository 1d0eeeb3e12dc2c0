"""The log of a production model: checked batch by batch into a file, so that it may be larger than the memory."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from al_platform.domain.taxonomy import Taxonomy
from al_platform.importing.checks import check_predictions, counted_reasons, require_some
from al_platform.schemas import PREDICTIONS, QUARANTINE

ROW_GROUP = 8_192


@dataclass(frozen=True)
class ImportedFile:
    """What a log held: the rows taken, in a file on this machine, and those set aside (``schemas.QUARANTINE``)."""

    file: Path
    rows: int
    quarantine: pa.Table

    @property
    def reasons(self) -> dict[str, int]:
        """How many rows were set aside, by reason."""
        return counted_reasons(self.quarantine)


def check_log(
    tables: Iterable[pa.Table],
    taxonomy: Taxonomy,
    label_order: Sequence[str] | None,
    model_version: str,
    erased: Container[str],
    file: Path,
) -> ImportedFile:
    """Write the predictions that can be taken to a file; of a page that comes twice the first counts.

    Only the ids of the pages and the rows that are set aside stay in memory.

    Args:
        tables: Rows of the log, in their order; see ``check_predictions``.
        taxonomy: The family's.
        label_order: The labels that a list's elements stand for; None for the taxonomy's own order.
        model_version: Name of the model that made them.
        erased: Ids of pages that were erased on request.
        file: Parquet, ``schemas.PREDICTIONS`` and nothing more.

    Raises:
        SchemaError: A column is missing or the labels are not the taxonomy's.
        InputError: Not one row can be taken.
    """
    seen: set[str] = set()
    rows = 0
    set_aside = [QUARANTINE.empty_table()]
    with pq.ParquetWriter(file, PREDICTIONS, compression="zstd") as writer:
        for table in tables:
            checked = check_predictions(table, taxonomy, label_order, model_version, erased, seen)
            writer.write_table(checked.table.select(PREDICTIONS.names), row_group_size=ROW_GROUP)
            set_aside.append(checked.quarantine)
            rows += checked.rows
    imported = ImportedFile(file, rows, pa.concat_tables(set_aside))
    require_some(rows, rows + imported.quarantine.num_rows, imported.reasons, "predictions")
    return imported
