"""Data from outside: files of pages, labels and predictions, validated where they enter.

Rows that cannot be taken are set aside with a reason and counted; a file of which nothing can be taken is an error.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json

from al_platform.catalog.formats import read_parquet
from al_platform.catalog.traffic import add_table
from al_platform.domain.errors import InputError, SchemaError, known_names
from al_platform.domain.taxonomy import Taxonomy
from al_platform.schemas import IMPORTED_LABELS, PAGES, PREDICTIONS, QUARANTINE, STRINGS, conform
from al_platform.storage.store import Store

ID_LENGTH = 32
SUM_TOLERANCE = 0.02  # logs round probabilities to two or three digits


@dataclass(frozen=True)
class Imported:
    """What a file held: the rows taken, and those set aside (``schemas.QUARANTINE``)."""

    table: pa.Table
    quarantine: pa.Table

    @property
    def reasons(self) -> dict[str, int]:
        """How many rows were set aside, by reason."""
        counts = self.quarantine.column("reason").value_counts().to_pylist()
        return {count["values"]: count["counts"] for count in sorted(counts, key=lambda count: count["values"])}


def read_file(path: Path, mapping: Mapping[str, str]) -> pa.Table:
    """Return the table in a CSV, JSONL or Parquet file, its columns renamed.

    Args:
        path: The file; its ending tells the format.
        mapping: Our column name to the file's.

    Raises:
        SchemaError: The ending is unknown, the file is damaged, or a mapped column is missing.
    """
    readers: dict[str, Callable[[Path], pa.Table]] = {
        ".csv": _read_csv,
        ".jsonl": _read_jsonl,
        ".ndjson": _read_jsonl,
        ".parquet": read_parquet,
    }
    if path.suffix not in readers:
        raise SchemaError(f"Asked to read {path.name}. Known endings: {', '.join(readers)}.")
    table = readers[path.suffix](path)
    for ours, theirs in mapping.items():
        if theirs not in table.column_names:
            raise SchemaError(
                f"Asked to take {ours!r} from column {theirs!r} of {path.name}. "
                f"{known_names(theirs, table.column_names)}"
            )
        column = table.column(theirs)
        table = table.drop_columns([ours]) if ours in table.column_names else table
        table = table.append_column(ours, column)
    return table


def with_page_ids(table: pa.Table, rule: str) -> pa.Table:
    """Return ``table`` with a column ``page_id``.

    Args:
        table: As read.
        rule: ``page_id`` to keep the file's own; the name of another column, for instance ``url`` or ``text``, to
            take the hash of its value, so that the same page has the same id in every file.

    Raises:
        SchemaError: There is no such column.
    """
    if rule not in table.column_names:
        raise SchemaError(
            f"Page ids should come from column {rule!r}. {known_names(rule, table.column_names)} "
            f"Choose one with --id, for instance --id text."
        )
    if rule == "page_id":
        return table.set_column(table.column_names.index(rule), rule, table.column(rule).cast(pa.string()))
    ids = [None if value is None else _hash(str(value)) for value in table.column(rule).to_pylist()]
    table = table.drop_columns(["page_id"]) if "page_id" in table.column_names else table
    return table.append_column("page_id", pa.array(ids, pa.string()))


def check_pages(table: pa.Table, known: Sequence[str] = ()) -> Imported:
    """Return the pages that can be taken.

    Args:
        table: Columns of ``schemas.PAGES``, ``page_id`` and ``text`` at least, and ``truth_<family>`` where known.
        known: Ids of the pages that the cycle already has.

    Raises:
        SchemaError: A column is missing or of the wrong type.
        InputError: Not one page can be taken.
    """
    _require(table, ("page_id", "text"))
    table = _without_nul(_truth_lists(table))
    seen = set(known)
    reasons = []
    for page_id, text in zip(table.column("page_id").to_pylist(), table.column("text").to_pylist(), strict=True):
        reasons.append(_page_problem(page_id, text, seen))
        seen.add(page_id)
    return _sift(table, reasons, PAGES, "pages")


def check_labels(table: pa.Table, taxonomy: Taxonomy, separator: str | None) -> Imported:
    """Return the labelled pages that can be taken.

    Args:
        table: ``page_id``, ``text`` and ``values`` (a list, or one string), and more of ``schemas.IMPORTED_LABELS``.
        taxonomy: The family's.
        separator: What stands between the labels of one string; None where a string is one label.

    Raises:
        SchemaError: A column is missing or of the wrong type.
        InputError: Not one row can be taken.
    """
    _require(table, ("page_id", "text", "values"))
    values = [_as_labels(value, separator) for value in table.column("values").to_pylist()]
    table = _without_nul(table.drop_columns(["values"]).append_column("values", pa.array(values, STRINGS)))
    reasons = []
    seen: set[str] = set()
    for page_id, text, row in zip(
        table.column("page_id").to_pylist(), table.column("text").to_pylist(), values, strict=True
    ):
        reasons.append(_page_problem(page_id, text, seen) or _label_problem(row, taxonomy))
        seen.add(page_id)
    return _sift(table, reasons, IMPORTED_LABELS, "labels")


def check_predictions(
    table: pa.Table, taxonomy: Taxonomy, label_order: Sequence[str] | None, model_version: str
) -> Imported:
    """Return the predictions that can be taken, their probabilities in the order of the taxonomy.

    Args:
        table: ``page_id`` and ``probabilities`` (a list), or one column a label.
        taxonomy: The family's.
        label_order: The labels that the list's elements stand for; None for the taxonomy's own order.
        model_version: Name of the model that made them.

    Raises:
        SchemaError: A column is missing or the labels are not the taxonomy's.
        InputError: Not one row can be taken.
    """
    _require(table, ("page_id",))
    labels = list(label_order or taxonomy.labels)
    if sorted(labels) != sorted(taxonomy.labels):
        raise SchemaError(f"The log is of labels {labels}, the family has {list(taxonomy.labels)}.")
    if "probabilities" not in table.column_names:
        _require(table, labels)
        columns = [table.column(label).to_numpy() for label in labels]
        rows: list[Any] = np.stack(columns, axis=1).tolist() if table.num_rows else []
    else:
        rows = table.column("probabilities").to_pylist()
    order = [labels.index(label) for label in taxonomy.labels]
    reasons, ordered = [], []
    seen: set[str] = set()
    for page_id, row in zip(table.column("page_id").to_pylist(), rows, strict=True):
        reason = _id_problem(page_id, seen) or _probability_problem(row, taxonomy)
        reasons.append(reason)
        ordered.append(None if reason else [row[index] for index in order])
        seen.add(page_id)
    keep = [name for name in table.column_names if name in PREDICTIONS.names and name != "probabilities"]
    taken = table.select(keep).append_column(
        "probabilities", pa.array(ordered, PREDICTIONS.field("probabilities").type)
    )
    version = pa.array([model_version] * table.num_rows, pa.string())
    taken = taken.drop_columns([name for name in ("model_digest",) if name in taken.column_names])
    return _sift(taken.append_column("model_digest", version), reasons, PREDICTIONS, "predictions")


def table_digest(table: pa.Table) -> str:
    """Return a digest of a table's content: the same file imported twice has the same."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sha256(sink.getvalue()).hexdigest()[:ID_LENGTH]


def store_imported(store: Store, folder: str, imported: Imported, digest: str) -> str | None:
    """Store the rows taken, and those set aside; return the quarantine's path, None where it is empty."""
    add_table(store, folder, imported.table, digest)
    if not imported.quarantine.num_rows:
        return None
    quarantine = f"{folder.rpartition('/')[0]}/quarantine"
    add_table(store, quarantine, imported.quarantine, digest)
    return f"{store.root}/{quarantine}"


def _read_csv(path: Path) -> pa.Table:
    # Hostile texts are long and hold line breaks; the default block of 1 MB cannot hold one row of 5 MB.
    read = pa_csv.ReadOptions(block_size=64 << 20)
    try:
        return pa_csv.read_csv(path, read_options=read, parse_options=pa_csv.ParseOptions(newlines_in_values=True))
    except (pa.ArrowInvalid, OSError) as error:
        raise SchemaError(f"{path.name} is no readable CSV file: {error}") from error


def _read_jsonl(path: Path) -> pa.Table:
    try:
        return pa_json.read_json(path, read_options=pa_json.ReadOptions(block_size=64 << 20))
    except (pa.ArrowInvalid, OSError) as error:
        raise SchemaError(f"{path.name} is no readable JSON Lines file: {error}") from error


def _hash(value: str) -> str:
    return sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:ID_LENGTH]


def _require(table: pa.Table, columns: Sequence[str]) -> None:
    for name in columns:
        if name not in table.column_names:
            raise SchemaError(
                f"Column {name!r} is missing. {known_names(name, table.column_names)} "
                f"Map one with --map {name}=YOUR_COLUMN."
            )


def _page_problem(page_id: str | None, text: Any, seen: set[str]) -> tuple[str, str] | None:
    if (problem := _id_problem(page_id, seen)) is not None:
        return problem
    if not isinstance(text, str) or not text.strip():
        return "no_text", "the text is missing or empty"
    return None


def _id_problem(page_id: str | None, seen: set[str]) -> tuple[str, str] | None:
    if not page_id:
        return "no_page_id", "the page id is missing or empty"
    return ("duplicate_page_id", f"{page_id} is there already") if page_id in seen else None


def _label_problem(values: list[str], taxonomy: Taxonomy) -> tuple[str, str] | None:
    problem = taxonomy.problem(values)
    return ("label_outside_taxonomy", problem) if problem else None


def _probability_problem(row: Any, taxonomy: Taxonomy) -> tuple[str, str] | None:
    if row is None or len(row) != len(taxonomy.labels):
        return "wrong_length", f"{0 if row is None else len(row)} probabilities for {len(taxonomy.labels)} labels"
    if any(value is None or not math.isfinite(value) or not 0 <= value <= 1 for value in row):
        return "not_a_probability", f"found {[value for value in row if value is None or not 0 <= value <= 1][:1]}"
    if not taxonomy.is_multi and abs(sum(row) - 1) > SUM_TOLERANCE:
        return "does_not_sum_to_one", f"the probabilities sum to {sum(row):.3f}"
    return None


def _as_labels(value: Any, separator: str | None) -> list[str]:
    if value is None:
        return []
    if isinstance(value, list):
        return [str(label) for label in value]
    text = str(value)
    parts = text.split(separator) if separator else [text]
    return [part.strip() for part in parts if part.strip()]


def _truth_lists(table: pa.Table) -> pa.Table:
    for name in table.column_names:
        if name.startswith("truth_") and not pa.types.is_list(table.schema.field(name).type):
            lists = [_as_labels(value, None) for value in table.column(name).to_pylist()]
            table = table.set_column(table.column_names.index(name), name, pa.array(lists, STRINGS))
    return table


def _without_nul(table: pa.Table) -> pa.Table:
    for index, field in enumerate(table.schema):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            cleaned = pc.replace_substring(table.column(index).cast(pa.string()), "\0", "")
            table = table.set_column(index, field.name, cleaned)
    return table


def _sift(table: pa.Table, reasons: list[tuple[str, str] | None], schema: pa.Schema, what: str) -> Imported:
    bad = [index for index, reason in enumerate(reasons) if reason is not None]
    good = [index for index, reason in enumerate(reasons) if reason is None]
    quarantine = pa.table(
        {
            "page_id": table.column("page_id").take(pa.array(bad, pa.int64())),
            "reason": pa.array([reason[0] for reason in reasons if reason], pa.string()),
            "detail": pa.array([reason[1] for reason in reasons if reason], pa.string()),
        },
        schema=QUARANTINE,
    )
    imported = Imported(conform(table.take(pa.array(good, pa.int64())), schema, what), quarantine)
    if not good:
        raise InputError(f"None of the {table.num_rows} rows can be taken as {what}: {imported.reasons or 'no rows'}.")
    return imported
