"""What a replay says: strategies against random, labels saved, the gate against the truth, a stale model's loss."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from al_platform.domain.errors import InputError
from al_platform.domain.estimators import wilson
from al_platform.domain.replay.conclusions import conclude
from al_platform.domain.replay.paired import Mean, paired, student
from al_platform.domain.replay.plan import RANDOM, Setting
from al_platform.domain.replay.points import CurvePoint, OnTraffic, PlayedRun, Point, Record
from al_platform.domain.replay.saved import Reached, Saved, labels_saved, reached

Told = Callable[[Point], OnTraffic | None]


class Month(Record):
    """Macro-F1 on one month's traffic, over the seeds; None where there was no such model."""

    cycle: str
    in_use: Mean | None
    newest: Mean | None
    frozen: Mean | None


class CurveMean(Record):
    """The learning curve of a setting at one training: on the traffic of the month after the last."""

    labels: float
    macro_f1: Mean


class Gate(Record):
    """How often challengers were promoted and refused, and how often the truth agrees.

    Attributes:
        trainings: All of them.
        promoted: By the gate.
        by_duel: By a duel.
        iterate: Verdicts.
        reject: Verdicts.
        duels: Batches that held a duel.
        judged: Trainings with a champion to compare with, and a month after.
        wrong_promotions: Of those promoted, challengers that were truly worse beyond ``margin`` on the next month.
        missed: Of those not promoted, challengers that were truly better, interval and all.
        margin: Loss of macro-F1 that counts as none.
    """

    trainings: int
    promoted: int
    by_duel: int
    iterate: int
    reject: int
    duels: int
    judged: int
    wrong_promotions: int
    missed: int
    margin: float


class SettingFigures(Record):
    """All that is said of a strategy with a budget and a cadence.

    Attributes:
        setting: Which.
        months: By cycle.
        newest: Mean over months of the newest model's macro-F1, over the seeds: what the labels taught.
        in_use: The same of the champion in use: what traffic got.
        last: Of the last trained model on the traffic of the month after the last.
        labels: Pages sent for labelling, mean over the seeds.
        cost: Mean over the seeds.
        curve: Labels against macro-F1 on the traffic of the month after the last.
        against_random: Mean over months of the newest model, minus random's of the same seed.
        in_use_against_random: The same of the champion in use.
        target: Labels and cost to the target.
        saved: Labels saved against random.
        against_frozen: Champion in use minus the first champion, in the last month.
        gate: Promotions and refusals.
    """

    setting: Setting
    months: tuple[Month, ...]
    newest: Mean | None
    in_use: Mean | None
    last: Mean | None
    labels: float
    cost: float
    curve: tuple[CurveMean, ...]
    against_random: Mean | None
    in_use_against_random: Mean | None
    target: Reached
    saved: Saved | None
    against_frozen: Mean | None
    gate: Gate


class Coverage(Record):
    """How often the audit's interval of a month held the true accuracy of the model in use; nominally 95 %."""

    held: int
    months: int
    low: float
    high: float


class Time(Record):
    """What the replay took, summed over the months of all runs.

    Attributes:
        stages_cpu_s: Processor seconds of the stages' nodes.
        cpu_s: Processor seconds of all.
        wall_s: Seconds, where several processes were at work counted for each.
        overhead: What all else takes beside the stages, as a share of their processor seconds.
    """

    stages_cpu_s: float
    cpu_s: float
    wall_s: float
    overhead: float


class ReplayFigures(Record):
    """The figures of a replay.

    Attributes:
        name: Of the replay.
        family: The model family.
        about: What it ran on: archive, options, code and libraries.
        conclusions: In plain words; the first says who did best, random included.
        cycles: The months, and the one after that is only measured.
        seeds: Runs of each setting.
        settings: All of them, the base strategies first.
        base: How many of them are the base strategies; the others try a budget or a cadence.
        target: Macro-F1 that labels are counted up to; None for what random reached.
        coverage: Of the audit's intervals.
        time: What it took.
        unit: Currency of costs.
    """

    name: str
    family: str
    about: dict[str, Any]
    conclusions: tuple[str, ...]
    cycles: tuple[str, ...]
    seeds: int
    settings: tuple[SettingFigures, ...]
    base: int
    target: float | None
    coverage: Coverage | None
    time: Time
    unit: str


def replay_figures(
    runs: Sequence[PlayedRun],
    *,
    name: str,
    family: str,
    about: Mapping[str, Any],
    target: float | None = None,
    margin: float = 0.005,
    unit: str = "",
) -> ReplayFigures:
    """Return the figures of played runs.

    Args:
        runs: All runs, in the order of the plan.
        name: Of the replay.
        family: The model family.
        about: What it ran on.
        target: Macro-F1 to count labels up to; None takes what random reached with all its labels.
        margin: Loss that counts as none.
        unit: Currency.

    Raises:
        InputError: No run was played.
    """
    if not runs:
        raise InputError("No run was played, so there is nothing to compare.")
    by_setting: dict[Setting, dict[int, PlayedRun]] = {}
    for run in runs:
        by_setting.setdefault(run.spec.setting, {})[run.spec.seed] = run
    first = next(iter(by_setting))
    base = [each for each in by_setting if (each.budget, each.cadence) == (first.budget, first.cadence)]
    random = next((by_setting[each] for each in base if each.strategy == RANDOM), None)
    goals = _goals(by_setting[first], random, target)
    settings = tuple(_setting(each, by_setting[each], random, goals, margin) for each in by_setting)
    ordered = tuple(sorted(settings, key=lambda found: found.setting not in base))
    coverage = _coverage(runs)
    return ReplayFigures(
        name=name,
        family=family,
        about=dict(about),
        conclusions=conclude(ordered[: len(base)], ordered[len(base) :], coverage, unit),
        cycles=tuple(point.cycle for point in runs[0].points),
        seeds=len(by_setting[first]),
        settings=ordered,
        base=len(base),
        target=target,
        coverage=coverage,
        time=_time(runs),
        unit=unit,
    )


def _goals(
    any_runs: Mapping[int, PlayedRun], random: Mapping[int, PlayedRun] | None, target: float | None
) -> dict[int, float]:
    """Return the macro-F1 to reach, by seed: the target, or what random reached with all its labels."""
    if target is not None:
        return dict.fromkeys(any_runs, target)
    curves = {seed: curve_of(run) for seed, run in (random or {}).items()}
    return {seed: curve[-1].macro_f1.value for seed, curve in curves.items() if curve}


def curve_of(run: PlayedRun) -> tuple[CurvePoint, ...]:
    """Return the learning curve of a run."""
    return run.points[-1].curve if run.points else ()


def _setting(
    setting: Setting,
    runs: Mapping[int, PlayedRun],
    random: Mapping[int, PlayedRun] | None,
    goals: Mapping[int, float],
    margin: float,
) -> SettingFigures:
    others = random if random is not None and random is not runs else None
    curves = {seed: curve_of(run) for seed, run in runs.items()}
    played = [run.points for run in runs.values()]
    return SettingFigures(
        setting=setting,
        months=tuple(_month(points) for points in zip(*played, strict=True)),
        newest=student(_year(run, _newest) for run in runs.values()),
        in_use=student(_year(run, _in_use) for run in runs.values()),
        last=student(curve[-1].macro_f1.value if curve else None for curve in curves.values()),
        labels=float(np.mean([sum(point.labels for point in points) for points in played])),
        cost=float(np.mean([sum(point.cost for point in points) for points in played])),
        curve=_mean_curve(list(curves.values())),
        against_random=paired(_years(runs, _newest), _years(others, _newest)) if others else None,
        in_use_against_random=paired(_years(runs, _in_use), _years(others, _in_use)) if others else None,
        target=reached(curves, goals),
        saved=labels_saved(curves, {seed: curve_of(run) for seed, run in others.items()}, goals) if others else None,
        against_frozen=student(_gain_over_frozen(run) for run in runs.values()),
        gate=_gate([point for points in played for point in points], margin),
    )


def _newest(point: Point) -> OnTraffic | None:
    return point.newest


def _in_use(point: Point) -> OnTraffic | None:
    return point.in_use


def _frozen(point: Point) -> OnTraffic | None:
    return point.frozen


def _month(points: Sequence[Point]) -> Month:
    return Month(
        cycle=points[0].cycle,
        in_use=_mean_of(points, _in_use),
        newest=_mean_of(points, _newest),
        frozen=_mean_of(points, _frozen),
    )


def _mean_of(points: Sequence[Point], told: Told) -> Mean | None:
    found = [figure for point in points if (figure := told(point)) is not None]
    if len(found) == 1:
        # One seed: the only uncertainty known is that of the pages.
        only = found[0].macro_f1
        return Mean(value=only.value, low=only.low, high=only.high, n=1, values=(only.value,))
    return student(figure.macro_f1.value for figure in found)


def _year(run: PlayedRun, told: Told) -> float | None:
    found = [figure.macro_f1.value for point in run.points if (figure := told(point)) is not None]
    return float(np.mean(found)) if found else None


def _years(runs: Mapping[int, PlayedRun], told: Told) -> dict[int, float]:
    years = {seed: _year(run, told) for seed, run in runs.items()}
    return {seed: year for seed, year in years.items() if year is not None}


def _gain_over_frozen(run: PlayedRun) -> float | None:
    last = run.points[-1]
    if last.in_use is None or last.frozen is None:
        return None
    return last.in_use.macro_f1.value - last.frozen.macro_f1.value


def _mean_curve(curves: Sequence[Sequence[CurvePoint]]) -> tuple[CurveMean, ...]:
    means = []
    for points in zip(*curves, strict=False):
        macro_f1 = student(point.macro_f1.value for point in points)
        if macro_f1 is not None:
            means.append(CurveMean(labels=float(np.mean([point.labels for point in points])), macro_f1=macro_f1))
    return tuple(means)


def _gate(points: Iterable[Point], margin: float) -> Gate:
    points = list(points)
    decisions = [point.decision for point in points if point.decision is not None]
    judged = [(found, found.truth) for found in decisions if found.truth is not None]
    return Gate(
        trainings=len(decisions),
        promoted=sum(found.promoted is not None and not found.by_duel for found in decisions),
        by_duel=sum(found.by_duel for found in decisions),
        iterate=sum(found.verdict == "iterate" for found in decisions),
        reject=sum(found.verdict == "reject" for found in decisions),
        duels=sum(point.is_duel for point in points),
        judged=len(judged),
        wrong_promotions=sum(found.verdict == "promote" and truth.upper < -margin for found, truth in judged),
        missed=sum(found.verdict != "promote" and truth.lower > 0 for found, truth in judged),
        margin=margin,
    )


def _coverage(runs: Sequence[PlayedRun]) -> Coverage | None:
    pairs = [
        (point.audit, point.audit_truth)
        for run in runs
        for point in run.points
        if point.audit is not None and point.audit_truth is not None
    ]
    if not pairs:
        return None
    held = sum(audit.low <= truth <= audit.high for audit, truth in pairs)
    low, high = wilson(held, len(pairs))
    return Coverage(held=held, months=len(pairs), low=low, high=high)


def _time(runs: Sequence[PlayedRun]) -> Time:
    points = [point for run in runs for point in run.points]
    stages, cpu, wall = (sum(getattr(point, name) for point in points) for name in ("stages_cpu_s", "cpu_s", "wall_s"))
    return Time(
        stages_cpu_s=round(stages, 1),
        cpu_s=round(cpu, 1),
        wall_s=round(wall, 1),
        overhead=round(cpu / stages - 1, 4) if stages else 0.0,
    )
