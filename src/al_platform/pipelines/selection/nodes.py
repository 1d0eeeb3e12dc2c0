"""Nodes of selection."""

import json
import logging
from typing import Any

import pyarrow as pa

from al_platform.annotation import AnnotationOptions, PlatformConnection
from al_platform.catalog.formats import Expression
from al_platform.catalog.traffic import Pages
from al_platform.domain.near_duplicates import NearDuplicateOptions, near_duplicate_groups
from al_platform.domain.selection.options import SelectionOptions
from al_platform.domain.taxonomy import Taxonomy
from al_platform.domain.text import clean_text

LOG = logging.getLogger("al_platform")
SUMMARY = b"selection_summary"


def select_batch(
    predictions: Expression,
    pages: Pages,
    batches_before: pa.Table,
    imported_labels: pa.Table,
    sealed_batch: pa.Table | None,
    taxonomy: Taxonomy,
    options: SelectionOptions,
    near_duplicates: NearDuplicateOptions,
    family: str,
    cycle: str,
) -> pa.Table:
    """Choose the pages to annotate next.

    Args:
        predictions: One row a scored page; see ``schemas.PREDICTIONS``.
        pages: The month's pages, for what annotators are shown.
        batches_before: Pages sent in cycles before this one, labelled or pending.
        imported_labels: Pages that came with a label.
        sealed_batch: What this cycle has sent already; then it is returned as it is.
        taxonomy: The family's labels.
        options: Strategy, budget and limits.
        near_duplicates: When two texts count as the same.
        family: The family's name.
        cycle: This cycle.

    Returns:
        ``options.budget`` rows; see ``schemas.BATCH``. The counts of the choice are in the schema's metadata.

    Raises:
        PoolExhaustedError: Fewer candidates than the budget.
    """
    # Ibis takes a third of a second to import, and commands like "kedro registry list" choose nothing.
    from al_platform.domain.selection.choose import choose_batch
    from al_platform.domain.selection.eligible import Pool

    if sealed_batch is not None:
        if sealed_batch.num_rows != options.budget:
            LOG.warning(
                "The batch of %s %s was sent with %s pages and stays; selection.budget=%s is for later cycles.",
                *(family, cycle, sealed_batch.num_rows, options.budget),
            )
        return sealed_batch
    known = pa.chunked_array([*batches_before["page_id"].chunks, *imported_labels["page_id"].chunks], pa.string())
    pool = Pool(
        predictions=predictions,
        pages=pages.expression(),
        excluded=pa.table({"page_id": known}),
        taxonomy=taxonomy,
        family=family,
        cycle=cycle,
    )
    selection = choose_batch(
        pool,
        options,
        lambda texts: near_duplicate_groups([clean_text(text) for text in texts], near_duplicates),
    )
    return selection.batch.replace_schema_metadata({SUMMARY: selection.summary.model_dump_json()})


def seal_batch(proposal: pa.Table) -> pa.Table:
    """Return the batch that is written once: from here on a re-run of the cycle returns it."""
    return proposal


def submit_batch(
    batch: pa.Table, platform: PlatformConnection, taxonomy: Taxonomy, options: AnnotationOptions
) -> dict[str, Any]:
    """Send the batch to the annotators; pages that are there already are not sent again."""
    receipt: dict[str, Any] = platform.open(taxonomy, options).submit(batch).model_dump(mode="json")
    return receipt


def report_selection(batch: pa.Table, receipt: dict[str, Any]) -> dict[str, Any]:
    """Say how the batch came about, from the counts sealed with it."""
    summary = json.loads((batch.schema.metadata or {})[SUMMARY])
    return {
        **summary,
        "batch": {"total": batch.num_rows, "by_reason": summary["by_reason"]},
        "submitted": receipt,
    }
