"""The champion log for people."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from al_platform.catalog.champion import ChampionEntry

_COLUMNS = ("no.", "for cycles after", "model", "by", "gate's verdict", "reason", "at")


def print_history(entries: Sequence[ChampionEntry], console: Console | None = None) -> None:
    """Print a line an entry, oldest first."""
    console = console or Console()
    if not entries:
        console.print("There was no champion yet.")
        return
    table = Table(title=f"Champions of {entries[0].family}; the last one is in use", title_justify="left")
    for column in _COLUMNS:
        table.add_column(column, overflow="fold")
    for entry in entries:
        table.add_row(*_cells(entry))
    console.print(table, markup=False)


def _cells(entry: ChampionEntry) -> tuple[str, ...]:
    by = "the gate" if entry.kind == "gate" else f"{entry.actor} ({entry.kind.replace('_', ' ')})"
    # A reason may hold square brackets, which are no markup here.
    reason = ("" if entry.kind == "gate" else entry.reason).replace("[", r"\[")
    return (
        *(str(entry.number), entry.cycle, entry.model_digest[:12], by),
        *(entry.verdict or "-", reason, entry.at),
    )
