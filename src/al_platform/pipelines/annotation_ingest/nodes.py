"""Nodes of annotation ingest."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from al_platform.annotation import AnnotationOptions, PlatformConnection
from al_platform.catalog.platform import Partition
from al_platform.catalog.stored_table import StoredTable
from al_platform.domain import annotations as votes
from al_platform.domain.taxonomy import Taxonomy
from al_platform.schemas import ANNOTATIONS, QUARANTINE, conform


def pull_annotations(
    receipt: dict[str, Any] | None,
    platform: PlatformConnection,
    taken: Partition,
    annotations_before: StoredTable,
    taxonomy: Taxonomy,
    options: AnnotationOptions,
) -> tuple[pa.Table, pa.Table]:
    """Take the answers that are there, each version of an answer once.

    Args:
        receipt: Of this cycle's batch; an edge, so that what a run submits is submitted before answers are pulled.
        platform: Where the answers are.
        taken: What this cycle has taken already.
        annotations_before: What cycles before this one took.
        taxonomy: The family's labels.
        options: Kind of platform.

    Returns:
        This cycle's partition of the ledger, and the answers that cannot be taken. Once a later cycle has ingested,
        what was taken then, without asking the platform.
    """
    held = conform(taken.annotations, ANNOTATIONS, "annotations taken")
    if taken.is_sealed:
        return held, conform(taken.quarantine, QUARANTINE, "quarantine")
    pulled = platform.open(taxonomy, options).pull()
    fresh = votes.new_versions(pulled.annotations, _ledger(held, annotations_before))
    partition = pa.concat_tables([held, fresh.select(ANNOTATIONS.names)])
    by_version = [("annotation_id", "ascending"), ("updated_at", "ascending"), ("deleted", "ascending")]
    return conform(partition.sort_by(by_version), ANNOTATIONS, "annotations"), pulled.quarantine


def collect_answers(
    annotations: pa.Table, annotations_before: StoredTable, batches: StoredTable, taxonomy: Taxonomy
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Return the ledger's valid answers, a quarantine of the others, and the pages that were sent, without texts."""
    ledger, invalid = votes.valid_answers(_ledger(annotations, annotations_before), taxonomy)
    return ledger, invalid, batches.read(votes.SENT.names)


def adjudicate_labels(ledger: pa.Table, sent: pa.Table, taxonomy: Taxonomy, cycle: str) -> pa.Table:
    """Conclude a label for every page whose votes decide it; see ``schemas.LABELS``."""
    return votes.adjudicate(ledger, sent, taxonomy, cycle)


def report_ingest(
    annotations: pa.Table,
    ledger: pa.Table,
    labels: pa.Table,
    quarantine: pa.Table,
    invalid: pa.Table,
    sent: pa.Table,
    taxonomy: Taxonomy,
    options: AnnotationOptions,
) -> dict[str, Any]:
    """Count answers and labels, and measure how far annotators agree."""
    pending = pc.invert(pc.is_in(sent["page_id"], value_set=_ids(ledger)))
    return {
        "answers_taken": annotations.num_rows,
        "answers_in_ledger": ledger.num_rows,
        "annotated": int(pc.sum(pc.is_in(labels["page_id"], value_set=_ids(annotations))).as_py() or 0),
        "labels": labels.num_rows,
        "unresolved": votes.unresolved(ledger, taxonomy).num_rows,
        "pending": int(pc.sum(pending).as_py() or 0),
        "agreement": votes.agreement(ledger, taxonomy),
        "quarantined": quarantine.num_rows + invalid.num_rows,
        "simulated": options.backend == "simulated",
    }


def _ids(table: pa.Table) -> pa.Array:
    return pc.unique(table["page_id"])


def _ledger(annotations: pa.Table, annotations_before: StoredTable) -> pa.Table:
    now = conform(annotations, ANNOTATIONS, "annotations").select(ANNOTATIONS.names)
    return pa.concat_tables([annotations_before.read(ANNOTATIONS.names), now])
