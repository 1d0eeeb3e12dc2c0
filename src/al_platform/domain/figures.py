"""Every figure of one model on one set, with its interval."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from al_platform.domain.estimators import CONFIDENCE, Estimate, macro_f1_estimate
from al_platform.domain.metrics import (
    BoolArray,
    ClassCounts,
    ClassFigures,
    FloatArray,
    Probabilities,
    ReliabilityBin,
    accuracy,
    average_precisions,
    calibration_error,
    checked_weights,
    f1_by_class,
    log_loss,
    micro_f1,
    micro_f1_of,
    per_class,
    reliability_bins,
    row_log_losses,
)
from al_platform.domain.paired import DIGITS

RESAMPLES = 500  # of all figures but macro-F1: they decide nothing, and a bound moves by 3 % of its width
ERROR_RESAMPLES = 200  # of the calibration error: each sorts the rows
CLASS_BINS = 10


class Interval(BaseModel):
    """A two-sided 95 % interval."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: float
    high: float


class ClassCalibration(BaseModel):
    """How far one class's probabilities can be believed.

    Attributes:
        label: The class.
        error: Expected calibration error of its probability against the truth.
        bias: Mean probability minus share true: above 0, the class is announced too often. A model that was trained
            on classes weighted to be equally large has it on rare ones, and no temperature takes it away.
        curve: From the lowest probabilities to the highest.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str
    error: float
    bias: float
    curve: tuple[ReliabilityBin, ...]


class Scored(NamedTuple):
    """Rows of a set and what one model says about them: truth, decisions, probabilities (N, C), weights (N,)."""

    truth: BoolArray
    decisions: BoolArray
    probabilities: Probabilities
    weights: FloatArray
    labels: tuple[str, ...]
    is_multi: bool


def model_figures(rows: Scored, *, set_name: str, seed: int, replicates: int) -> dict[str, Any]:
    """Return the figures of one model on one set, as JSON.

    Intervals are at 95 %: of macro-F1 by BCa, of the rest by percentiles over resampled rows, of the calibration error
    by the basic bootstrap, since a resample's error is larger than that of all rows.
    """
    drawn = _resampled_weights(rows.weights, seed)
    return {
        "macro_f1": _macro_f1(rows, set_name, seed, replicates).model_dump(mode="json"),
        "micro_f1": micro_f1(rows.truth, rows.decisions, rows.weights),
        "accuracy": accuracy(rows.truth, rows.decisions, rows.weights),
        "log_loss": log_loss(rows.truth, rows.probabilities, is_multi=rows.is_multi, weights=rows.weights),
        "calibration_error": _calibration_error(rows, rows.weights),
        "intervals": {name: interval.model_dump() for name, interval in _intervals(rows, drawn).items()},
        "per_class": _per_class(rows, drawn),
        "reliability": [each.model_dump() for each in _top_reliability(rows)],
        "reliability_by_class": [each.model_dump(mode="json") for each in class_calibrations(rows)],
    }


def without_noise(value: Any) -> Any:
    """Return JSON whose numbers end where the order of summation begins to show."""
    if isinstance(value, dict):
        return {key: without_noise(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_noise(part) for part in value]
    return round(value, DIGITS) if isinstance(value, float) else value


def class_calibrations(rows: Scored) -> list[ClassCalibration]:
    """Return the reliability of each class's probability, in label order."""
    exact = rows.probabilities.astype(np.float64)
    return [
        _class_calibration(label, exact[:, column], rows.truth[:, column], rows.weights)
        for column, label in enumerate(rows.labels)
    ]


def _class_calibration(label: str, probability: FloatArray, truth: BoolArray, weights: FloatArray) -> ClassCalibration:
    error = calibration_error(truth[:, None], probability[:, None], is_multi=True, weights=weights)
    return ClassCalibration(
        label=label,
        error=error,
        bias=float(np.average(probability - truth, weights=weights)),
        curve=tuple(reliability_bins(probability, truth, weights, CLASS_BINS)),
    )


def _macro_f1(rows: Scored, set_name: str, seed: int, replicates: int) -> Estimate:
    return macro_f1_estimate(
        rows.truth, rows.decisions, set_name=set_name, seed=seed, weights=rows.weights, replicates=replicates
    )


def _resampled_weights(weights: FloatArray, seed: int) -> FloatArray:
    """Return row weights of resamples, (R, N)."""
    n = len(weights)
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), RESAMPLES) * weights


def _intervals(rows: Scored, drawn: FloatArray) -> dict[str, Interval]:
    is_right = (rows.truth == rows.decisions).all(axis=1)
    losses = row_log_losses(rows.truth, rows.probabilities, is_multi=rows.is_multi)
    total = drawn.sum(axis=1)
    error = _calibration_error(rows, rows.weights)
    errors = np.array([_calibration_error(rows, weights) for weights in drawn[:ERROR_RESAMPLES]])
    return {
        "micro_f1": _interval(micro_f1_of(_counts(rows, drawn))),
        "accuracy": _interval(drawn @ is_right / total),
        "log_loss": _interval(drawn @ losses / total),
        "calibration_error": _interval(np.maximum(2 * error - errors, 0)),
    }


def _per_class(rows: Scored, drawn: FloatArray) -> list[dict[str, Any]]:
    figures = per_class(rows.truth, rows.decisions, rows.labels, rows.weights)
    counts = _counts(rows, drawn)
    with np.errstate(invalid="ignore"):
        replicates = {
            "precision": counts.true_positives / counts.predicted,
            "recall": counts.true_positives / counts.support,
        }
    replicates["f1"] = f1_by_class(counts)
    return [
        {**_class_figures(figure), **_class_area(rows, column, drawn), "intervals": _columns(replicates, column)}
        for column, figure in enumerate(figures)
    ]


def _class_figures(figure: ClassFigures) -> dict[str, Any]:
    return figure.model_dump(mode="json")


def _class_area(rows: Scored, column: int, drawn: FloatArray) -> dict[str, Any]:
    """Return the area under precision and recall with its interval; null for a class without a page."""
    truth, scores = rows.truth[:, column], rows.probabilities[:, column]
    if not truth.any():
        return {"pages": 0, "average_precision": None, "average_precision_interval": None}
    has_page = (drawn * truth).any(axis=1)
    return {
        "pages": int(truth.sum()),
        "average_precision": float(average_precisions(truth, scores, rows.weights)),
        "average_precision_interval": _interval(average_precisions(truth, scores, drawn[has_page])).model_dump(),
    }


def _columns(replicates: dict[str, FloatArray], column: int) -> dict[str, dict[str, float] | None]:
    """Return the interval of each figure of a class, over the resamples in which it is defined."""
    found = {name: values[:, column][np.isfinite(values[:, column])] for name, values in replicates.items()}
    return {name: _interval(values).model_dump() if len(values) else None for name, values in found.items()}


def _counts(rows: Scored, drawn: FloatArray) -> ClassCounts:
    marks = (rows.truth & rows.decisions, rows.decisions, rows.truth)
    return ClassCounts(*(drawn @ each.astype(np.float64) for each in marks))


def _calibration_error(rows: Scored, weights: FloatArray) -> float:
    return calibration_error(rows.truth, rows.probabilities, is_multi=rows.is_multi, weights=weights)


def _top_reliability(rows: Scored) -> list[ReliabilityBin]:
    """Return the curve of the highest probability against being right; multi-label: of all pairs of page and class."""
    exact = rows.probabilities.astype(np.float64)
    if rows.is_multi:
        weights = np.repeat(rows.weights, rows.truth.shape[1])
        return reliability_bins(exact.ravel(), rows.truth.ravel(), weights)
    top = exact.argmax(axis=1)
    numbers = np.arange(len(top))
    return reliability_bins(exact[numbers, top], rows.truth[numbers, top], rows.weights)


def _interval(replicates: FloatArray) -> Interval:
    low, high = np.quantile(replicates, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return Interval(low=float(low), high=float(high))


def scored_rows(
    truth: BoolArray,
    decisions: BoolArray,
    probabilities: Probabilities,
    weights: FloatArray | None,
    labels: Sequence[str],
    *,
    is_multi: bool,
) -> Scored:
    """Return the rows with their weights, one each by default.

    Raises:
        InputError: No rows, or shapes or weights that do not fit.
    """
    checked_weights(truth, probabilities, weights)
    return Scored(truth, decisions, probabilities, checked_weights(truth, decisions, weights), tuple(labels), is_multi)
