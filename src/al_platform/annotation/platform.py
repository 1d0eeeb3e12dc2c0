"""What every annotation platform does: take batches, show answers."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from al_platform.domain.errors import InputError
from al_platform.schemas import ANNOTATIONS, BATCH, QUARANTINE, conform

_BEGINNING = datetime.min.replace(tzinfo=UTC)

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


def pages_of_one_batch(batch: pa.Table) -> tuple[str | None, list[dict[str, Any]]]:
    """Return the id of a batch and its rows by rank; None and no rows for an empty table.

    Raises:
        InputError: The table holds several batches or a page twice, or its id cannot name a file.
    """
    rows = conform(batch, BATCH, "batch").sort_by([("rank", "ascending"), ("page_id", "ascending")]).to_pylist()
    batch_ids = sorted({row["batch_id"] for row in rows})
    if not batch_ids:
        return None, []
    if len(batch_ids) > 1:
        raise InputError(f"Asked to submit one batch, found {len(batch_ids)}: {batch_ids}. Submit each on its own.")
    if not _BATCH_ID.fullmatch(batch_ids[0]):
        raise InputError(f"The batch id {batch_ids[0]!r} cannot name a file. Use letters, digits, '-' and '_' only.")
    pages = {row["page_id"] for row in rows}
    if len(pages) < len(rows):
        raise InputError(f"Batch {batch_ids[0]} holds {len(rows)} rows for {len(pages)} pages. Keep one row a page.")
    return batch_ids[0], rows


def as_pulled(annotations: list[dict[str, Any]], quarantine: list[dict[str, Any]]) -> Pulled:
    """Return rows as tables: equal versions once, in a fixed order."""
    distinct = {repr(row): row for row in annotations}
    ordered = sorted(distinct, key=lambda spelled: _version_order(distinct[spelled], spelled))
    return Pulled(
        annotations=pa.Table.from_pylist([distinct[spelled] for spelled in ordered], schema=ANNOTATIONS),
        quarantine=pa.Table.from_pylist(quarantine, schema=QUARANTINE),
    )


def _version_order(row: dict[str, Any], spelled: str) -> tuple[object, ...]:
    time = row["updated_at"]
    # Only a deletion may come without a time; it ends what it deletes.
    return (row["annotation_id"], time is None, time or _BEGINNING, row["deleted"], spelled)
