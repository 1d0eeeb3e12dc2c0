"""What Kedro-Viz shows of a dataset: it reads the kind of preview off the name of the return type."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NewType

import pyarrow as pa

TablePreview = NewType("TablePreview", dict[str, Any])
JSONPreview = NewType("JSONPreview", str)
PlotlyPreview = NewType("PlotlyPreview", dict[str, Any])

ROWS = 10
MAX_CHARS = 120


def table_preview(table: pa.Table) -> TablePreview:
    """Return the first rows, every value as short text."""
    rows = [[_short(value) for value in row.values()] for row in table.slice(0, ROWS).to_pylist()]
    return TablePreview({"index": list(range(len(rows))), "columns": table.column_names, "data": rows})


def json_preview(value: Any) -> JSONPreview:
    """Return ``value`` as JSON."""
    return JSONPreview(json.dumps(value))


def records_preview(records: Iterable[Mapping[str, Any]]) -> TablePreview:
    """Return records as a table; the first one names the columns."""
    rows = list(records)
    columns = list(rows[0]) if rows else []
    data = [[_short(row.get(name)) for name in columns] for row in rows]
    return TablePreview({"index": list(range(len(rows))), "columns": columns, "data": data})


def checks(verdict: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """Return the gate's checks, those that were not passed first."""
    names = ("name", "passed", "required", "value", "threshold", "why")
    rows = [{name: check[name] for name in names} for check in verdict["checks"]]
    return sorted(rows, key=lambda row: row["passed"] is not False)


def confusions(error_analysis: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """Return which labels are taken for which."""
    return [{name: row[name] for name in ("truth", "predicted", "n")} for row in error_analysis["confusions"]]


def past_champions(staleness: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """Return macro-F1 of past champions and of the challenger, on the same pages."""
    rows = [(each["cycle"], each["macro_f1"]) for each in staleness.get("champions", ())]
    if staleness.get("challenger"):
        rows.append(("challenger", staleness["challenger"]))
    return [{"model": name, **{part: figure[part] for part in ("value", "low", "high", "n")}} for name, figure in rows]


def curves(report: Mapping[str, Any]) -> PlotlyPreview:
    """Return a training's figures by epoch, a line each."""
    history = report["history"]
    names = [name for name in dict.fromkeys(name for epoch in history for name in epoch) if name != "epoch"]
    epochs = [epoch["epoch"] for epoch in history]
    lines = [
        {"type": "scatter", "mode": "lines+markers", "name": name, "x": epochs, "y": [row.get(name) for row in history]}
        for name in names
    ]
    return _plot(lines, x="epoch")


def class_balance(card: Mapping[str, Any]) -> PlotlyPreview:
    """Return how many pages of each set have each label."""
    sets = card["class_balance"].items()
    bars = [{"type": "bar", "name": name, "x": list(counts), "y": list(counts.values())} for name, counts in sets]
    return _plot(bars, y="pages", barmode="stack")


def class_f1(evaluation: Mapping[str, Any]) -> PlotlyPreview:
    """Return F1 of each class on golden, of both models, with intervals where they were measured."""
    golden = evaluation.get("golden") or {}
    models = [(name, golden[name]["per_class"]) for name in ("challenger", "champion") if golden.get(name)]
    bars = [
        {
            "type": "bar",
            "name": name,
            "x": [row["label"] for row in classes],
            "y": [row["f1"] for row in classes],
            "error_y": {"type": "data", "symmetric": False, **_bars(classes)},
        }
        for name, classes in models
    ]
    return _plot(bars, y="F1 on golden", barmode="group")


def _bars(classes: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    bounds = [(row["f1"], (row.get("intervals") or {}).get("f1") or {}) for row in classes]
    above = [max(found.get("high", f1) - f1, 0.0) for f1, found in bounds]
    below = [max(f1 - found.get("low", f1), 0.0) for f1, found in bounds]
    return {"array": above, "arrayminus": below}


def _plot(traces: list[dict[str, Any]], x: str = "", y: str = "", **layout: Any) -> PlotlyPreview:
    axes = {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}}
    return PlotlyPreview({"data": traces, "layout": {**axes, "legend": {"orientation": "h"}, **layout}})


PLOTS: Mapping[str, Callable[[Mapping[str, Any]], PlotlyPreview]] = {
    "curves": curves,
    "class_balance": class_balance,
    "class_f1": class_f1,
}
TABLES: Mapping[str, Callable[[Mapping[str, Any]], Iterable[Mapping[str, Any]]]] = {
    "checks": checks,
    "confusions": confusions,
    "past_champions": past_champions,
}
"""What a JSON output may be shown as."""


def _short(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], float):
        value = [round(number, 3) for number in value[:5]]
    text = "" if value is None else str(value)
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]}…"
