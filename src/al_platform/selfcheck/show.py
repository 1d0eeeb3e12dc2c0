"""The score for people and for other programs."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from al_platform.selfcheck.checks import missing
from al_platform.selfcheck.grade import Score

_PIPED_WIDTH = 160
_MARKS = {0: "[red]0[/]", 0.5: "[yellow]0.5[/]", 1: "[green]1[/]"}


def as_json(score: Score) -> dict[str, Any]:
    """Return the score as ``kedro al selfcheck --json`` prints it."""
    return {"score": score.value, "band": score.band, "sections": dict(score.sections), **score.model_dump(mode="json")}


def print_score(score: Score, console: Console | None = None) -> None:
    """Print every check with its evidence, what to do for more, and the score."""
    console = console or _console()
    table = Table(title="ML Test Score (Breck et al. 2017)", title_justify="left")
    for name in ("section", "check", "points", "evidence"):
        table.add_column(name, overflow="fold", no_wrap=name == "points")
    for check in score.checks:
        table.add_row(check.section, check.title, _MARKS[check.grade.points], escape(check.grade.seen))
    console.print(table)
    for check in missing(score):
        console.print(f"{check.id}: {check.grade.todo}", markup=False, highlight=False, soft_wrap=True)
    sums = ", ".join(f"{name} {points:g}" for name, points in score.sections.items())
    console.print(f"{sums}; the smallest is the score.", markup=False, highlight=False)
    console.print(f"Score {score.value:g}: {score.band}.", markup=False, highlight=False, soft_wrap=True)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=_PIPED_WIDTH)
