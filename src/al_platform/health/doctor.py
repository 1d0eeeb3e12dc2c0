"""Look over the stores: what interrupted runs left, and what is missing or was changed."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

from rich.console import Console

from al_platform.health.commits import read_commits
from al_platform.health.damage import find_damage, outputs_of
from al_platform.health.erasing import find_damaged, find_unfinished, read_tombstones
from al_platform.health.leftovers import Record, find_leftovers, look, remove_leftovers
from al_platform.health.problem import Problem
from al_platform.health.stores import TendedStores


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        leftovers: What interrupted runs left and is still there.
        removed: What of it was removed.
        damage: What is missing or was changed.
        to_finish: Erasures that were killed halfway.
        at_work: Attempts of runs at work, below their class of data: no problem.
        notes: What could not be decided, and what else to know.
        entries: How many log entries were read.
        outputs: How many outputs were looked at.
    """

    leftovers: tuple[Problem, ...]
    removed: tuple[Problem, ...]
    damage: tuple[Problem, ...]
    to_finish: tuple[Problem, ...]
    at_work: tuple[str, ...]
    notes: tuple[str, ...]
    entries: int
    outputs: int

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left to do."""
        return not self.leftovers and not self.damage and not self.to_finish


def diagnose(
    stores: TendedStores, patience: timedelta, *, fix: bool = False, quick: bool = False, record: Record | None = None
) -> Diagnosis:
    """Return what is wrong with the stores.

    Args:
        stores: What to look at.
        patience: For how long a run that cannot be looked at from here, or an unfinished write, is taken to be at work.
        fix: Remove leftovers.
        quick: Hash no outputs and no models.
        record: Leaves a line in the audit log before each removal.
    """
    lying = look(stores, patience)
    commits = read_commits(stores)
    leftovers = find_leftovers(stores, lying, commits, patience)
    removed = remove_leftovers(stores, leftovers, patience, record) if fix else []
    tombstones = read_tombstones(stores)
    return Diagnosis(
        leftovers=tuple(problem for problem in leftovers.found if problem not in removed),
        removed=tuple(removed),
        damage=(*find_damage(stores, commits, quick), *find_damaged(tombstones)),
        to_finish=tuple(find_unfinished(stores, tombstones, quick)),
        at_work=tuple(f"{attempt.data_class}/{attempt.path}" for attempt in leftovers.at_work),
        notes=(*leftovers.notes, *stores.beyond(commits.families)),
        entries=len(commits.of_stages) + len(commits.of_champions),
        outputs=len(outputs_of(commits)),
    )


def as_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return the diagnosis as ``kedro al doctor --json`` prints it."""
    return {"is_clean": diagnosis.is_clean, **asdict(diagnosis)}


def print_diagnosis(diagnosis: Diagnosis, console: Console | None = None) -> None:
    """Print what was found and what to do, the worst first, and a line that sums up."""
    console = console or Console()
    _print_problems(console, "Damage: nothing of this is removed", diagnosis.damage)
    _print_problems(console, "To finish", diagnosis.to_finish)
    _print_problems(console, "Leftovers", diagnosis.leftovers)
    _print_problems(console, "Removed", [replace(problem, remedy="") for problem in diagnosis.removed])
    _print_lines(console, "At work, as far as can be told: left alone", diagnosis.at_work)
    _print_lines(console, "Notes", diagnosis.notes)
    _print(console, _summary(diagnosis))


def _summary(diagnosis: Diagnosis) -> str:
    looked = f"{diagnosis.entries:,} log entries and {diagnosis.outputs:,} outputs were looked at"
    if diagnosis.is_clean:
        return f"The stores are sound: {looked}."
    to_finish = f", {len(diagnosis.to_finish)} to finish" if diagnosis.to_finish else ""
    return f"{len(diagnosis.damage)} damaged, {len(diagnosis.leftovers)} left over{to_finish}: {looked}."


def _print_problems(console: Console, title: str, problems: Iterable[Problem]) -> None:
    lines = [
        f"{problem.kind} {problem.data_class}/{problem.path}: {problem.detail}. {problem.remedy}".rstrip()
        for problem in problems
    ]
    _print_lines(console, title, lines)


def _print_lines(console: Console, title: str, lines: Iterable[str]) -> None:
    for number, line in enumerate(lines):
        if number == 0:
            _print(console, f"{title}:")
        _print(console, f"  {line}")


def _print(console: Console, line: str) -> None:
    # Paths and errors may hold square brackets, which are no markup here.
    console.print(line, markup=False, highlight=False, soft_wrap=True)
