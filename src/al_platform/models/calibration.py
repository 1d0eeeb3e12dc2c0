"""Temperature and thresholds, fitted on validation rows."""

from typing import Any

import numpy as np
import scipy  # its submodules are loaded when they are used
from numpy.typing import NDArray

from al_platform.domain.metrics import macro_f1

FloatArray = NDArray[np.floating[Any]]
BoolArray = NDArray[np.bool_]

DEFAULT_THRESHOLD = 0.5
MIN_POSITIVES = 5  # fewer than this and the best threshold is mostly luck
LOG_TEMPERATURE_BOUND = float(np.log(100))


def probabilities_of(logits: FloatArray, temperature: float, is_multi: bool) -> NDArray[np.float32]:
    """Return softmax (single-label) or sigmoid (multi-label) of ``logits / temperature``, shape (N, C)."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    probabilities = scipy.special.expit(scaled) if is_multi else scipy.special.softmax(scaled, axis=1)
    return np.asarray(probabilities, dtype=np.float32)


def negative_log_likelihood(logits: FloatArray, truth: BoolArray, temperature: float, is_multi: bool) -> float:
    """Return the mean negative log likelihood of a row.

    Args:
        logits: Shape (N, C).
        truth: Indicator matrix of shape (N, C).
        temperature: What the logits are divided by.
        is_multi: Whether each column is a decision of its own.
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    if is_multi:
        return float(np.logaddexp(0, np.where(truth, -scaled, scaled)).mean())
    return float(-scipy.special.log_softmax(scaled, axis=1)[truth].mean())


def fit_temperature(logits: FloatArray, truth: BoolArray, is_multi: bool) -> float:
    """Return the temperature with the least negative log likelihood (Guo et al. 2017); 1 without rows.

    A standard normal prior on its logarithm, worth one row, keeps a few rows that are all right from asking for
    certainty.
    """
    # Scoring needs none of it, and it takes a third of a second to import.
    from scipy.optimize import minimize_scalar

    n_rows = len(truth)
    if not n_rows:
        return 1.0

    def penalized(log_temperature: float) -> float:
        loss = negative_log_likelihood(logits, truth, float(np.exp(log_temperature)), is_multi)
        return loss + log_temperature**2 / (2 * n_rows)

    found = minimize_scalar(penalized, bounds=(-LOG_TEMPERATURE_BOUND, LOG_TEMPERATURE_BOUND), method="bounded")
    return float(np.exp(found.x)) if found.fun < penalized(0.0) else 1.0


def validation_metrics(logits: FloatArray, truth: BoolArray, is_multi: bool) -> dict[str, float]:
    """Return loss at the best temperature, and macro-F1 of the likeliest label or of labels above one half."""
    temperature = fit_temperature(logits, truth, is_multi)
    probabilities = probabilities_of(logits, temperature, is_multi)
    bar = DEFAULT_THRESHOLD if is_multi else probabilities.max(axis=1, keepdims=True)
    return {
        "validation_loss": negative_log_likelihood(logits, truth, temperature, is_multi),
        "validation_macro_f1": macro_f1(truth, probabilities >= bar),
    }


def fit_thresholds(probabilities: FloatArray, truth: BoolArray) -> tuple[float, ...]:
    """Return for each class the threshold of the highest F1, nearest to 0.5 among equals.

    A class with fewer than ``MIN_POSITIVES`` positive rows keeps 0.5.

    Args:
        probabilities: Shape (N, C).
        truth: Indicator matrix of shape (N, C).
    """
    return tuple(_best_threshold(probabilities[:, label], truth[:, label]) for label in range(truth.shape[1]))


def _best_threshold(probabilities: FloatArray, truth: BoolArray) -> float:
    if truth.sum() < MIN_POSITIVES:
        return DEFAULT_THRESHOLD
    levels = np.unique(probabilities.astype(np.float64))
    thresholds = np.concatenate([[DEFAULT_THRESHOLD], levels[:1], (levels[:-1] + levels[1:]) / 2])
    f1 = _f1_at(thresholds, probabilities, truth)
    best = thresholds[np.isclose(f1, f1.max())]
    return float(best[np.argmin(np.abs(best - DEFAULT_THRESHOLD))])


def _f1_at(thresholds: FloatArray, probabilities: FloatArray, truth: BoolArray) -> FloatArray:
    """Return F1 when everything at or above each threshold counts as positive."""
    predicted = len(truth) - np.searchsorted(np.sort(probabilities), thresholds)
    true_positives = truth.sum() - np.searchsorted(np.sort(probabilities[truth]), thresholds)
    return np.asarray(2 * true_positives / (predicted + truth.sum()))
