"""Labels and cost that a learning curve needs to reach a level of macro-F1, and what is saved against random."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from al_platform.domain.replay.paired import Mean, student
from al_platform.domain.replay.points import CurvePoint, Record


class Need(NamedTuple):
    """What was needed to reach a level."""

    labels: float
    cost: float


class Reached(Record):
    """Labels and cost to the target, over the seeds that reached it."""

    labels: Mean | None
    cost: Mean | None
    reached: int
    of: int


class Saved(Record):
    """Labels that random needed, minus ours, seed by seed, over the seeds in which both reached the target.

    Attributes:
        labels: Positive where ours needed fewer.
        share: Of random's labels.
        compared: Seeds in which both reached it.
        only_ours: Seeds in which random never did.
        only_random: Seeds in which ours never did: its savings would be negative, so that the mean is too kind to it.
    """

    labels: Mean | None
    share: Mean | None
    compared: int
    only_ours: int
    only_random: int


def need(curve: Sequence[CurvePoint], goal: float) -> Need | None:
    """Return labels and cost at which a curve first reaches ``goal``, on straight lines between its points.

    None where it never does. A first point that is there already needs its own labels: nothing before it was measured.
    """
    if not curve:
        return None
    if curve[0].macro_f1.value >= goal:
        return Need(curve[0].labels, curve[0].cost)
    for before, after in pairwise(curve):
        low, high = before.macro_f1.value, after.macro_f1.value
        if high >= goal:
            share = (goal - low) / (high - low)
            return Need(
                before.labels + share * (after.labels - before.labels), before.cost + share * (after.cost - before.cost)
            )
    return None


def reached(curves: Mapping[int, Sequence[CurvePoint]], goals: Mapping[int, float]) -> Reached:
    """Return what it took to reach the goal of each seed."""
    seeds = sorted(curves.keys() & goals.keys())
    needs = [found for seed in seeds if (found := need(curves[seed], goals[seed])) is not None]
    return Reached(
        labels=student(found.labels for found in needs),
        cost=student(found.cost for found in needs),
        reached=len(needs),
        of=len(seeds),
    )


def labels_saved(
    ours: Mapping[int, Sequence[CurvePoint]], random: Mapping[int, Sequence[CurvePoint]], goals: Mapping[int, float]
) -> Saved:
    """Return what random needed more, seed by seed."""
    seeds = sorted(ours.keys() & random.keys() & goals.keys())
    pairs = [(need(ours[seed], goals[seed]), need(random[seed], goals[seed])) for seed in seeds]
    both = [(mine, theirs) for mine, theirs in pairs if mine is not None and theirs is not None]
    return Saved(
        labels=student(theirs.labels - mine.labels for mine, theirs in both),
        share=student(1 - mine.labels / theirs.labels for mine, theirs in both if theirs.labels),
        compared=len(both),
        only_ours=sum(mine is not None and theirs is None for mine, theirs in pairs),
        only_random=sum(mine is None and theirs is not None for mine, theirs in pairs),
    )
