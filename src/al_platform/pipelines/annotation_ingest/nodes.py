"""Nodes of annotation ingest."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from al_platform.annotation import AnnotationOptions, PlatformConnection
from al_platform.catalog.platform import Partition
from al_platform.catalog.stored_table import StoredTable
from al_platform.domain import answered as pages
from al_platform.domain.adjudication import conclude, label_table
from al_platform.domain.annotations import new_versions
from al_platform.domain.rounds import annotator_figures, relabelled, rounds_of
from al_platform.domain.taxonomy import Taxonomy
from al_platform.schemas import ANNOTATIONS, PULLED_PAGES, QUARANTINE, conform


def pull_annotations(
    receipt: dict[str, Any] | None,
    platform: PlatformConnection,
    taken: Partition,
    annotations_before: StoredTable,
    previous_answered_pages: pa.Table,
    previous_pulled_pages: pa.Table,
    taxonomy: Taxonomy,
    options: AnnotationOptions,
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Take the answers that are there, each version of an answer once.

    Args:
        receipt: Of this cycle's batch; an edge, so that what a run submits is submitted before answers are pulled.
        platform: Where the answers are.
        taken: What this cycle has taken already.
        annotations_before: What cycles before this one took.
        previous_answered_pages: Tells which of them hold answers about a page.
        previous_pulled_pages: What the platform showed when the cycle before pulled; see ``schemas.PULLED_PAGES``.
        taxonomy: The family's labels.
        options: Kind of platform.

    Returns:
        This cycle's partition of the ledger, the answers that cannot be taken, and what the platform shows. Once a
        later cycle has ingested, what was taken then, without asking the platform.
    """
    held = conform(taken.annotations, ANNOTATIONS, "annotations taken")
    if taken.is_sealed:
        return held, conform(taken.quarantine, QUARANTINE, "quarantine"), conform(taken.pulled, PULLED_PAGES, "pulled")
    pulled = platform.open(taxonomy, options).pull()
    shown = pages.pulled_digests(pulled.annotations)
    news = pages.pages_with_news(shown, previous_pulled_pages)
    known = pages.known_versions(news, annotations_before, previous_answered_pages)
    candidates = pulled.annotations.filter(pc.is_in(pulled.annotations["page_id"], value_set=news))
    fresh = new_versions(candidates, pa.concat_tables([known, held.select(ANNOTATIONS.names)]))
    partition = pa.concat_tables([held, fresh.select(ANNOTATIONS.names)])
    by_version = [("annotation_id", "ascending"), ("updated_at", "ascending"), ("deleted", "ascending")]
    return conform(partition.sort_by(by_version), ANNOTATIONS, "annotations"), pulled.quarantine, shown


def collect_answers(
    annotations: pa.Table,
    annotations_before: StoredTable,
    batches: StoredTable,
    previous_answered_pages: pa.Table,
    taxonomy: Taxonomy,
    cycle: str,
) -> tuple[pages.Changes, pa.Table]:
    """Read the answers about pages of which something changed, and return what is known of all pages.

    Args:
        annotations: This cycle's partition of the ledger.
        annotations_before: What cycles before this one took.
        batches: Every batch up to this cycle.
        previous_answered_pages: Of the cycle before.
        taxonomy: The family's labels.
        cycle: This cycle.

    Returns:
        What changed, and ``schemas.ANSWERED_PAGES``.
    """
    sources = pages.Sources(annotations, annotations_before, batches, cycle)
    changes = pages.collect_changes(sources, previous_answered_pages, taxonomy)
    return changes, changes.answered


def adjudicate_labels(
    changes: pages.Changes, taxonomy: Taxonomy, options: AnnotationOptions, cycle: str
) -> tuple[pa.Table, dict[str, float]]:
    """Conclude a label for every page whose answers decide it.

    Returns:
        ``schemas.LABELS``, and the chance that each annotator is right.
    """
    answers, checks = pages.all_answers(changes.answered, taxonomy), pages.all_checks(changes.answered, taxonomy)
    concluded = conclude(answers, checks, taxonomy, options.adjudication)
    origins = pages.label_origins(changes.answered, answers.page_ids, cycle)
    return label_table(answers, concluded, origins, taxonomy), concluded.quality


def report_ingest(
    annotations: pa.Table,
    answered_pages: pa.Table,
    labels: pa.Table,
    quality: dict[str, float],
    quarantine: pa.Table,
    pulled_pages: pa.Table,
    changes: pages.Changes,
    taxonomy: Taxonomy,
    options: AnnotationOptions,
) -> dict[str, Any]:
    """Count answers and labels, and measure how far annotators agree and how well each answers."""
    answers, checks = pages.all_answers(answered_pages, taxonomy), pages.all_checks(answered_pages, taxonomy)
    votes = answers.votes()
    asked_in = pages.label_origins(answered_pages, answers.page_ids, cycle=None)["cycle"].to_pylist()
    is_pending = pc.and_(
        pc.equal(answered_pages["n_versions"], 0), pc.greater(pc.list_value_length(answered_pages["sent_in"]), 0)
    )
    return {
        "answers_taken": annotations.num_rows,
        "answers_in_ledger": _total(answered_pages["n_versions"]),
        "annotated": _total(pc.is_in(labels["page_id"], value_set=pc.unique(annotations["page_id"]))),
        "labels": labels.num_rows,
        "unresolved": len(answers.page_ids) - labels.num_rows,
        "pending": _total(is_pending),
        "agreement": votes.agreement(taxonomy),
        "agreement_by_cycle": votes.agreement_by(asked_in, taxonomy),
        "annotators": annotator_figures(answers, checks, quality),
        "rounds": rounds_of(answered_pages),
        "relabelled": relabelled(answered_pages, labels),
        "quarantined": quarantine.num_rows + _total(answered_pages["n_invalid"]),
        "simulated": options.backend == "simulated",
        "pages_shown": pulled_pages.num_rows,
        "pages_kept": changes.n_kept,
        "all_read_because": changes.why_anew,
    }


def _total(column: pa.ChunkedArray) -> int:
    return int(pc.sum(column).as_py() or 0)
