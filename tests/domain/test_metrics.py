import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sklearn_metrics

from al_platform.domain.errors import InputError
from al_platform.domain.metrics import (
    accuracy,
    average_precisions,
    brier_score,
    calibration_error,
    log_loss,
    macro_f1,
    micro_f1,
    per_class,
    reliability_bins,
)


def one_hot(classes, n_classes):
    return np.eye(n_classes, dtype=bool)[np.asarray(classes)]


def generated(is_multi, n=300, n_classes=5, seed=3):
    """Truth, decisions, probabilities and weights of a model that is often right."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.5, 4, n)
    if is_multi:
        probabilities = rng.uniform(0.01, 0.99, (n, n_classes))
        return rng.random((n, n_classes)) < probabilities, probabilities > 0.4, probabilities, weights
    probabilities = rng.dirichlet(np.ones(n_classes) * 0.4, n)
    truth = one_hot([rng.choice(n_classes, p=row) for row in probabilities], n_classes)
    return truth, one_hot(probabilities.argmax(axis=1), n_classes), probabilities, weights


def test_macro_f1_of_a_case_that_can_be_checked_by_hand():
    # class 0: tp 1, predicted 2, true 1: 2/3; class 1: tp 1, predicted 1, true 2: 2/3; class 2: in neither
    truth, decisions = one_hot([0, 1, 1], 3), one_hot([0, 0, 1], 3)
    assert macro_f1(truth, decisions) == pytest.approx(2 / 3)
    assert micro_f1(truth, decisions) == pytest.approx(2 / 3)
    assert accuracy(truth, decisions) == pytest.approx(2 / 3)


def test_a_class_that_is_only_predicted_counts_as_zero():
    assert macro_f1(one_hot([0, 0], 3), one_hot([0, 2], 3)) == pytest.approx((2 / 3 + 0) / 2)


def test_macro_f1_is_zero_where_no_class_is_true_or_predicted():
    nothing = np.zeros((3, 2), dtype=bool)
    assert macro_f1(nothing, nothing) == 0
    assert accuracy(nothing, nothing) == 1


@pytest.mark.parametrize("is_multi", [False, True])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_decision_metrics_agree_with_sklearn(is_multi, is_weighted):
    truth, decisions, _, weights = generated(is_multi)
    given_weights = weights if is_weighted else None
    known = {"sample_weight": given_weights, "zero_division": 0}
    expected = sklearn_metrics.precision_recall_fscore_support(truth, decisions, average=None, **known)
    figures = per_class(truth, decisions, list("abcde"), given_weights)
    found = np.array([[f.precision, f.recall, f.f1, f.support] for f in figures]).T
    np.testing.assert_allclose(found, np.array(expected), rtol=1e-12)
    assert [figure.label for figure in figures] == list("abcde")
    for average, ours in (("macro", macro_f1), ("micro", micro_f1)):
        theirs = sklearn_metrics.f1_score(truth, decisions, average=average, **known)
        assert ours(truth, decisions, given_weights) == pytest.approx(theirs)
    theirs = sklearn_metrics.accuracy_score(truth, decisions, sample_weight=given_weights)
    assert accuracy(truth, decisions, given_weights) == pytest.approx(theirs)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_probability_metrics_of_single_labels_agree_with_sklearn(is_weighted):
    truth, _, probabilities, weights = generated(is_multi=False)
    given_weights = weights if is_weighted else None
    probabilities = 0.98 * probabilities + 0.004
    classes = truth.argmax(axis=1)
    expected = sklearn_metrics.log_loss(classes, probabilities, sample_weight=given_weights)
    assert log_loss(truth, probabilities, is_multi=False, weights=given_weights) == pytest.approx(expected)
    expected = sklearn_metrics.brier_score_loss(
        classes, probabilities, sample_weight=given_weights, scale_by_half=False, labels=range(5)
    )
    assert brier_score(truth, probabilities, is_multi=False, weights=given_weights) == pytest.approx(expected)


def test_probability_metrics_of_multi_labels_are_means_over_classes():
    truth, _, probabilities, weights = generated(is_multi=True)
    pairs = list(zip(truth.T, probabilities.T, strict=True))
    expected = np.mean([sklearn_metrics.log_loss(t, p, sample_weight=weights) for t, p in pairs])
    assert log_loss(truth, probabilities, is_multi=True, weights=weights) == pytest.approx(expected)
    expected = np.mean([sklearn_metrics.brier_score_loss(t, p, sample_weight=weights) for t, p in pairs])
    assert brier_score(truth, probabilities, is_multi=True, weights=weights) == pytest.approx(expected)


def test_a_probability_of_zero_for_the_truth_has_a_finite_loss():
    assert log_loss(one_hot([0], 2), np.array([[0.0, 1.0]]), is_multi=False) == pytest.approx(15.94, abs=0.01)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_the_area_under_precision_and_recall_agrees_with_sklearn(is_weighted):
    truth, _, probabilities, weights = generated(is_multi=True)
    scores = np.round(probabilities, 1)  # with ties
    for column in range(5):
        expected = sklearn_metrics.average_precision_score(
            truth[:, column], scores[:, column], sample_weight=weights if is_weighted else None
        )
        found = average_precisions(truth[:, column], scores[:, column], weights if is_weighted else np.ones(300))
        assert found == pytest.approx(expected)


def test_several_weightings_give_as_many_areas():
    truth, scores = np.array([True, False, True]), np.array([0.9, 0.8, 0.1])
    weights = np.array([[1.0, 1, 1], [1, 0, 1], [0, 1, 0]])
    assert average_precisions(truth, scores, weights) == pytest.approx([(1 + 2 / 3) / 2, 1, 0])


def test_the_reliability_curve_has_what_was_said_and_what_was_so_in_each_bin():
    confidence, truth = np.array([0.1, 0.2, 0.6, 0.8]), np.array([False, False, False, True])
    low, high = reliability_bins(confidence, truth, np.ones(4), bins=2)
    assert (low.probability, low.share, low.n) == pytest.approx((0.15, 0, 2))
    assert (high.probability, high.share, high.n) == pytest.approx((0.7, 0.5, 2))


def test_the_reliability_curve_adds_up_to_the_calibration_error():
    truth, _, probabilities, _ = generated(is_multi=True)
    curve = reliability_bins(probabilities[:, 0], truth[:, 0], np.ones(300))
    expected = calibration_error(truth[:, :1], probabilities[:, :1], is_multi=True)
    assert sum(each.n * abs(each.probability - each.share) for each in curve) / 300 == pytest.approx(expected)


def test_calibration_error_of_one_bin_is_confidence_minus_accuracy():
    truth = one_hot([0, 0, 0, 1], 2)
    probabilities = np.tile([0.9, 0.1], (4, 1))
    assert calibration_error(truth, probabilities, is_multi=False) == pytest.approx(0.9 - 0.75)


def test_calibration_error_adds_up_gaps_of_bins_of_equal_mass():
    truth = one_hot([0, 1, 0, 0], 2)
    probabilities = np.array([[0.6, 0.4], [0.6, 0.4], [0.8, 0.2], [0.9, 0.1]])
    # bins {.6, .6} and {.8, .9}: |.6 - .5| / 2 + |.85 - 1| / 2
    assert calibration_error(truth, probabilities, is_multi=False, bins=2) == pytest.approx(0.05 + 0.075)


def test_calibration_error_agrees_with_bins_cut_by_hand():
    truth, _, probabilities, _ = generated(is_multi=False)
    confidence, right = probabilities.max(axis=1), truth[np.arange(300), probabilities.argmax(axis=1)]
    bins = np.array_split(np.argsort(confidence), 15)
    expected = sum(len(b) * abs(confidence[b].mean() - right[b].mean()) for b in bins) / 300
    assert calibration_error(truth, probabilities, is_multi=False) == pytest.approx(expected)


def test_multi_label_calibration_error_is_the_mean_over_classes():
    truth = np.array([[True, False], [True, False]])
    probabilities = np.array([[0.8, 0.3], [0.8, 0.3]])
    assert calibration_error(truth, probabilities, is_multi=True) == pytest.approx((0.2 + 0.3) / 2)


@pytest.mark.parametrize("is_multi", [False, True])
def test_an_integer_weight_is_a_repeated_row(is_multi):
    truth, decisions, probabilities, _ = generated(is_multi, n=40)
    times = np.random.default_rng(0).integers(1, 4, 40)
    repeated = [np.repeat(array, times, axis=0) for array in (truth, decisions, probabilities)]
    weights = times.astype(float)
    for metric in (macro_f1, micro_f1, accuracy):
        assert metric(truth, decisions, weights) == pytest.approx(metric(*repeated[:2]))
    for metric in (log_loss, brier_score, calibration_error):
        expected = metric(repeated[0], repeated[2], is_multi=is_multi)
        assert metric(truth, probabilities, is_multi=is_multi, weights=weights) == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(bool, (12, 4)),
    hnp.arrays(bool, (12, 4)),
    hnp.arrays(np.float32, (12, 4), elements=st.sampled_from([0, 0.25, 0.5, 1])),
    st.permutations(range(12)),
)
def test_metrics_are_shares_and_ignore_the_order_of_rows(truth, decisions, probabilities, order):
    order = np.array(order)
    for metric in (macro_f1, micro_f1, accuracy):
        assert 0 <= metric(truth, decisions) <= 1
        assert metric(truth[order], decisions[order]) == pytest.approx(metric(truth, decisions))
        assert metric(truth, truth) in (0, 1)
    for is_multi in (False, True):
        value = calibration_error(truth, probabilities, is_multi=is_multi)
        assert 0 <= value <= 1
        assert calibration_error(truth[order], probabilities[order], is_multi=is_multi) == pytest.approx(value)


def test_no_rows_are_refused():
    empty = np.zeros((0, 3), dtype=bool)
    with pytest.raises(InputError, match="at least one row"):
        macro_f1(empty, empty)


def test_weights_below_zero_are_refused():
    truth = one_hot([0, 1], 2)
    with pytest.raises(InputError, match="at least 0"):
        accuracy(truth, truth, np.array([1.0, -1.0]))
