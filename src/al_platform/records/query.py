"""Which runs, with which data, gave which figures: one table over the index of runs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from al_platform.domain.errors import InputError, known_names
from al_platform.records.run_index import RUNS, Figure
from al_platform.stages import STAGE

# What people look at first, and what it is called in the table; all is there by --figure, --json or --sql.
_MAIN: Mapping[str, tuple[tuple[str, str], ...]] = {
    "scoring": (("pool", "pages"),),
    "selection": (("strategy", ""), ("batch.total", "pages")),
    "annotation_ingest": (("answers_taken", "answers"), ("labels", "labels"), ("agreement", "alpha")),
    "preparation": (("splits.train", "train"), ("splits.golden", "golden"), ("splits.audit", "audit")),
    "training": (("epochs", "epochs"),),
    "evaluation": (
        ("verdict", ""),
        ("metrics.macro_f1.value", "macro-F1"),
        ("metrics.macro_f1.low", "from"),
        ("metrics.macro_f1.high", "to"),
    ),
    "promotion": (("verdict", ""), ("promotions", "promotions so far")),
}
_DIGEST_CHARS = 8
_DATE_CHARS = len("2026-11-23")
_PIPED_WIDTH = 160


@dataclass(frozen=True)
class Wanted:
    """Which runs to show; None does not choose.

    Attributes:
        family: Of this family.
        stage: Of this stage.
        cycle: Of this month.
        model: That made or used the model whose digest begins like this.
        dataset: That made or used the data set whose digest begins like this.
        run: Of the Kedro run whose id begins like this.
        superseded: Also those that a later run of the same stage and cycle replaced.
        last: At most so many, the newest; 0 for all.
    """

    family: str | None = None
    stage: str | None = None
    cycle: str | None = None
    model: str | None = None
    dataset: str | None = None
    run: str | None = None
    superseded: bool = False
    last: int = 0


def find_runs(runs: pa.Table, wanted: Wanted) -> list[dict[str, Any]]:
    """Return the runs as rows, oldest first, with figures, inputs, outputs and parameters as mappings."""
    if wanted.stage is not None and wanted.stage not in STAGE:
        raise InputError(f"There is no stage {wanted.stage!r}. {known_names(wanted.stage, STAGE)}")
    rows = runs.to_pylist()
    if not wanted.superseded:
        newest = {(row["family"], row["stage"], row["cycle"]): row["number"] for row in sorted(rows, key=_number)}
        rows = [row for row in rows if row["number"] == newest[row["family"], row["stage"], row["cycle"]]]
    return [_parsed(row) for row in [row for row in rows if _is_wanted(row, wanted)][-wanted.last :]]


def query_runs(runs: pa.Table, sql: str) -> pa.Table:
    """Return what an SQL query answers over the table ``runs``; see ``run_index.RUNS``.

    A figure is read as ``figures->>'metrics.macro_f1.value'``.

    Raises:
        InputError: The query cannot be run.
    """
    # Nothing but the table is in reach of the query.
    with duckdb.connect(config={"enable_external_access": False, "autoload_known_extensions": False}) as connection:
        connection.register("runs", runs)
        try:
            return connection.execute(sql).to_arrow_table()
        except duckdb.Error as error:
            raise InputError(f"The query cannot be run: {error} Columns of runs: {', '.join(RUNS.names)}.") from error


def print_runs(rows: Sequence[Mapping[str, Any]], figures: Sequence[str] = (), console: Console | None = None) -> None:
    """Print one line a run.

    Args:
        rows: Of :func:`find_runs`.
        figures: Names of the figures to show, a column each; by default the main ones of each stage.
        console: Where to; standard output by default.
    """
    table = Table(title="Runs", title_justify="left")
    for name in ("family", "cycle", "stage", "on", "run", "data", "model"):
        table.add_column(name, no_wrap=True)
    for name in figures or ["figures"]:
        table.add_column(name, overflow="fold")
    for row in rows:
        digests = [(row[name] or "-")[:_DIGEST_CHARS] for name in ("dataset", "model")]
        shown = [_text(row["figures"].get(name)) for name in figures] if figures else [_main_figures(row)]
        where = (row["family"], row["cycle"], row["stage"], row["committed_at"][:_DATE_CHARS], row["run_id"][-6:])
        table.add_row(*where, *digests, *shown)
    (console or _console()).print(table)


def print_answer(answer: pa.Table, console: Console | None = None) -> None:
    """Print what an SQL query answered."""
    table = Table()
    for name in answer.column_names:
        table.add_column(name, overflow="fold")
    for row in answer.to_pylist():
        table.add_row(*(_text(value) for value in row.values()))
    (console or _console()).print(table)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=_PIPED_WIDTH)


def _number(row: Mapping[str, Any]) -> int:
    return int(row["number"])


def _is_wanted(row: Mapping[str, Any], wanted: Wanted) -> bool:
    is_equal = all(getattr(wanted, name) in (None, row[name]) for name in ("family", "stage", "cycle"))
    begins = {"model": wanted.model, "dataset": wanted.dataset, "run_id": wanted.run}
    return is_equal and all(start is None or (row[name] or "").startswith(start) for name, start in begins.items())


def _parsed(row: Mapping[str, Any]) -> dict[str, Any]:
    texts = ("figures", "inputs", "outputs", "parameters")
    return {**row, **{name: json.loads(row[name]) for name in texts}}


def _main_figures(row: Mapping[str, Any]) -> str:
    figures: Mapping[str, Figure] = row["figures"]
    shown = [f"{called} {_text(figures[name])}".strip() for name, called in _MAIN[row["stage"]] if name in figures]
    return ", ".join(shown)


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
