"""What every annotation platform does: take batches, show answers."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from al_platform.domain.annotations import spelled
from al_platform.domain.errors import InputError
from al_platform.schemas import ANNOTATIONS, BATCH, QUARANTINE, conform

_BESIDE_THE_VERSION = ("page_id", "annotator", "guideline_version", "created_at", "batch_id")

# Batch ids become file names and part of annotation ids.
_BATCH_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class Receipt(BaseModel):
    """What a platform holds of a batch; the same however often the batch is submitted.

    Attributes:
        batch_id: None if there was no page to submit.
        platform: Name of the platform.
        tasks: Pages of this batch that are on the platform now.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_id: str | None
    platform: str
    tasks: int


@dataclass(frozen=True)
class Pulled:
    """All answers that a platform shows now, in an order that depends on them alone.

    Attributes:
        annotations: Every version of every answer, see ``schemas.ANNOTATIONS``. ``annotation_id`` is distinct across
            batches. Of versions with the same time, a deletion comes last.
        quarantine: Answers that cannot be taken, see ``schemas.QUARANTINE``.
    """

    annotations: pa.Table
    quarantine: pa.Table


class AnnotationPlatform(Protocol):
    """Where people, or their simulation, label pages."""

    def submit(self, batch: pa.Table) -> Receipt:
        """Send the pages of one batch that are not there yet.

        Args:
            batch: See ``schemas.BATCH``.

        Raises:
            InputError: The table holds several batches or a page twice, or its id cannot name a file.
        """
        ...

    def pull(self) -> Pulled:
        """Return all answers, of all batches; what has been pulled before is returned again."""
        ...


def pages_of_one_batch(batch: pa.Table) -> tuple[str | None, pa.Table]:
    """Return the id of a batch, None for an empty table, and its rows by rank.

    Raises:
        InputError: The table holds several batches or a page twice, or its id cannot name a file.
    """
    rows = _by_rank(conform(batch, BATCH, "batch"))
    batch_ids = sorted(pc.unique(rows["batch_id"]).to_pylist())
    if not batch_ids:
        return None, rows
    if len(batch_ids) > 1:
        raise InputError(f"Asked to submit one batch, found {len(batch_ids)}: {batch_ids}. Submit each on its own.")
    if not _BATCH_ID.fullmatch(batch_ids[0]):
        raise InputError(f"The batch id {batch_ids[0]!r} cannot name a file. Use letters, digits, '-' and '_' only.")
    pages = pc.count_distinct(rows["page_id"]).as_py()
    if pages < rows.num_rows:
        raise InputError(f"Batch {batch_ids[0]} holds {rows.num_rows} rows for {pages} pages. Keep one row a page.")
    return batch_ids[0], rows


def _by_rank(rows: pa.Table) -> pa.Table:
    order = pc.sort_indices(rows, [("rank", "ascending"), ("page_id", "ascending")]).to_numpy()
    # A selection is in order already: taking its rows once more would copy every text.
    return rows if (order[:-1] < order[1:]).all() else rows.take(order)


def as_pulled(parts: Iterable[tuple[list[dict[str, Any]], list[dict[str, Any]]]]) -> Pulled:
    """Return rows as tables: equal versions once, in a fixed order.

    Args:
        parts: Rows of answers and of the quarantine, some at a time: as tables they take a fiftieth of the memory.
    """
    annotations, quarantine = [ANNOTATIONS.empty_table()], [QUARANTINE.empty_table()]
    for taken, refused in parts:
        annotations.append(pa.Table.from_pylist(taken, schema=ANNOTATIONS))
        quarantine.append(pa.Table.from_pylist(refused, schema=QUARANTINE))
    return Pulled(_distinct(pa.concat_tables(annotations)), pa.concat_tables(quarantine))


def _distinct(annotations: pa.Table) -> pa.Table:
    """Return each version once, by annotation and time; only a deletion may come without a time: it ends the others."""
    whole = annotations.combine_chunks()
    told = [pc.fill_null(whole[name].cast(pa.string()), "") for name in _BESIDE_THE_VERSION]
    spelling = pc.binary_join_element_wise(spelled(whole), *(column.combine_chunks() for column in told), "\x1f")
    order = [(name, "ascending") for name in ("annotation_id", "updated_at", "deleted", "spelling")]
    ordered = whole.append_column("spelling", spelling).sort_by(order)
    spellings = ordered["spelling"].combine_chunks()
    is_first = np.ones(ordered.num_rows, dtype=bool)
    is_first[1:] = pc.not_equal(spellings[1:], spellings[:-1]).to_numpy(zero_copy_only=False)
    return ordered.drop_columns(["spelling"]).filter(pa.array(is_first)).combine_chunks()
