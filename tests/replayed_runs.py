"""Played runs with numbers chosen by hand."""

from al_platform.domain.estimators import Difference, Estimate
from al_platform.domain.replay.plan import RunSpec
from al_platform.domain.replay.points import CurvePoint, Decision, OnTraffic, PlayedRun, Point


def estimate(value, low=None, high=None):
    return Estimate(
        value=value, low=value if low is None else low, high=value if high is None else high, n=100, set="t"
    )


def on_traffic(value, digest="a"):
    return OnTraffic(digest=digest, macro_f1=estimate(value), accuracy=estimate(value))


def played(strategy, seed, newest, *, curve=(), in_use=None, frozen=0.5, **spec):
    """A run whose newest model has these macro-F1s month by month; none is there in the first month."""
    months = [Point(number=1, cycle="2026-01", labels=50, cost=4.0)]
    for number, value in enumerate(newest, 2):
        used = value if in_use is None else in_use[number - 2]
        month = {"number": number, "cycle": f"2026-{number:02d}", "newest": on_traffic(value)}
        months.append(Point(**month, in_use=on_traffic(used), frozen=on_traffic(frozen), labels=50, cost=4.0))
    learnt = tuple(CurvePoint(labels=labels, cost=labels / 10, macro_f1=estimate(value)) for labels, value in curve)
    months[-1] = months[-1].model_copy(update={"curve": learnt, "labels": 0, "cost": 0.0})
    return PlayedRun(spec=RunSpec(strategy=strategy, seed=seed, **spec), points=tuple(months))


def decision(verdict, gain=None, promoted=None, by_duel=False):
    truth = gain and Difference(point=gain, lower=gain - 0.01, upper=gain + 0.01, confidence=0.95, n=100, set="t")
    return Decision(cycle="2026-01", verdict=verdict, promoted=promoted, by_duel=by_duel, truth=truth)
