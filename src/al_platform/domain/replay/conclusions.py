"""A replay's conclusions in plain words: who did best first, also where that is random."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from al_platform.domain.replay.paired import Mean
from al_platform.domain.replay.plan import RANDOM

if TYPE_CHECKING:
    from al_platform.domain.replay.figures import Coverage, SettingFigures

NOMINAL = 0.95


def conclude(
    base: Sequence["SettingFigures"],
    variants: Sequence["SettingFigures"],
    coverage: "Coverage | None",
    unit: str,
) -> tuple[str, ...]:
    """Return what the figures say, most important first.

    Args:
        base: The strategies that are compared with one another.
        variants: Other budgets and cadences of one of them.
        coverage: Of the audit's intervals.
        unit: Currency.
    """
    said = [_winner(base), *(_saved(found) for found in base if found.saved), _stale(base)]
    said += [_effect(found, _like(found, base), unit) for found in variants]
    if coverage and coverage.high < NOMINAL:
        said.append(
            f"The audit's 95 % intervals held the true accuracy in {coverage.held} of {coverage.months} months only: "
            f"errors of annotators bias the audit, and its figures are too sure."
        )
    return tuple(line for line in said if line)


def _winner(base: Sequence["SettingFigures"]) -> str:
    measured = [found for found in base if found.newest is not None]
    if not measured:
        return "No model was trained before the last month, so there is nothing to compare."
    best = max(measured, key=lambda found: found.newest.value if found.newest else 0.0)
    random = next((found for found in measured if found.setting.strategy == RANDOM), None)
    if measured == [random]:
        return "Only random was played, so there is nothing to compare it with: name a strategy as well."
    if random is None:
        return f"{best.setting.strategy} did best, but was not compared with random: add it to the strategies."
    if best is random:
        return _random_wins([found for found in measured if found is not random])
    difference = best.against_random
    assert difference is not None
    rest = [found for found in measured if found not in (best, random)]
    behind = [found.setting.strategy for found in rest if found.against_random and found.against_random.value < 0]
    tail = f" Random did better than {' and '.join(behind)}." if behind else ""
    if difference.is_above_zero:
        return (
            f"{best.setting.strategy} beats random by {_points(difference)} of macro-F1 on traffic, mean over the "
            f"year, and chance alone does not explain it.{tail}"
        )
    return (
        f"No strategy is shown to beat random. Best was {best.setting.strategy}, by {_points(difference)} of macro-F1 "
        f"on traffic, mean over the year, which may be chance{_more(difference)}.{tail}"
    )


def _random_wins(others: Sequence["SettingFigures"]) -> str:
    nearest = max(others, key=lambda found: found.against_random.value if found.against_random else 0.0)
    difference = nearest.against_random
    assert difference is not None
    sure = (
        "and chance alone does not explain it"
        if difference.is_below_zero
        else f"which may be chance{_more(difference)}"
    )
    return (
        f"Random selection did best. The nearest strategy, {nearest.setting.strategy}, lies {_points(difference)} of "
        f"macro-F1 on traffic from it, mean over the year, {sure}. On this archive, choosing pages brought nothing."
    )


def _saved(found: "SettingFigures") -> str:
    saved, name = found.saved, found.setting.strategy
    if saved is None:
        return ""
    if saved.labels is None or saved.share is None:
        return f"{name} saved no labels against random: in no seed did both reach the target."
    kind = "saves" if saved.labels.value >= 0 else "costs"
    sure = "" if saved.labels.is_above_zero or saved.labels.is_below_zero else ", which may be chance"
    missed = f" In {saved.only_random} more it never got there." if saved.only_random else ""
    return (
        (
            f"To what random reaches with all its labels, {name} {kind} {abs(saved.labels.value):.0f} labels "
            f"({abs(saved.share.value):.0%} of random's), over {_seeds(saved.compared)}{sure}.{missed}"
        )
        if found.target.of
        else ""
    )


def _stale(base: Sequence["SettingFigures"]) -> str:
    found = max(
        (each for each in base if each.against_frozen is not None),
        key=lambda each: each.in_use.value if each.in_use else 0.0,
        default=None,
    )
    if found is None or found.against_frozen is None:
        return ""
    gain = found.against_frozen
    if not any(gain.values):
        return (
            f"With {found.setting.strategy}, the champion of the last month is the first one still: no later model was "
            f"promoted, or none that answers otherwise."
        )
    if gain.value <= 0:
        return (
            f"Retraining brought nothing in the end: with {found.setting.strategy} the first champion, left as it was, "
            f"would have scored {abs(100 * gain.value):.1f} points more or the same in the last month."
        )
    sure = "" if gain.is_above_zero else ", which may be chance"
    return (
        f"The first champion, left as it was, would have scored {_points(gain)} less in the last month than the "
        f"champion in use with {found.setting.strategy}{sure}."
    )


def _like(variant: "SettingFigures", base: Sequence["SettingFigures"]) -> "SettingFigures | None":
    return next((found for found in base if found.setting.strategy == variant.setting.strategy), None)


def _effect(variant: "SettingFigures", base: "SettingFigures | None", unit: str) -> str:
    if base is None or variant.in_use is None or base.in_use is None:
        return ""
    what = (
        f"a budget of {variant.setting.budget} pages a month"
        if variant.setting.budget != base.setting.budget
        else f"training every {variant.setting.cadence} months"
    )
    move = 100 * (variant.in_use.value - base.in_use.value)
    money = variant.cost - base.cost
    return (
        f"With {what}, the champion in use scores {move:+.1f} points over the year, for {money:+,.0f} {unit} and "
        f"{variant.labels - base.labels:+,.0f} labels."
    )


def _seeds(n: int) -> str:
    return "1 seed" if n == 1 else f"{n} seeds"


def _points(mean: Mean) -> str:
    interval = "" if mean.low is None or mean.high is None else f" [{100 * mean.low:.1f}, {100 * mean.high:.1f}]"
    return f"{100 * mean.value:.1f} points{interval}"


def _more(mean: Mean) -> str:
    return "; more seeds would tell" if mean.n < 10 else ""  # noqa: PLR2004
