"""What more labels would bring, read off a family's learning curves, and where they are best spent."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from al_platform.domain.learning_curve import Curves
from al_platform.domain.metrics import FloatArray

HORIZON_MONTHS = 120
BLOCKS = 200  # in which a common budget is given out


class Expected(BaseModel):
    """A figure with its interval at ``learning_curve.CONFIDENCE``; None stands for never."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: FloatArray) -> "Expected":
        """Return the figure from its values on each possible curve, the best curve first; infinity is never."""
        found = (float(values[0]), float(values.min()), float(values.max()))
        value, low, high = (each if np.isfinite(each) else None for each in found)
        return cls(value=value, low=low, high=high)

    def times(self, factor: float) -> "Expected":
        """Return the figure in another unit; ``factor`` is above 0."""
        value, low, high = (None if each is None else each * factor for each in (self.value, self.low, self.high))
        return Expected(value=value, low=low, high=high)


class Claim(NamedTuple):
    """A family that a common budget may be spent on.

    Attributes:
        curves: Its learning curves.
        n: Training labels there are.
        train_share: Training labels that come of a label; the others are held out.
        answers_per_label: What a label takes.
        weight: What a point of macro-F1 counts, beside other families.
    """

    curves: Curves
    n: float
    train_share: float = 1.0
    answers_per_label: float = 1.0
    weight: float = 1.0

    def worth(self, answers: FloatArray) -> FloatArray:
        """Return the weighted gain of each number of answers."""
        labels = self.n + answers / self.answers_per_label * self.train_share
        return np.asarray(self.weight * (self.curves.error(self.n)[0] - self.curves.error(labels)[0]))


def expected_macro_f1(curves: Curves, n: float) -> Expected:
    """Return macro-F1 at ``n`` training labels."""
    return Expected.of(1 - np.minimum(curves.error(n), 1))


def expected_gain(curves: Curves, n: float, more: float) -> Expected:
    """Return by how much the error falls from ``n`` training labels to ``more`` of them on top."""
    return Expected.of(curves.error(n) - curves.error(n + more))


def labels_to_reach(curves: Curves, n: float, error: float) -> Expected:
    """Return how many training labels on top of ``n`` lead to this error; None where it lies below the asymptote."""
    above = error - curves.a
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        wanted = np.where(above > 0, curves.unit * (curves.b / above) ** (1 / curves.c), np.inf)
    return Expected.of(np.where(curves.error(n) <= error, 0.0, np.maximum(wanted - n, 0)))


def months_until_not_worth(curves: Curves, n: float, monthly: float, worth: float) -> Expected:
    """Return after how many months the next month's labels bring less than ``worth``; None: not in ten years.

    Args:
        curves: Of the family.
        n: Training labels there are.
        monthly: Training labels of a month.
        worth: Least gain of a month.
    """
    months = np.arange(HORIZON_MONTHS + 1, dtype=np.float64)
    error = curves.error(n + monthly * months)  # (K, months)
    is_over = error[:, :-1] - error[:, 1:] < worth
    return Expected.of(np.where(is_over.any(axis=1), is_over.argmax(axis=1), np.inf))


def share_out(total: float, claims: Mapping[str, Claim], blocks: int = BLOCKS) -> dict[str, float]:
    """Return how many of ``total`` answers each family should get: block by block to the one that gains most by it.

    Blocks cost the same for every family and each brings less than the one before, so that no other division into
    blocks gains more (Gross 1956; Fox 1966, "Discrete optimization via marginal analysis").
    """
    block = total / blocks
    steps = block * np.arange(blocks + 1, dtype=np.float64)
    marginal = {name: np.diff(claim.worth(steps)) for name, claim in claims.items()}
    given = dict.fromkeys(claims, 0)
    for _ in range(blocks):
        given[max(given, key=lambda name: float(marginal[name][given[name]]))] += 1
    return {name: number * block for name, number in given.items()}
