import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from al_platform.domain.metrics import macro_f1
from al_platform.models.calibration import (
    MIN_POSITIVES,
    fit_temperature,
    fit_thresholds,
    negative_log_likelihood,
    probabilities_of,
)


def column(values: list[float]) -> np.ndarray:
    return np.array(values)[:, None]


def test_the_loss_is_that_of_scikit_learn():
    logits, truth = np.array([[2.0, 0.0, -1.0], [0.5, 0.2, 0.1]]), np.array([[1, 0, 0], [0, 0, 1]], dtype=bool)
    expected = log_loss(truth.argmax(axis=1), probabilities_of(logits, 1.5, is_multi=False), labels=[0, 1, 2])
    assert negative_log_likelihood(logits, truth, 1.5, is_multi=False) == pytest.approx(expected, rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.floats(0.05, 30), st.booleans())
def test_temperature_never_worsens_the_validation_loss(seed, n_rows, scale, is_multi):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n_rows, 4)) * scale
    truth = np.eye(4, dtype=bool)[rng.integers(0, 4, n_rows)]
    temperature = fit_temperature(logits, truth, is_multi)
    fitted = negative_log_likelihood(logits, truth, temperature, is_multi)
    assert fitted <= negative_log_likelihood(logits, truth, 1.0, is_multi)


def test_overconfident_logits_are_cooled_down():
    logits = np.array([[9.0, 0.0]] * 3 + [[0.0, 9.0]])
    truth = np.array([[1, 0]] * 4, dtype=bool)
    assert fit_temperature(np.tile(logits, (25, 1)), np.tile(truth, (25, 1)), is_multi=False) > 5


def test_a_few_rows_that_are_all_right_do_not_ask_for_certainty():
    assert fit_temperature(np.array([[5.0, 0.0]]), np.array([[True, False]]), is_multi=False) > 0.5


def test_without_rows_temperature_is_one_and_thresholds_a_half():
    assert fit_temperature(np.zeros((0, 2)), np.zeros((0, 2), dtype=bool), is_multi=True) == 1
    assert fit_thresholds(np.zeros((0, 2)), np.zeros((0, 2), dtype=bool)) == (0.5, 0.5)


def test_a_threshold_lies_between_the_classes_it_parts():
    probabilities = column([0.1] * 5 + [0.3] * MIN_POSITIVES)
    assert fit_thresholds(probabilities, probabilities > 0.2) == (pytest.approx(0.2),)


def test_a_half_stays_where_no_threshold_is_better():
    probabilities = column([0.1] * 5 + [0.9] * MIN_POSITIVES)
    assert fit_thresholds(probabilities, probabilities > 0.5) == (0.5,)


def test_too_few_positives_leave_a_half():
    probabilities = column([0.1] * 5 + [0.3] * (MIN_POSITIVES - 1))
    assert fit_thresholds(probabilities, probabilities > 0.2) == (0.5,)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(10, 80))
def test_no_threshold_has_a_higher_f1(seed, n_rows):
    rng = np.random.default_rng(seed)
    truth = rng.random((n_rows, 1)) < 0.6
    probabilities = np.round(rng.random((n_rows, 1)) * 0.7 + truth * 0.3, 2).astype(np.float32)
    threshold = fit_thresholds(probabilities, truth)[0]
    if truth.sum() < MIN_POSITIVES:
        return
    others = [macro_f1(truth, probabilities >= other) for other in np.linspace(0, 1, 101)]
    assert macro_f1(truth, probabilities >= threshold) >= max(others) - 1e-9
