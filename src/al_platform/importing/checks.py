"""Rows from outside: those that can be taken, and those set aside with a reason."""

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from al_platform.domain.errors import InputError, SchemaError, known_names
from al_platform.domain.taxonomy import Taxonomy
from al_platform.schemas import IMPORTED_LABELS, PAGES, PREDICTIONS, QUARANTINE, STRINGS, conform

SUM_TOLERANCE = 0.02  # logs round probabilities to two or three digits
ERASED = "erased"
Problem: TypeAlias = tuple[str, str] | None


@dataclass(frozen=True)
class Imported:
    """What a file held: the rows taken, and those set aside (``schemas.QUARANTINE``)."""

    table: pa.Table
    quarantine: pa.Table

    @property
    def rows(self) -> int:
        """How many rows were taken."""
        return int(self.table.num_rows)

    @property
    def reasons(self) -> dict[str, int]:
        """How many rows were set aside, by reason."""
        return counted_reasons(self.quarantine)


def counted_reasons(quarantine: pa.Table) -> dict[str, int]:
    """Return how many rows were set aside, by reason."""
    counts = quarantine.column("reason").value_counts().to_pylist()
    return {count["values"]: count["counts"] for count in sorted(counts, key=lambda count: count["values"])}


def check_pages(
    table: pa.Table, known: Sequence[str] = (), separator: str | None = None, erased: Container[str] = ()
) -> Imported:
    """Return the pages that can be taken.

    Args:
        table: Columns of ``schemas.PAGES``, ``page_id`` and ``text`` at least, and ``truth_<family>`` where known.
        known: Ids of the pages that the cycle already has.
        separator: What stands between the labels of one string in a ``truth_`` column.
        erased: Ids of pages that were erased on request; see ``storage.erasures.ErasedPages``.

    Raises:
        SchemaError: A column is missing or of the wrong type.
        InputError: Not one page can be taken.
    """
    _require(table, ("page_id", "text"))
    table = _without_nul(_truth_lists(table, separator))
    seen = set(known)
    reasons = []
    for page_id, text in zip(table.column("page_id").to_pylist(), table.column("text").to_pylist(), strict=True):
        reasons.append(_page_problem(page_id, text, seen, erased))
        if reasons[-1] is None:
            seen.add(page_id)
    return _some_of(table, reasons, PAGES, "pages")


def check_labels(table: pa.Table, taxonomy: Taxonomy, separator: str | None, erased: Container[str] = ()) -> Imported:
    """Return the labelled pages that can be taken.

    Args:
        table: ``page_id``, ``text`` and ``values`` (a list, or one string), and more of ``schemas.IMPORTED_LABELS``.
        taxonomy: The family's.
        separator: What stands between the labels of one string; None where a string is one label.
        erased: Ids of pages that were erased on request.

    Raises:
        SchemaError: A column is missing or of the wrong type.
        InputError: Not one row can be taken.
    """
    _require(table, ("page_id", "text", "values"))
    values = [_as_labels(value, separator) for value in table.column("values").to_pylist()]
    table = _without_nul(table.drop_columns(["values"]).append_column("values", pa.array(values, STRINGS)))
    reasons: list[Problem] = []
    seen: set[str] = set()
    for page_id, text, row in zip(
        table.column("page_id").to_pylist(), table.column("text").to_pylist(), values, strict=True
    ):
        reasons.append(_page_problem(page_id, text, seen, erased) or _label_problem(row, taxonomy))
        if reasons[-1] is None:
            seen.add(page_id)
    return _some_of(table, reasons, IMPORTED_LABELS, "labels")


def check_predictions(
    table: pa.Table,
    taxonomy: Taxonomy,
    label_order: Sequence[str] | None,
    model_version: str,
    erased: Container[str] = (),
    seen: set[str] | None = None,
) -> Imported:
    """Return the predictions that can be taken, maybe none, their probabilities in the order of the taxonomy.

    Args:
        table: ``page_id`` and ``probabilities`` (a list), or one column a label.
        taxonomy: The family's.
        label_order: The labels that the list's elements stand for; None for the taxonomy's own order.
        model_version: Name of the model that made them.
        erased: Ids of pages that were erased on request.
        seen: Ids that were taken before; those that are taken now are added.

    Raises:
        SchemaError: A column is missing or the labels are not the taxonomy's.
    """
    _require(table, ("page_id",))
    labels = list(label_order or taxonomy.labels)
    if sorted(labels) != sorted(taxonomy.labels):
        raise SchemaError(f"The log is of labels {labels}, the family has {list(taxonomy.labels)}.")
    if "probabilities" not in table.column_names:
        _require(table, labels)
        rows = _rows_of_columns(table, labels)
    else:
        rows = _rows_of_lists(table.column("probabilities"))
    order = [labels.index(label) for label in taxonomy.labels]
    reasons, ordered = [], []
    seen = set() if seen is None else seen
    for page_id, row in zip(table.column("page_id").to_pylist(), rows, strict=True):
        reason = _id_problem(page_id, seen, erased) or _probability_problem(row, taxonomy)
        reasons.append(reason)
        ordered.append(None if reason or row is None else [row[index] for index in order])
        if reason is None:
            seen.add(page_id)
    keep = [name for name in table.column_names if name in PREDICTIONS.names and name != "probabilities"]
    taken = table.select(keep).append_column(
        "probabilities", pa.array(ordered, PREDICTIONS.field("probabilities").type)
    )
    version = pa.array([model_version] * table.num_rows, pa.string())
    taken = taken.drop_columns([name for name in ("model_digest",) if name in taken.column_names])
    return _sift(taken.append_column("model_digest", version), reasons, PREDICTIONS, "predictions")


def unusable_truth(pages: pa.Table, family: str, taxonomy: Taxonomy) -> int:
    """Return how many pages have a true answer for the family that is missing or outside its taxonomy."""
    column = f"truth_{family}"
    if column not in pages.column_names:
        return 0
    return sum(values is None or taxonomy.problem(values) is not None for values in pages.column(column).to_pylist())


def _require(table: pa.Table, columns: Sequence[str]) -> None:
    for name in columns:
        if name not in table.column_names:
            raise SchemaError(
                f"Column {name!r} is missing. {known_names(name, table.column_names)} "
                f"Map one with --map {name}=YOUR_COLUMN."
            )


def _page_problem(page_id: str | None, text: Any, seen: set[str], erased: Container[str]) -> Problem:
    if (problem := _id_problem(page_id, seen, erased)) is not None:
        return problem
    if not isinstance(text, str) or not text.strip():
        return "no_text", "the text is missing or empty"
    return None


def _id_problem(page_id: str | None, seen: set[str], erased: Container[str]) -> Problem:
    if not page_id:
        return "no_page_id", "the page id is missing or empty"
    if page_id in erased:
        return ERASED, "the page was erased on request and is not taken again"
    return ("duplicate_page_id", f"{page_id} is there already") if page_id in seen else None


def _label_problem(values: list[str] | None, taxonomy: Taxonomy) -> Problem:
    if values is None:
        return "no_label", "the label is missing; an empty text or list says that none applies"
    problem = taxonomy.problem(values)
    return ("label_outside_taxonomy", problem) if problem else None


def _rows_of_columns(table: pa.Table, labels: list[str]) -> list[Any]:
    columns = []
    for label in labels:
        try:
            columns.append(table.column(label).cast(pa.float64()).to_pylist())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise SchemaError(f"Column {label!r} must hold probabilities: {error}") from error
    return [list(row) for row in zip(*columns, strict=True)]


def _rows_of_lists(column: pa.ChunkedArray) -> list[Any]:
    if not pa.types.is_nested(column.type):
        raise SchemaError(
            f"Column 'probabilities' should hold lists of numbers but is {column.type}. CSV cannot hold lists: "
            f"give one column a label, named like the label."
        )
    return list(column.to_pylist())


def _probability_problem(row: Any, taxonomy: Taxonomy) -> Problem:
    if row is None or len(row) != len(taxonomy.labels):
        return "wrong_length", f"{0 if row is None else len(row)} probabilities for {len(taxonomy.labels)} labels"
    if any(value is None or not math.isfinite(value) or not 0 <= value <= 1 for value in row):
        return "not_a_probability", f"found {next(value for value in row if value is None or not 0 <= value <= 1)}"
    if not taxonomy.is_multi and abs(sum(row) - 1) > SUM_TOLERANCE:
        return "does_not_sum_to_one", f"the probabilities sum to {sum(row):.3f}"
    return None


def _as_labels(value: Any, separator: str | None) -> list[str] | None:
    if value is None:
        return None
    if isinstance(value, list):
        return [str(label) for label in value]
    text = str(value)
    parts = text.split(separator) if separator else [text]
    return [part.strip() for part in parts if part.strip()]


def _truth_lists(table: pa.Table, separator: str | None) -> pa.Table:
    for name in table.column_names:
        if name.startswith("truth_") and not pa.types.is_list(table.schema.field(name).type):
            lists = [_as_labels(value, separator) for value in table.column(name).to_pylist()]
            table = table.set_column(table.column_names.index(name), name, pa.array(lists, STRINGS))
    return table


def _without_nul(table: pa.Table) -> pa.Table:
    for index, field in enumerate(table.schema):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            cleaned = pc.replace_substring(table.column(index).cast(pa.string()), "\0", "")
            table = table.set_column(index, field.name, cleaned)
    return table


def require_some(rows: int, of: int, reasons: dict[str, int], what: str) -> None:
    """Raise InputError where not one row was taken."""
    if not rows:
        raise InputError(f"None of the {of} rows can be taken as {what}: {reasons or 'no rows'}.")


def _some_of(table: pa.Table, reasons: list[Problem], schema: pa.Schema, what: str) -> Imported:
    imported = _sift(table, reasons, schema, what)
    require_some(imported.rows, table.num_rows, imported.reasons, what)
    return imported


def _sift(table: pa.Table, reasons: list[Problem], schema: pa.Schema, what: str) -> Imported:
    good = [index for index, reason in enumerate(reasons) if reason is None]
    page_ids = table.column("page_id").to_pylist()
    quarantine = pa.table(
        {
            # The id of an erased page must not come back either.
            "page_id": [None if reason[0] == ERASED else page_ids[row] for row, reason in enumerate(reasons) if reason],
            "reason": pa.array([reason[0] for reason in reasons if reason], pa.string()),
            "detail": pa.array([reason[1] for reason in reasons if reason], pa.string()),
        },
        schema=QUARANTINE,
    )
    return Imported(conform(table.take(pa.array(good, pa.int64())), schema, what), quarantine)
