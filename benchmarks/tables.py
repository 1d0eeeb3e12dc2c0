"""Writes the tables of ``docs/benchmarks.md`` that results hold: ``python -m benchmarks.tables``.

A table stands between ``<!-- table NAME -->`` and ``<!-- end -->``.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "benchmarks.md"
_TABLE = re.compile(r"(<!-- table (?P<name>\w+) -->\n).*?(\n<!-- end -->)", re.DOTALL)

Results = Mapping[str, Any]


def with_tables(document: str) -> str:
    """Return the document with its tables as the results have them."""

    def table(match: re.Match[str]) -> str:
        name = match["name"]
        file, make = TABLES[name]
        results = json.loads((ROOT / "benchmarks" / "results" / f"{file}.json").read_text(encoding="utf-8"))
        return f"{match[1]}{make(results)}{match[3]}"

    return _TABLE.sub(table, document)


def peers_table(results: Results) -> str:
    """Return a row a case and a column a number of pages: wall and CPU seconds, peak memory; or why there are none."""
    measured = results["measurements"]
    sizes = sorted({row["rows"] for row in measured})
    found = {(row["case"], row["rows"]): row for row in measured}
    rows = [
        [case, *(_cost(found[case, size]) for size in sizes)] for case in dict.fromkeys(r["case"] for r in measured)
    ]
    return _markdown(["wall / CPU s, peak MB", *(f"{size:,} pages" for size in sizes)], rows)


def selection_table(results: Results) -> str:
    """Return a row a case: pages, wall and CPU seconds, peak memory of the process and what of it is the run's."""
    rows = [
        [
            row["case"],
            f"{row['rows']:,}",
            *(_seconds(row[name]) for name in ("wall_s", "cpu_s")),
            f"{row['peak_mb']:,}",
            f"{row['before_mb']:,}",
        ]
        for row in results["measurements"]
    ]
    return _markdown(["case", "pages", "wall s", "CPU s", "peak MB", "of it before"], rows)


def replay_table(results: Results) -> str:
    """Return a row a replay and strategy: macro-F1 and differences in points with their intervals, labels, verdicts."""
    rows = []
    for scenario, found in results.items():
        sizes = found["sizes"]
        size = f"{sizes['months']} x {sizes['seeds']}"
        for strategy, figures in found["strategies"].items():
            gate = figures["gate"]
            rows.append(
                [
                    scenario,
                    size,
                    strategy,
                    _points(figures["newest"]),
                    _points(figures["against_random"]),
                    _points(figures["against_frozen"]),
                    f"{figures['labels']:.0f}",
                    f"{gate['promoted']} / {gate['iterate']} / {gate['reject']}",
                ]
            )
            scenario = size = ""
    head = [
        "replay",
        "months x seeds",
        "strategy",
        "macro-F1, mean of months",
        "over random",
        "over the first champion",
    ]
    return _markdown([*head, "labels", "promote / iterate / reject"], rows)


def replay_time_table(results: Results) -> str:
    """Return a row a replay: CPU and wall seconds of all its processes, and what comes on top of the stages."""
    rows = [
        [scenario, *(f"{time[name]:,.0f}" for name in ("stages_cpu_s", "cpu_s")), f"{100 * time['overhead']:.0f} %"]
        for scenario, time in ((name, found["time"]) for name, found in results.items())
    ]
    return _markdown(["replay", "stages' CPU s", "CPU s", "on top"], rows)


def _points(mean: Results | None) -> str:
    if mean is None:
        return ""
    value, low, high = (100 * mean[name] for name in ("value", "low", "high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def _cost(row: Results) -> str:
    if "failed" in row:
        return str(row["failed"])
    return f"{_seconds(row['wall_s'])} / {_seconds(row['cpu_s'])}, {row['peak_mb']:,}"


def _seconds(value: float) -> str:
    return f"{value:.4f}" if value < 0.01 else f"{value:.3f}" if value < 1 else f"{value:.1f}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


TABLES: Mapping[str, tuple[str, Callable[[Results], str]]] = {
    "peers": ("peers", peers_table),
    "selection": ("selection", selection_table),
    "replay": ("replay", replay_table),
    "replay_time": ("replay", replay_time_table),
}
"""Where the results of each table lie, and what makes it of them."""

if __name__ == "__main__":
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
