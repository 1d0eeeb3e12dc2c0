"""A budget plan for people."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from al_platform.budget.answers import Answers, BudgetPlan, FamilyPlan
from al_platform.budget.plan import QUARTERS, SUBSETS
from al_platform.domain.budget import HORIZON_MONTHS, Expected
from al_platform.domain.learning_curve import CONFIDENCE

_PIPED_WIDTH = 160
_POINTS = 100  # a point is a hundredth of macro-F1
_OF = {
    QUARTERS: "labels as they were selected, evaluated each quarter",
    SUBSETS: "the n-gram model on random subsets of today's training pages, scored on golden; the shape is taken over, "
    "the level is that of the newest evaluation. Selection usually learns faster than this curve, which says nothing "
    "of by how much",
}


def print_plan(plan: BudgetPlan, console: Console | None = None) -> None:
    """Print a line for each curve of each family, the one that counts first, and how a budget is shared."""
    console = console or _console()
    console.print(_curves_table(plan))
    console.print(f"Brackets: {CONFIDENCE:.0%} intervals.", highlight=False, markup=False)
    for name in dict.fromkeys(name for family in plan.families.values() for name in family.curves):
        console.print(f"{name}: {_OF[name]}.", highlight=False, markup=False)
    for note in _notes(plan):
        console.print(note, highlight=False, markup=False)
    if plan.shares is not None:
        console.print(_shares_table(plan))
        if untold := [name for name, family in plan.families.items() if not family.curves]:
            note = "what labels bring there is not known, not that they bring nothing"
            console.print(f"Left out of the sharing: {', '.join(untold)}; {note}.", highlight=False, markup=False)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=_PIPED_WIDTH)


def _curves_table(plan: BudgetPlan) -> Table:
    table = Table(title="What the next labels would bring", title_justify="left")
    for column in ("family", "trained on", "curve of", "macro-F1 now", "next labels", "cost", "gain in points"):
        table.add_column(column)
    if plan.target is not None:
        table.add_column(f"labels to reach {plan.target:g}")
    table.add_column(f"months worth {plan.worth * _POINTS:g} points")
    for name, family in plan.families.items():
        for curve, answers in family.curves.items():
            table.add_row(*_cells(plan, name, family, curve, answers))
        if not family.curves:
            table.add_row(name, f"{family.training_labels:,}", "cannot tell yet")
    return table


def _cells(plan: BudgetPlan, name: str, family: FamilyPlan, curve: str, answers: Answers) -> Iterator[str]:
    yield from (name, f"{family.training_labels:,}", curve)
    yield _text(answers.macro_f1_now, "{:.3f}")
    yield from (f"{family.labels:,}", f"{family.cost:,.2f} {plan.currency}")
    yield _text(answers.gain.times(_POINTS), "{:.2f}")
    if answers.labels_to_target is not None and answers.cost_of_target is not None:
        cost = answers.cost_of_target.value
        price = "" if cost is None else f"\n{cost:,.2f} {plan.currency}"
        yield _text(answers.labels_to_target, "{:,.0f}", "never") + price
    yield _text(answers.months_worth, "{:.0f}", f"over {HORIZON_MONTHS}")


def _text(expected: Expected, form: str, never: str = "") -> str:
    value, low, high = (
        never if each is None else form.format(each) for each in (expected.value, expected.low, expected.high)
    )
    return rf"{value} \[{low}, {high}]"


def _notes(plan: BudgetPlan) -> Iterator[str]:
    for name, family in plan.families.items():
        for curve, needs in family.missing.items():
            yield f"{name}: the curve of {curve} cannot be told yet: it {needs}."
        if family.evaluations_left_out:
            yield (
                f"{name}: {family.evaluations_left_out} evaluations are left out: of another kind of model or set than "
                f"the newest one, or of a training that was run again."
            )
    yield from plan.not_ready.values()


def _shares_table(plan: BudgetPlan) -> Table:
    table = Table(title="How to share the budget", title_justify="left")
    for column in ("family", "weight", "answers", "labels", "cost", "gain in points"):
        table.add_column(column)
    for name, share in (plan.shares or {}).items():
        cost = f"{share.cost:,.2f} {plan.currency}"
        gain = _text(share.gain.times(_POINTS), "{:.2f}")
        table.add_row(name, f"{share.weight:g}", f"{share.answers:,}", f"{share.labels:,}", cost, gain)
    return table
