"""Labelled pages: labels from annotators joined with those that were there before."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from al_platform.domain.pages import page_text
from al_platform.domain.taxonomy import Taxonomy
from al_platform.domain.text import CleaningOptions, cut_text, reason_to_drop
from al_platform.schemas import QUARANTINE, STRINGS

IMPORTED = "imported"
LABELLED = pa.schema(
    [
        pa.field("page_id", pa.string(), nullable=False),
        pa.field("text", pa.string()),
        pa.field("values", STRINGS, nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("inclusion_probability", pa.float64()),
        pa.field("cycle", pa.string()),
        pa.field("domain", pa.string()),
        pa.field("language", pa.string()),
    ]
)


class Merged(NamedTuple):
    """Labelled pages (``LABELLED``), and how many had two labels that differ."""

    table: pa.Table
    conflicts: int


class Sifted(NamedTuple):
    """Labelled pages that can be used, and those that cannot (``schemas.QUARANTINE``)."""

    table: pa.Table
    quarantine: pa.Table


def merge_labels(labels: pa.Table, imported: pa.Table, batches: pa.Table) -> Merged:
    """Return one row a labelled page, sorted by page; what annotators said beats what was imported, newer beats older.

    Args:
        labels: Concluded from annotations; see ``schemas.LABELS``.
        imported: In the order of import; see ``schemas.IMPORTED_LABELS``.
        batches: What annotators were shown; see ``schemas.BATCH``.
    """
    shown = {row["page_id"]: row for row in batches.select(_SHOWN).to_pylist()}
    rows: dict[str, dict[str, Any]] = {}
    conflicts: set[str] = set()
    for row in [*map(_imported_row, imported.to_pylist()), *(_annotated_row(row, shown) for row in labels.to_pylist())]:
        older = rows.get(row["page_id"])
        if older is not None and sorted(older["values"]) != sorted(row["values"]):
            conflicts.add(row["page_id"])
        rows[row["page_id"]] = row if older is None or row["text"] else {**row, "text": older["text"]}
    return Merged(pa.Table.from_pylist([rows[page_id] for page_id in sorted(rows)], LABELLED), len(conflicts))


def sift(labelled: pa.Table, taxonomy: Taxonomy, options: CleaningOptions) -> Sifted:
    """Return the pages whose label is in the taxonomy and whose text says something, cut to ``options.max_chars``."""
    kept, dropped = [], []
    for row in labelled.to_pylist():
        problem = taxonomy.problem(row["values"])
        reason = "label_outside_taxonomy" if problem else reason_to_drop(row["text"] or "", options)
        if reason:
            dropped.append({"page_id": row["page_id"], "reason": reason, "detail": problem})
        else:
            kept.append({**row, "text": cut_text(row["text"], options)})
    return Sifted(pa.Table.from_pylist(kept, LABELLED), pa.Table.from_pylist(dropped, QUARANTINE))


def class_balance(values: list[list[str]], taxonomy: Taxonomy) -> dict[str, int]:
    """Return how many pages have each label, in label order, and in a multi-label family how many have none."""
    counts = Counter(label for row in values for label in row)
    balance = {label: counts[label] for label in taxonomy.labels}
    return {**balance, "(none)": sum(not row for row in values)} if taxonomy.is_multi else balance


_SHOWN = ["page_id", "title", "text", "domain", "language"]


def _imported_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "page_id": row["page_id"],
        "text": page_text(row["title"], row["text"]),
        "values": row["values"],
        "source": IMPORTED,
        "reason": None,
        "inclusion_probability": None,
        "cycle": None,
        "domain": row["domain"],
        "language": row["language"],
    }


def _annotated_row(row: Mapping[str, Any], shown: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    page = shown.get(row["page_id"], dict.fromkeys(_SHOWN))
    kept = {name: row[name] for name in ("page_id", "values", "source", "reason", "inclusion_probability", "cycle")}
    text = page_text(page["title"], page["text"])
    return {**kept, "text": text, "domain": page["domain"], "language": page["language"]}
