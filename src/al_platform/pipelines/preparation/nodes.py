"""Nodes of preparation."""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from al_platform.domain import labelled as pages
from al_platform.domain.labelled import PagesInFiles
from al_platform.domain.near_duplicates import NearDuplicateOptions, near_duplicate_groups, similar_to
from al_platform.domain.splits import assign_splits, current_sets
from al_platform.domain.taxonomy import Taxonomy
from al_platform.pipelines.preparation.options import PreparationOptions
from al_platform.schemas import DATASET, SPLIT_LEDGER, conform

SETS = ("train", "validation", "golden", "audit", "control", "excluded")


def merge_labels(
    labels: pa.Table,
    imported_labels: PagesInFiles,
    batches: PagesInFiles,
    previous_dataset: pa.Table,
    previous_quarantine: pa.Table,
    taxonomy: Taxonomy,
    options: PreparationOptions,
) -> tuple[pa.Table, pages.Kept, pa.Table]:
    """Join what annotators said with what was imported, of the pages of which something changed.

    Args:
        labels: Concluded from annotations; see ``schemas.LABELS``.
        imported_labels: In the order of import; see ``schemas.IMPORTED_LABELS``.
        batches: What annotators were shown; see ``schemas.BATCH``.
        previous_dataset: Of the cycle before.
        previous_quarantine: Of the cycle before.
        taxonomy: The family's labels.
        options: Which texts are worth keeping.

    Returns:
        Rows made anew, rows kept from the cycle before, and every page's label of the cycle before.
    """
    sources = pages.Sources(labels, imported_labels, batches)
    earlier = pages.Earlier(previous_dataset, previous_quarantine)
    kept = pages.keep_unchanged(sources, earlier, taxonomy, options.cleaning)
    return pages.merge_labels(sources, earlier, kept), kept, previous_dataset.select(["page_id", "values"])


def clean_pages(labelled: pa.Table, kept: pages.Kept) -> tuple[pa.Table, pa.Table]:
    """Return the pages that can be used, and a quarantine of those that cannot."""
    sifted = pages.sift(labelled, kept)
    return sifted.table, sifted.quarantine


def group_near_duplicates(cleaned: pa.Table, options: NearDuplicateOptions) -> NDArray[np.int64]:
    """Return a group number for each page; pages that nearly repeat one another share it."""
    return near_duplicate_groups(cleaned["text"].to_pylist(), options)


def assign_sets(
    cleaned: pa.Table,
    groups: NDArray[np.int64],
    previous_ledger: pa.Table,
    options: PreparationOptions,
    near_duplicates: NearDuplicateOptions,
    cycle: str,
) -> pa.Table:
    """Return the split ledger with the assignments of this cycle appended; see ``schemas.SPLIT_LEDGER``."""
    texts = cleaned["text"].to_numpy()

    def similar(rows: NDArray[np.int64], reference: NDArray[np.int64]) -> NDArray[np.bool_]:
        # Two direct copies may lie in two groups, each around another representative.
        return similar_to(texts[rows], texts[reference], near_duplicates)

    added = assign_splits(cleaned, previous_ledger, groups, cycle, options.splits, similar)
    return conform(pa.concat_tables([previous_ledger, added]), SPLIT_LEDGER, "split ledger")


def assemble_dataset(
    cleaned: pa.Table, groups: NDArray[np.int64], split_ledger: pa.Table, kept: pages.Kept
) -> pa.Table:
    """Return every usable page with its set, and what the rows rest on; see ``schemas.DATASET``."""
    sets = current_sets(split_ledger)
    assigned = pa.array([sets[page_id] for page_id in cleaned["page_id"].to_pylist()], pa.string())
    columns = {name: cleaned[name] for name in cleaned.column_names}
    dataset = pa.table({**columns, "set": assigned, "near_duplicate_group": pa.array(groups, pa.int64())})
    return kept.basis.written_on(conform(dataset, DATASET, "dataset").select(DATASET.names))


def describe_dataset(
    dataset: pa.Table, labels_before: pa.Table, quarantine: pa.Table, taxonomy: Taxonomy
) -> dict[str, Any]:
    """Return the dataset card: size, class balance by set, and what changed since the last cycle."""
    rows = dataset.select(["page_id", "values", "set"]).to_pylist()
    before = dict(zip(*(labels_before[name].to_pylist() for name in ("page_id", "values")), strict=True))
    now = {row["page_id"]: row["values"] for row in rows}
    by_set = {name: [row["values"] for row in rows if row["set"] == name] for name in SETS}
    return {
        "pages": dataset.num_rows,
        "sets": {name: len(values) for name, values in by_set.items()},
        "class_balance": {name: pages.class_balance(values, taxonomy) for name, values in by_set.items() if values},
        "sources": dict(Counter(dataset["source"].to_pylist())),
        "reasons": dict(Counter(reason or "imported" for reason in dataset["reason"].to_pylist())),
        "near_duplicate_pages": dataset.num_rows - len(set(dataset["near_duplicate_group"].to_pylist())),
        "dropped": dict(Counter(quarantine["reason"].to_pylist())),
        "label_conflicts": pages.count_conflicts(dataset, quarantine),
        "since_last_cycle": {
            "added": len(now.keys() - before.keys()),
            "removed": len(before.keys() - now.keys()),
            "relabelled": sum(now[page] != before[page] for page in now.keys() & before.keys()),
        },
    }


def report_preparation(
    dataset_card: dict[str, Any], split_ledger: pa.Table, labelled: pa.Table, kept: pages.Kept
) -> dict[str, Any]:
    """Count pages by set, and those that were read; say why all were, if they were."""
    return {
        "pages": dataset_card["pages"],
        "splits": dataset_card["sets"],
        "dropped": dataset_card["dropped"],
        "label_conflicts": dataset_card["label_conflicts"],
        "assignments": split_ledger.num_rows,
        "pages_read": labelled.num_rows,
        "pages_kept": kept.usable.num_rows + kept.dropped.num_rows,
        "all_read_because": kept.why_anew,
    }
