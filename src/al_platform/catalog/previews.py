"""What Kedro-Viz shows of a dataset: it reads the kind of preview off the name of the return type."""

import json
from typing import Any, NewType

import pyarrow as pa

TablePreview = NewType("TablePreview", dict[str, Any])
JSONPreview = NewType("JSONPreview", str)

ROWS = 10
MAX_CHARS = 120


def table_preview(table: pa.Table) -> TablePreview:
    """Return the first rows, every value as short text."""
    rows = [[_short(value) for value in row.values()] for row in table.slice(0, ROWS).to_pylist()]
    return TablePreview({"index": list(range(len(rows))), "columns": table.column_names, "data": rows})


def json_preview(value: Any) -> JSONPreview:
    """Return ``value`` as JSON."""
    return JSONPreview(json.dumps(value))


def _short(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], float):
        value = [round(number, 3) for number in value[:5]]
    text = "" if value is None else str(value)
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]}…"
