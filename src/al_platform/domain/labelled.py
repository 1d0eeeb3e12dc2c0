"""Labelled pages: labels from annotators joined with those that were there before.

What becomes of a page depends on the page alone: on its label, on what annotators were shown of it last, and on what
was imported. A page of which none of that changed since the cycle before keeps its row; of a page that changed, its row
of the cycle before stands for all that was imported until then.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from al_platform.domain.carried import CarriedBasis
from al_platform.domain.pages import page_text
from al_platform.domain.taxonomy import Taxonomy
from al_platform.domain.text import CleaningOptions, cut_text, reason_to_drop
from al_platform.schemas import DROPPED, IMPORTED_LABELS, STRINGS, conform

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
        pa.field("imported_values", pa.list_(STRINGS)),
    ]
)
# Raise it when a page's row comes out otherwise than before: all rows are then made anew once.
RULES = 1
_SHOWN = ["page_id", "title", "text", "domain", "language"]
_LABEL = ["values", "source", "reason", "inclusion_probability", "cycle"]
_Row = dict[str, Any]


class PagesInFiles(Protocol):
    """Rows about pages in files, of which only what is asked for is read."""

    files: tuple[str, ...]

    def read(
        self,
        columns: Sequence[str],
        page_ids: pa.Array | pa.ChunkedArray | None = None,
        files: Sequence[str] | None = None,
    ) -> pa.Table:
        """Return columns of the rows of some pages in some files; by default of all."""
        ...


class Basis(CarriedBasis):
    """What all rows of a data set rest on.

    Attributes:
        taxonomy: The family's labels.
        cleaning: Which texts are worth keeping.
        imported: Files of imported labels.
        batches: Files of batches.
    """

    key = b"al_platform.basis"

    rules: int = RULES
    taxonomy: Taxonomy
    cleaning: CleaningOptions
    imported: tuple[str, ...]
    batches: tuple[str, ...]

    def why_anew(self, before: "Basis | None") -> str | None:
        """Return why no row of a data set with the basis ``before`` can be kept, or None."""
        if before is None:
            return "there is no data set of an earlier cycle to build on"
        if before.rules != self.rules:
            return "rows were made by other rules"
        changed = [name for name in ("taxonomy", "cleaning") if getattr(before, name) != getattr(self, name)]
        if changed:
            return f"{' and '.join(changed)} changed"
        if before.imported != self.imported[: len(before.imported)] or not {*before.batches} <= {*self.batches}:
            return "files that were read before are missing"
        return None


class Sources(NamedTuple):
    """Where labelled pages come from: ``schemas.LABELS``, ``schemas.IMPORTED_LABELS`` and ``schemas.BATCH``."""

    labels: pa.Table
    imported: PagesInFiles
    batches: PagesInFiles


class Earlier(NamedTuple):
    """What the cycle before made of the pages: ``schemas.DATASET`` and ``schemas.DROPPED``."""

    dataset: pa.Table
    quarantine: pa.Table


class Kept(NamedTuple):
    """Rows of the cycle before that stay as they are.

    Attributes:
        usable: ``LABELLED``.
        dropped: ``schemas.DROPPED``.
        changed: Pages whose rows are made anew; None for all.
        known_imports: Files of imported labels that the rows of the cycle before stand for.
        basis: Of this cycle.
        why_anew: Why no row is kept, if none is.
    """

    usable: pa.Table
    dropped: pa.Table
    changed: pa.Array | None
    known_imports: tuple[str, ...]
    basis: Basis
    why_anew: str | None


class Sifted(NamedTuple):
    """Labelled pages that can be used, and those that cannot (``schemas.DROPPED``)."""

    table: pa.Table
    quarantine: pa.Table


def keep_unchanged(sources: Sources, earlier: Earlier, taxonomy: Taxonomy, cleaning: CleaningOptions) -> Kept:
    """Return the rows of the cycle before of which neither label nor files changed."""
    basis = Basis(taxonomy=taxonomy, cleaning=cleaning, imported=sources.imported.files, batches=sources.batches.files)
    before = Basis.of(earlier.dataset)
    why_anew = basis.why_anew(before)
    if before is None or why_anew:
        return Kept(LABELLED.empty_table(), DROPPED.empty_table(), None, (), basis, why_anew)
    changed = _changed_pages(sources, earlier, before)
    usable, dropped = (table.filter(pc.invert(pc.is_in(table["page_id"], value_set=changed))) for table in earlier)
    return Kept(_as(LABELLED, usable), _as(DROPPED, dropped), changed, before.imported, basis, None)


def merge_labels(sources: Sources, earlier: Earlier, kept: Kept) -> pa.Table:
    """Return one row (``LABELLED``) a labelled page that is not kept, sorted by page.

    What annotators said beats what was imported, newer beats older. Texts are read from the newest batch that shows the
    page; from files that the cycle before has read, only where its row does not tell.
    """
    fresh = sources.imported.read(IMPORTED_LABELS.names, files=sources.imported.files[len(kept.known_imports) :])
    told = [*map(_imported_row, fresh.to_pylist()), *_annotated_rows(sources, kept.changed)]
    stand_ins = _stand_ins(earlier, kept.changed) if kept.changed is not None else []
    rows = _merged([*stand_ins, *told])
    lacking = {row["page_id"] for row in stand_ins if row["text"] is None and not rows[row["page_id"]]["text"]}
    if lacking:
        page_ids = pa.array(sorted(lacking), pa.string())
        known = sources.imported.read(IMPORTED_LABELS.names, page_ids, kept.known_imports).to_pylist()
        rows |= _merged([*map(_imported_row, known), *(row for row in told if row["page_id"] in lacking)])
    return pa.Table.from_pylist([rows[page_id] for page_id in sorted(rows)], LABELLED)


def sift(labelled: pa.Table, kept: Kept) -> Sifted:
    """Return the pages whose label is in the taxonomy and whose text, cut to its greatest length, says something.

    Those that are kept from the cycle before are among them.
    """
    usable, dropped = [], []
    for row in labelled.to_pylist():
        text = cut_text(row["text"] or "", kept.basis.cleaning)
        problem = kept.basis.taxonomy.problem(row["values"])
        reason = "label_outside_taxonomy" if problem else reason_to_drop(text, kept.basis.cleaning)
        if reason:
            dropped.append({**row, "label_reason": row["reason"], "reason": reason, "detail": problem})
        else:
            usable.append({**row, "text": text})
    return Sifted(
        _with_kept(pa.Table.from_pylist(usable, LABELLED), kept.usable),
        _with_kept(pa.Table.from_pylist(dropped, DROPPED), kept.dropped),
    )


def count_conflicts(*tables: pa.Table) -> int:
    """Return how many pages of data set and quarantine were given labels that differ, by import or by annotators."""
    several = (pc.field("source") != IMPORTED) | (pc.list_value_length(pc.field("imported_values")) > 1)
    columns = ["source", "values", "imported_values"]
    rows = [row for table in tables for row in table.select(columns).filter(several).to_pylist()]
    given = ({tuple(sorted(values)) for values in [*(row["imported_values"] or []), row["values"]]} for row in rows)
    return sum(len(labels) > 1 for labels in given)


def class_balance(values: list[list[str]], taxonomy: Taxonomy) -> dict[str, int]:
    """Return how many pages have each label, in label order, and in a multi-label family how many have none."""
    counts = Counter(label for row in values for label in row)
    balance = {label: counts[label] for label in taxonomy.labels}
    return {**balance, "(none)": sum(not row for row in values)} if taxonomy.is_multi else balance


def _changed_pages(sources: Sources, earlier: Earlier, before: Basis) -> pa.Array:
    """Return the pages whose label changed, that were imported since, or that annotators were shown anew."""
    labels = {row.pop("page_id"): row for row in sources.labels.select(["page_id", *_LABEL]).to_pylist()}
    labels_before = _labels_of(earlier)
    changed = {page for page in labels.keys() | labels_before.keys() if labels.get(page) != labels_before.get(page)}
    new_imports = sources.imported.files[len(before.imported) :]
    new_batches = [file for file in sources.batches.files if file not in before.batches]
    changed.update(sources.imported.read(["page_id"], files=new_imports)["page_id"].to_pylist())
    # A page that was sent and has no label is none of preparation's.
    changed.update(labels.keys() & {*sources.batches.read(["page_id"], files=new_batches)["page_id"].to_pylist()})
    return pa.array(sorted(changed), pa.string())


def _labels_of(earlier: Earlier) -> dict[str, _Row]:
    """Return what annotators' labels were when the cycle before was prepared."""
    dropped = earlier.quarantine.drop_columns(["reason"]).rename_columns({"label_reason": "reason"})
    rows = (
        row
        for table in (earlier.dataset, dropped)
        for row in table.select(["page_id", *_LABEL]).filter(pc.field("source") != IMPORTED).to_pylist()
    )
    return {row.pop("page_id"): row for row in rows}


def _stand_ins(earlier: Earlier, changed: pa.Array) -> list[_Row]:
    """Return a row for what was imported of each changed page until the cycle before; without text where none tells."""
    usable, dropped = (table.filter(pc.is_in(table["page_id"], value_set=changed)) for table in earlier)
    rows = _as(LABELLED, usable).to_pylist()
    told = [row for row in rows if row["source"] == IMPORTED]
    others = [*(row for row in rows if row["source"] != IMPORTED), *dropped.to_pylist()]
    return [*told, *(_untold(row) for row in others if row["imported_values"])]


def _untold(row: Mapping[str, Any]) -> _Row:
    nothing = dict.fromkeys(LABELLED.names)
    values = row["imported_values"]
    return {**nothing, "page_id": row["page_id"], "values": values[-1], "source": IMPORTED, "imported_values": values}


def _annotated_rows(sources: Sources, changed: pa.Array | None) -> list[_Row]:
    labels = sources.labels
    if changed is not None:
        labels = labels.filter(pc.is_in(labels["page_id"], value_set=changed))
    shown = _newest_shown(sources.batches, labels["page_id"].to_pylist())
    return [_annotated_row(row, shown) for row in labels.to_pylist()]


def _newest_shown(batches: PagesInFiles, page_ids: Iterable[str]) -> dict[str, _Row]:
    """Return what annotators were shown last of each page, from as few batches as hold them."""
    shown: dict[str, _Row] = {}
    wanted = set(page_ids)
    for file in reversed(batches.files):
        if not wanted:
            break
        found = batches.read(_SHOWN, pa.array(sorted(wanted), pa.string()), [file]).to_pylist()
        shown |= {row["page_id"]: row for row in found}
        wanted -= shown.keys()
    return shown


def _merged(rows: Iterable[_Row]) -> dict[str, _Row]:
    """Return one row a page: the last, with what only those before it tell."""
    merged: dict[str, _Row] = {}
    for row in rows:
        older = merged.get(row["page_id"])
        merged[row["page_id"]] = row if older is None else _on_top(row, older)
    return merged


def _on_top(row: _Row, older: _Row) -> _Row:
    imported = [*(older["imported_values"] or []), *(row["imported_values"] or [])]
    return {**row, "text": row["text"] or older["text"], "imported_values": imported or None}


def _as(schema: pa.Schema, table: pa.Table) -> pa.Table:
    return conform(table, schema, "the rows of the cycle before").select(schema.names)


def _with_kept(fresh: pa.Table, kept: pa.Table) -> pa.Table:
    return pa.concat_tables([fresh, kept]).sort_by("page_id") if kept.num_rows else fresh


def _imported_row(row: Mapping[str, Any]) -> _Row:
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
        "imported_values": [row["values"]],
    }


def _annotated_row(row: Mapping[str, Any], shown: Mapping[str, Mapping[str, Any]]) -> _Row:
    page = shown.get(row["page_id"], dict.fromkeys(_SHOWN))
    kept = {name: row[name] for name in ("page_id", *_LABEL)}
    text = page_text(page["title"], page["text"])
    return {**kept, "text": text, "domain": page["domain"], "language": page["language"], "imported_values": None}
