"""Two models on the same rows: how much better the challenger is, and how sure that is.

The interval of a difference in F1 is made of influences: how far one page moves the figure (Hampel 1974; the
infinitesimal jackknife of Efron 1982, ch. 6). Two things make its bounds hold with the few pages of a rare class, where
those of the bootstrap are too narrow:

- As Agresti and Min (2005, "Simple improved confidence intervals for comparing matched proportions") add half a row to
  each cell of a paired table, the variance gets, for each class, half a page that only the champion finds and half a
  page that only the challenger finds. Two models that agree on the handful of pages of a class are not known to agree
  on all.
- The bounds are read at ``SAFETY`` of the error that is asked for.

``make bench-gate`` measures how often the bounds are wrong.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy  # its submodules are loaded when they are used
from numpy.typing import NDArray

from al_platform.domain.errors import InputError
from al_platform.domain.estimators import CONFIDENCE, Difference
from al_platform.domain.metrics import BoolArray, FloatArray, checked_weights

PSEUDO_PAGES = 0.5  # Agresti and Min 2005
SAFETY = 0.9  # without it 5.0 % of bounds at 95 % are wrong in places, and no number of trials shows less than 5 %
DIGITS = 9  # what is below is noise: products of matrices are summed in an order that depends on where memory lies


class Gain(NamedTuple):
    """A difference, challenger minus champion, and its standard error; arrays of shape (C,) where it is by class."""

    point: FloatArray
    standard_error: FloatArray

    def bounds(self, confidence: float) -> tuple[FloatArray, FloatArray]:
        """Return lower and upper bound, each one-sided at ``confidence``."""
        reach = np.asarray(float(scipy.special.ndtri(1 - (1 - confidence) * SAFETY)) * self.standard_error)
        return np.asarray(self.point - reach), np.asarray(self.point + reach)

    def p_of_harm(self, margin: float = 0.0) -> FloatArray:
        """Return how likely a loss as large as the one found is where the true loss is no more than ``margin``."""
        distance = (self.point + margin) / np.maximum(self.standard_error, np.finfo(np.float64).tiny)
        return np.asarray(np.round(np.minimum(scipy.special.ndtr(distance) / SAFETY, 1), DIGITS))


class _Side(NamedTuple):
    """One model: its F1 and one over the pages true or given, (..., C); what each row adds to both, (N, C)."""

    f1: FloatArray
    scale: FloatArray
    hits: FloatArray
    marks: FloatArray

    @property
    def share(self) -> FloatArray:
        """One over the number of classes that macro-F1 is the mean of, (..., 1)."""
        return np.asarray(1 / np.maximum(1, (self.scale > 0).sum(axis=-1, keepdims=True)))

    @property
    def macro_f1(self) -> FloatArray:
        """Macro-F1, (...)."""
        return np.asarray((self.f1 * self.share).sum(axis=-1))

    @property
    def influence(self) -> FloatArray:
        """How far each row moves the F1 of each class, (N, C): w (2 tp - F1 (given + true)) / sum of (given + true)."""
        return np.asarray((2 * self.hits - self.marks * self.f1) * self.scale)

    @property
    def macro_influence(self) -> FloatArray:
        """How far each row moves macro-F1, (..., N)."""
        scale = self.scale * self.share
        return np.asarray(2 * scale @ self.hits.T - (self.f1 * scale) @ self.marks.T)


def macro_f1_difference(
    truth: BoolArray,
    champion_decisions: BoolArray,
    challenger_decisions: BoolArray,
    *,
    set_name: str,
    weights: FloatArray | None = None,
    confidence: float = CONFIDENCE,
    is_constant: bool = False,
) -> Difference:
    """Return challenger minus champion in macro-F1, with bounds that need no resampling.

    Args:
        truth: Boolean (N, C).
        champion_decisions: Boolean (N, C).
        challenger_decisions: Boolean (N, C).
        set_name: The set the rows are from.
        weights: One over the inclusion probabilities where rows were drawn unequally.
        confidence: Of each bound alone: the true difference is above ``lower`` in this share of samples.
        is_constant: Whether the champion gives every page the same answer, so that it is known what it finds.

    Raises:
        InputError: No rows, or shapes or weights that do not fit.
    """
    gain = macro_f1_gains(truth, champion_decisions, challenger_decisions, weights=weights, is_constant=is_constant)
    return as_difference(gain, confidence, len(truth), set_name)


def macro_f1_gains(
    truth: BoolArray,
    champion_decisions: BoolArray,
    challenger_decisions: BoolArray,
    *,
    weights: FloatArray | None = None,
    counts: FloatArray | None = None,
    is_constant: bool = False,
) -> Gain:
    """Return challenger minus champion in macro-F1 for one or several samples of the same rows.

    Args:
        truth: Boolean (N, C).
        champion_decisions: Boolean (N, C).
        challenger_decisions: Boolean (N, C).
        weights: See :func:`macro_f1_difference`.
        counts: How often each row is in each sample, (..., N); once in a single one by default.
        is_constant: See :func:`macro_f1_difference`.

    Returns:
        Arrays of shape (...).
    """
    row_weights = checked_weights(truth, champion_decisions, weights)
    checked_weights(truth, challenger_decisions, weights)
    times = np.ones(len(truth)) if counts is None else counts
    champion, challenger = (
        _side(truth, found, row_weights, times) for found in (champion_decisions, challenger_decisions)
    )
    rows = challenger.macro_influence - champion.macro_influence
    mean_weight = (times @ row_weights / times.sum(axis=-1))[..., None]
    shares = (champion.share, challenger.share)
    pseudo = _pseudo_variance(champion, challenger, mean_weight, *shares, is_constant=is_constant)
    variance = (times * rows**2).sum(axis=-1) + pseudo.sum(axis=-1)
    return Gain(challenger.macro_f1 - champion.macro_f1, np.sqrt(variance))


def class_f1_gains(
    truth: BoolArray,
    champion_decisions: BoolArray,
    challenger_decisions: BoolArray,
    weights: FloatArray | None = None,
) -> Gain:
    """Return challenger minus champion in the F1 of each class, (C,); see :func:`macro_f1_difference`."""
    row_weights = checked_weights(truth, champion_decisions, weights)
    checked_weights(truth, challenger_decisions, weights)
    times = np.ones(len(truth))
    champion, challenger = (
        _side(truth, found, row_weights, times) for found in (champion_decisions, challenger_decisions)
    )
    variance = ((challenger.influence - champion.influence) ** 2).sum(axis=0)
    variance += _pseudo_variance(champion, challenger, row_weights.mean())
    return Gain(challenger.f1 - champion.f1, np.sqrt(variance))


def micro_f1_gain(
    truth: BoolArray,
    champion_decisions: BoolArray,
    challenger_decisions: BoolArray,
    weights: FloatArray | None = None,
) -> Gain:
    """Return challenger minus champion in micro-F1, the share right where a page has one label.

    All classes count as one, whose pages are the pairs of page and label; their variance is that of pages.
    """
    row_weights = checked_weights(truth, champion_decisions, weights)
    checked_weights(truth, challenger_decisions, weights)
    champion, challenger = (_pooled(truth, found, row_weights) for found in (champion_decisions, challenger_decisions))
    rows = (challenger.influence - champion.influence).reshape(truth.shape).sum(axis=1)
    pseudo = _pseudo_variance(champion, challenger, row_weights.mean()).sum()
    return Gain(challenger.macro_f1 - champion.macro_f1, np.sqrt((rows**2).sum() + pseudo))


def as_difference(gain: Gain, confidence: float, n: int, set_name: str) -> Difference:
    """Return a single gain with its bounds, the number of rows and the set it is from."""
    point, lower, upper = (round(float(bound), DIGITS) for bound in (gain.point, *gain.bounds(confidence)))
    return Difference(point=point, lower=lower, upper=upper, confidence=confidence, n=n, set=set_name)


def tango(only_challenger: float, only_champion: float, n: float, confidence: float) -> tuple[float, float]:
    """Return one-sided bounds of a difference of paired shares: the score interval of Tango (1998, eq. 6 and 8).

    Args:
        only_challenger: Rows on which the challenger alone is right.
        only_champion: Rows on which the champion alone is right.
        n: All rows; may be an effective number.
        confidence: Of each bound alone.

    Raises:
        InputError: The counts do not fit into ``n``.
    """
    if min(only_challenger, only_champion) < 0 or only_challenger + only_champion > n * (1 + 1e-12) or n <= 0:
        raise InputError(
            f"A paired table needs 0 <= counts and their sum <= n, found {only_challenger} and {only_champion} of {n}."
        )
    z = float(scipy.special.ndtri(confidence))
    point = (only_challenger - only_champion) / n

    def bound(sign: float) -> float:
        end = sign * (1 - 1e-12)

        def excess(delta: float) -> float:
            return _tango_score(only_challenger, only_champion, n, delta) + sign * z

        if sign * point >= 1 or sign * excess(end) > 0:
            return sign
        return float(scipy.optimize.brentq(excess, point, end, xtol=1e-12))

    return bound(-1.0), bound(1.0)


def paired_recall_difference(
    truth: BoolArray,
    champion_decisions: BoolArray,
    challenger_decisions: BoolArray,
    *,
    set_name: str,
    confidence: float = CONFIDENCE,
) -> Difference | None:
    """Return challenger minus champion in recall, over all true pairs of page and label; None without any.

    Bounds are Tango's. Labels of one page are found or missed together, so that the counts are divided by the design
    effect of pages, if it is above 1 (Rao and Scott 1992, "A simple method for the analysis of clustered binary data").

    Args:
        truth: Boolean (N, C).
        champion_decisions: Boolean (N, C).
        challenger_decisions: Boolean (N, C).
        set_name: The set the rows are from.
        confidence: Of each bound alone.
    """
    n = int(truth.sum())
    if not n:
        return None
    gained, lost = (
        (truth & challenger_decisions & ~champion_decisions),
        (truth & champion_decisions & ~challenger_decisions),
    )
    effect = _design_effect(truth, gained.astype(np.float64) - lost)
    lower, upper = tango(gained.sum() / effect, lost.sum() / effect, n / effect, confidence)
    point = (int(gained.sum()) - int(lost.sum())) / n
    return Difference(point=point, lower=lower, upper=upper, confidence=confidence, n=n, set=set_name)


def holm(p_values: Sequence[float] | FloatArray) -> FloatArray:
    """Return p-values adjusted for their number (Holm 1979): any at most alpha is wrong in alpha of cases at most."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted


def _side(truth: BoolArray, decisions: BoolArray, weights: FloatArray, times: FloatArray) -> _Side:
    hits = (truth & decisions) * weights[:, None]
    marks = (truth.astype(np.float64) + decisions) * weights[:, None]
    total = times @ marks
    scale = np.divide(1, total, out=np.zeros_like(total), where=total > 0)
    return _Side(2 * (times @ hits) * scale, scale, hits, marks)


def _pooled(truth: BoolArray, decisions: BoolArray, weights: FloatArray) -> _Side:
    """Return the side of all classes as one, its rows the pairs of page and class."""
    pairs = np.repeat(weights, truth.shape[1])
    return _side(truth.reshape(-1, 1), decisions.reshape(-1, 1), pairs, np.ones(len(pairs)))


def _pseudo_variance(
    champion: _Side,
    challenger: _Side,
    weight: FloatArray,
    champion_share: FloatArray | float = 1.0,
    challenger_share: FloatArray | float = 1.0,
    *,
    is_constant: bool = False,
) -> NDArray[np.float64]:
    """Return by class what half a page that only one model finds, for each model, adds to the variance.

    The half pages count among the pages too: a page that a model finds has two marks, one that it misses has one.
    """
    marks = PSEUDO_PAGES * (2 + 1) * weight
    old = weight * champion_share * champion.scale / (1 + marks * champion.scale)
    new = weight * challenger_share * challenger.scale / (1 + marks * challenger.scale)
    only_challenger = (2 - 2 * challenger.f1) * new + champion.f1 * old
    only_champion = (1 - is_constant) * ((2 - 2 * champion.f1) * old + challenger.f1 * new)
    return np.asarray(PSEUDO_PAGES * (only_challenger**2 + only_champion**2))


def _tango_score(first: float, second: float, n: float, delta: float) -> float:
    """Return the score statistic of a true difference ``delta``; its nuisance share is the restricted estimate."""
    linear = -first - second + (2 * n - first + second) * delta
    product = -second * delta * (1 - delta)
    share = (np.sqrt(max(linear**2 - 8 * n * product, 0.0)) - linear) / (4 * n)
    variance = n * (2 * share + delta * (1 - delta))
    excess = first - second - n * delta
    return float(excess / np.sqrt(max(variance, np.finfo(np.float64).tiny)))


def _design_effect(truth: BoolArray, change: FloatArray) -> float:
    n = truth.sum()
    centred = np.where(truth, change - change.sum() / n, 0)
    independent = float((centred**2).sum())
    return max(1.0, float((centred.sum(axis=1) ** 2).sum()) / independent) if independent > 0 else 1.0
