"""Means over seeds, and differences of runs that share a seed, with Student intervals."""

from collections.abc import Iterable, Mapping

import numpy as np
import scipy  # its submodules are loaded when they are used

from al_platform.domain.replay.points import Record

CONFIDENCE = 0.95


class Mean(Record):
    """A mean over seeds with its two-sided 95 % Student interval; with one seed the interval is of the pages, or none.

    Attributes:
        value: The mean.
        low: Lower end.
        high: Upper end.
        n: Seeds.
        values: One a seed.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    values: tuple[float, ...]

    @property
    def is_above_zero(self) -> bool:
        """Whether the whole interval is."""
        return self.low is not None and self.low > 0

    @property
    def is_below_zero(self) -> bool:
        """Whether the whole interval is."""
        return self.high is not None and self.high < 0


def student(values: Iterable[float | None]) -> Mean | None:
    """Return the mean of the values that are there; None where there are none."""
    known = tuple(float(value) for value in values if value is not None)
    if not known:
        return None
    mean = float(np.mean(known))
    if len(known) == 1:
        return Mean(value=mean, low=None, high=None, n=1, values=known)
    reach = float(scipy.special.stdtrit(len(known) - 1, (1 + CONFIDENCE) / 2))
    half = reach * float(np.std(known, ddof=1)) / len(known) ** 0.5
    return Mean(value=mean, low=mean - half, high=mean + half, n=len(known), values=known)


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Mean | None:
    """Return ours minus theirs over the seeds that both have."""
    return student(ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys()))
