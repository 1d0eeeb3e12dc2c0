"""How good decisions and probabilities are, from arrays of shape (N, C).

``truth`` and ``decisions`` are boolean, one row a page and one column a class; a single-label row has exactly one True.
``weights`` (N,) are optional: one over the inclusion probability where pages were drawn unequally.

Everything that decisions are judged by is a function of three sums a class: see :class:`ClassCounts`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from al_platform.domain.errors import InputError

BoolArray: TypeAlias = NDArray[np.bool_]
FloatArray: TypeAlias = NDArray[np.float64]
Probabilities: TypeAlias = NDArray[np.floating[Any]]

CALIBRATION_BINS = 15  # Guo et al. 2017
SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)  # probabilities are stored as float32: 0 says no more than this


class ClassCounts(NamedTuple):
    """Weighted number of pages a class, each of shape (..., C)."""

    true_positives: FloatArray
    predicted: FloatArray
    support: FloatArray


class ClassFigures(BaseModel):
    """How one class is recognised; ``support`` is its weighted number of true pages."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str
    precision: float
    recall: float
    f1: float
    support: float


class ReliabilityBin(BaseModel):
    """``n`` rows with mean ``probability``, of which ``share`` are true."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    probability: float
    share: float
    n: int


def class_counts(truth: BoolArray, decisions: BoolArray, weights: FloatArray | None = None) -> ClassCounts:
    """Return the sums that precision, recall and F1 are made of.

    Raises:
        InputError: No rows, or shapes that do not fit.
    """
    row_weights = checked_weights(truth, decisions, weights)
    return ClassCounts(row_weights @ (truth & decisions), row_weights @ decisions, row_weights @ truth)


def f1_by_class(counts: ClassCounts) -> FloatArray:
    """Return 2 tp / (predicted + support) of shape (..., C), 0 for a class with neither."""
    return _ratio(2 * counts.true_positives, counts.predicted + counts.support)


def macro_f1_of(counts: ClassCounts) -> FloatArray:
    """Return the mean F1 over the classes with at least one true or predicted page, of shape (...).

    A class that is in neither says nothing about the model; one that is in the truth only, or in the decisions only,
    counts with F1 = 0. Without any such class the result is 0.
    """
    is_present = counts.predicted + counts.support > 0
    return _ratio(f1_by_class(counts).sum(axis=-1), is_present.sum(axis=-1).astype(np.float64))


def micro_f1_of(counts: ClassCounts) -> FloatArray:
    """Return F1 of all classes' sums together, of shape (...); 0 without any true or predicted page."""
    true_positives, predicted, support = (sums.sum(axis=-1) for sums in counts)
    return _ratio(2 * true_positives, predicted + support)


def macro_f1(truth: BoolArray, decisions: BoolArray, weights: FloatArray | None = None) -> float:
    """Return macro-F1 over the classes with at least one true or predicted page; see :func:`macro_f1_of`."""
    return float(macro_f1_of(class_counts(truth, decisions, weights)))


def micro_f1(truth: BoolArray, decisions: BoolArray, weights: FloatArray | None = None) -> float:
    """Return micro-F1; for single-label rows it equals accuracy."""
    return float(micro_f1_of(class_counts(truth, decisions, weights)))


def accuracy(truth: BoolArray, decisions: BoolArray, weights: FloatArray | None = None) -> float:
    """Return the share of rows that are right in every class (multi-label: subset accuracy)."""
    row_weights = checked_weights(truth, decisions, weights)
    return float(np.average((truth == decisions).all(axis=1), weights=row_weights))


def per_class(
    truth: BoolArray, decisions: BoolArray, labels: Sequence[str], weights: FloatArray | None = None
) -> list[ClassFigures]:
    """Return precision, recall, F1 and support of each class, in label order; 0 where a ratio is 0 / 0."""
    counts = class_counts(truth, decisions, weights)
    precision = _ratio(counts.true_positives, counts.predicted)
    recall = _ratio(counts.true_positives, counts.support)
    columns = (precision.tolist(), recall.tolist(), f1_by_class(counts).tolist(), counts.support.tolist())
    return [
        ClassFigures(label=label, precision=p, recall=r, f1=f, support=s)
        for label, p, r, f, s in zip(labels, *columns, strict=True)
    ]


def log_loss(
    truth: BoolArray, probabilities: Probabilities, *, is_multi: bool, weights: FloatArray | None = None
) -> float:
    """Return the mean negative log-likelihood in nats; multi-label: the mean over classes of the binary one."""
    row_weights = checked_weights(truth, probabilities, weights)
    return float(np.average(row_log_losses(truth, probabilities, is_multi=is_multi), weights=row_weights))


def row_log_losses(truth: BoolArray, probabilities: Probabilities, *, is_multi: bool) -> FloatArray:
    """Return the negative log-likelihood of each row, (N,); see :func:`log_loss`."""
    likelihood = np.where(truth, probabilities, 1 - probabilities) if is_multi else _of_truth(truth, probabilities)
    losses = -np.log(np.clip(likelihood.astype(np.float64), SMALLEST_PROBABILITY, 1))
    return np.asarray(losses.mean(axis=1))


def brier_score(
    truth: BoolArray, probabilities: Probabilities, *, is_multi: bool, weights: FloatArray | None = None
) -> float:
    """Return the mean squared error of probabilities, summed over classes (Brier 1950); multi-label: their mean."""
    row_weights = checked_weights(truth, probabilities, weights)
    squares = (probabilities.astype(np.float64) - truth) ** 2
    return float(np.average(squares.mean(axis=1) if is_multi else squares.sum(axis=1), weights=row_weights))


def calibration_error(
    truth: BoolArray,
    probabilities: Probabilities,
    *,
    is_multi: bool,
    weights: FloatArray | None = None,
    bins: int = CALIBRATION_BINS,
) -> float:
    """Return the expected calibration error over bins of equal mass (Nguyen and O'Connor 2015).

    Single-label: of the most probable class's probability against being right (Guo et al. 2017). Multi-label: the mean
    over classes of the probability against the truth. Rows with equal probability share a bin, so that the order of
    rows does not matter.
    """
    row_weights = checked_weights(truth, probabilities, weights)
    exact = probabilities.astype(np.float64)
    if is_multi:
        return float(np.mean([_binned_error(p, t, row_weights, bins) for p, t in zip(exact.T, truth.T, strict=True)]))
    top = exact.argmax(axis=1)
    rows = np.arange(len(top))
    return _binned_error(exact[rows, top], truth[rows, top], row_weights, bins)


def average_precisions(truth: BoolArray, scores: Probabilities, weights: FloatArray) -> FloatArray:
    """Return the area under the precision-recall curve of one class, as the mean precision over recall's steps.

    Rows with equal scores are given together. The area is that of scikit-learn's ``average_precision_score``; it does
    not interpolate (Davis and Goadrich 2006).

    Args:
        truth: (N,).
        scores: (N,).
        weights: (..., N): several weightings are answered at once.

    Returns:
        (...); 0 where no row with weight is true.
    """
    order = np.argsort(-scores.astype(np.float64), kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    given = np.cumsum(weights[..., order], axis=-1)[..., ends]
    found = np.cumsum(weights[..., order] * truth[order], axis=-1)[..., ends]
    steps = np.diff(found, axis=-1, prepend=0.0)
    area = (steps * _ratio(found, given)).sum(axis=-1)
    return _ratio(area, found[..., -1])


def reliability_bins(
    confidence: FloatArray, is_right: BoolArray, weights: FloatArray, bins: int = CALIBRATION_BINS
) -> list[ReliabilityBin]:
    """Return the reliability curve: in bins of equal mass, what was said and what was so (DeGroot and Fienberg 1983).

    Args:
        confidence: Probabilities (N,).
        is_right: (N,).
        weights: (N,).
        bins: At most so many; rows with equal probability share one.
    """
    bin_of_row = _equal_mass_bins(confidence, weights, bins)
    return [
        ReliabilityBin(
            probability=float(np.average(confidence[rows], weights=weights[rows])),
            share=float(np.average(is_right[rows], weights=weights[rows])),
            n=int(rows.sum()),
        )
        for number in range(bins)
        if (rows := bin_of_row == number).any() and weights[rows].any()
    ]


def checked_weights(truth: BoolArray, other: NDArray[Any], weights: FloatArray | None) -> FloatArray:
    """Return the row weights, one each by default.

    Raises:
        InputError: No rows, shapes that differ, or weights that are negative, not finite or all zero.
    """
    if truth.ndim != 2 or truth.shape != other.shape or not len(truth):  # noqa: PLR2004
        raise InputError(
            f"Truth and predictions need the same shape (rows, classes) and at least one row, found {truth.shape} and "
            f"{other.shape}. Score the same pages with the same taxonomy."
        )
    if weights is None:
        return np.ones(len(truth))
    if weights.shape != truth.shape[:1] or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise InputError(
            f"Row weights must be {len(truth)} finite numbers of at least 0, one of them above it. "
            f"Found shape {weights.shape}, from {np.min(weights, initial=0)} to {np.max(weights, initial=0)}."
        )
    return weights.astype(np.float64)


def _of_truth(truth: BoolArray, probabilities: Probabilities) -> Probabilities:
    return np.asarray((probabilities * truth).sum(axis=1, keepdims=True))


def _binned_error(confidence: FloatArray, is_right: BoolArray, weights: FloatArray, bins: int) -> float:
    """Return the mass-weighted mean gap between confidence and share right, over bins of equal mass."""
    bin_of_row = _equal_mass_bins(confidence, weights, bins)
    gaps = np.bincount(bin_of_row, weights * (confidence - is_right), minlength=bins)
    return float(np.abs(gaps).sum() / weights.sum())


def _equal_mass_bins(confidence: FloatArray, weights: FloatArray, bins: int) -> NDArray[np.int64]:
    _, group = np.unique(confidence, return_inverse=True)
    mass = np.bincount(group, weights)
    middle = (np.cumsum(mass) - mass / 2) / mass.sum()
    return np.asarray(np.minimum((middle * bins).astype(np.int64), bins - 1)[group])


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return the quotient, 0 where the denominator is 0."""
    return np.asarray(np.divide(numerator, denominator, out=np.zeros_like(denominator), where=denominator > 0))
