import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from al_platform.domain.errors import InputError
from al_platform.domain.estimators import (
    hajek,
    macro_f1_estimate,
    quantiles,
    resample,
    wilson,
)
from al_platform.domain.metrics import macro_f1

GOLDEN = {"set_name": "golden", "seed": 7}
PRIORS = np.array([0.4, 0.3, 0.2, 0.1])


def draw(rng, n, skill=0.75, agreement=0.6):
    """Truth of 4 classes and the decisions of two equally good, correlated models."""
    truth = rng.choice(4, n, p=PRIORS)
    champion = np.where(rng.random(n) < skill, truth, rng.integers(0, 4, n))
    own = np.where(rng.random(n) < skill, truth, rng.integers(0, 4, n))
    challenger = np.where(rng.random(n) < agreement, champion, own)
    return tuple(np.eye(4, dtype=bool)[classes] for classes in (truth, champion, challenger))


def true_macro_f1(skill=0.75):
    right = skill + (1 - skill) / 4
    predicted = skill * PRIORS + (1 - skill) / 4
    return float(np.mean(2 * PRIORS * right / (PRIORS + predicted)))


def mean_of(sums):
    return sums[..., 0] / sums[..., 1]


# bootstrap


def test_the_bootstrap_of_a_mean_has_its_standard_error():
    values = np.random.default_rng(0).normal(size=400)
    resamples = resample(np.column_stack([values, np.ones(400)]), mean_of, seed=1, replicates=4000)
    assert resamples.point == pytest.approx(values.mean())
    assert resamples.replicates.std() == pytest.approx(values.std() / 20, rel=0.05)


def test_bca_bounds_agree_with_scipy():
    values = np.random.default_rng(0).exponential(size=60)
    resamples = resample(np.column_stack([values, np.ones(60)]), mean_of, seed=1, replicates=20_000)
    expected = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(2))
    interval = expected.confidence_interval
    assert quantiles(resamples, (0.025, 0.975), "bca") == pytest.approx([interval.low, interval.high], rel=0.01)


def test_bca_leaves_replicates_that_never_vary_alone():
    resamples = resample(np.ones((5, 2)), mean_of, seed=1, replicates=50)
    assert quantiles(resamples, (0.025, 0.975), "bca") == [1, 1]


def test_the_leave_one_out_figures_are_those_of_the_shorter_rows():
    truth, decisions, _ = draw(np.random.default_rng(5), 12)
    columns = np.hstack([truth & decisions, decisions, truth]).astype(float)

    def figure(sums):
        tp, predicted, support = np.split(sums, 3, axis=-1)
        present = predicted + support > 0
        return np.where(present, 2 * tp / np.maximum(predicted + support, 1), 0).sum(-1) / present.sum(-1)

    found = resample(columns, figure, seed=0, replicates=10)
    rows = [macro_f1(np.delete(truth, row, 0), np.delete(decisions, row, 0)) for row in range(12)]
    np.testing.assert_allclose(np.sort(np.repeat(found.without_one, found.multiplicity)), np.sort(rows))


def test_memory_does_not_grow_with_rows_times_replicates():
    rng = np.random.default_rng(0)
    widest = []
    resample(
        np.column_stack([rng.normal(size=3000), np.ones(3000)]),
        lambda sums: (widest.append(sums.shape), mean_of(sums))[1],
        seed=1,
        replicates=1000,
    )
    assert max(shape[0] for shape in widest if len(shape) == 2 and shape[0] != 3000) <= 1_000_000 // 3000


def test_macro_f1_comes_with_its_set_and_number_of_rows():
    truth, decisions, _ = draw(np.random.default_rng(1), 300)
    estimate = macro_f1_estimate(truth, decisions, **GOLDEN)
    assert estimate.value == pytest.approx(macro_f1(truth, decisions))
    assert estimate.low < estimate.value < estimate.high
    assert (estimate.n, estimate.set) == (300, "golden")


def test_the_interval_of_macro_f1_covers_the_truth():
    rng = np.random.default_rng(11)
    trials, true_value = 200, true_macro_f1()
    estimates = [
        macro_f1_estimate(*draw(rng, 400)[:2], set_name="golden", seed=i, replicates=300) for i in range(trials)
    ]
    covered = sum(estimate.low <= true_value <= estimate.high for estimate in estimates)
    assert stats.binom.ppf(0.001, trials, 0.93) <= covered <= stats.binom.ppf(0.999, trials, 0.97)


def test_the_interval_agrees_with_a_row_by_row_bootstrap():
    truth, decisions, _ = draw(np.random.default_rng(4), 250)
    found = macro_f1_estimate(truth, decisions, replicates=4000, method="percentile", **GOLDEN)
    rng = np.random.default_rng(9)
    drawn = [rng.integers(0, 250, 250) for _ in range(1500)]
    figures = [macro_f1(truth[rows], decisions[rows]) for rows in drawn]
    assert [found.low, found.high] == pytest.approx(np.quantile(figures, [0.025, 0.975]), abs=0.006)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_resamples_depend_on_the_seed_but_not_on_the_order_of_rows(is_weighted):
    rng = np.random.default_rng(6)
    truth, decisions, _ = draw(rng, 200)
    order, weights = rng.permutation(200), rng.uniform(1, 5, 200)
    given_weights = weights if is_weighted else None
    first = macro_f1_estimate(truth, decisions, weights=given_weights, **GOLDEN)
    second = macro_f1_estimate(
        truth[order], decisions[order], weights=weights[order] if is_weighted else None, **GOLDEN
    )
    other_seed = macro_f1_estimate(truth, decisions, weights=given_weights, set_name="golden", seed=8)
    assert first == second
    assert first.low != other_seed.low


def test_weights_undo_an_unequal_draw():
    rng = np.random.default_rng(8)
    truth, decisions, _ = draw(rng, 20_000)
    probability = np.where(truth[:, 3], 0.5, 0.05)
    everything = macro_f1(truth, decisions)
    weighted, plain = [], []
    for trial in range(40):
        drawn = rng.random(20_000) < probability
        known = {"set_name": "audit", "seed": trial, "replicates": 200}
        weighted.append(macro_f1_estimate(truth[drawn], decisions[drawn], weights=1 / probability[drawn], **known))
        plain.append(macro_f1(truth[drawn], decisions[drawn]))
    assert np.mean([estimate.value for estimate in weighted]) == pytest.approx(everything, abs=0.005)
    assert abs(np.mean(plain) - everything) > 0.008
    assert sum(estimate.low <= everything <= estimate.high for estimate in weighted) >= stats.binom.ppf(0.001, 40, 0.94)


# proportions and weighted means


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (3, 10), (10, 10), (81, 263)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_wilson_interval_agrees_with_scipy(successes, n, confidence):
    expected = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert wilson(successes, n, confidence) == pytest.approx((expected.low, expected.high))


def test_a_proportion_of_nothing_is_refused():
    with pytest.raises(InputError, match="n > 0"):
        wilson(0, 0)


def test_the_weighted_mean_counts_each_page_for_the_pages_it_stands_for():
    # one page of a frame of two and one of a frame of six
    estimate = hajek(np.array([1.0, 0.0]), np.array([1 / 2, 1 / 6]), set_name="audit")
    assert estimate.value == pytest.approx(2 / 8)
    # residuals .75 * 2 and -.25 * 6, each squared 2.25: variance 2 / 1 * 4.5 / 64; Student with one degree of freedom
    half = stats.t.ppf(0.975, 1) * np.sqrt(2 * 4.5 / 64)
    assert (estimate.low, estimate.high) == pytest.approx((0.25 - half, 0.25 + half))


def test_equal_probabilities_give_the_plain_mean_and_students_interval():
    values = np.random.default_rng(0).normal(size=30)
    estimate = hajek(values, np.full(30, 0.2), set_name="audit")
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))


def test_a_share_with_equal_probabilities_has_nearly_wilsons_interval():
    right = np.arange(200) < 150
    estimate = hajek(right, np.full(200, 0.1), set_name="audit")
    assert (estimate.low, estimate.high) == pytest.approx(wilson(150, 200), abs=0.001)


def test_a_share_of_one_is_not_certain():
    estimate = hajek(np.ones(20, dtype=bool), np.full(20, 0.1), set_name="audit")
    assert estimate.value == 1
    assert (estimate.low, estimate.high) == pytest.approx(wilson(20, 20))


def test_the_interval_of_a_share_covers_the_frame():
    rng = np.random.default_rng(13)
    right = rng.random(20_000) < 0.85
    probability = np.where(right, rng.uniform(0.005, 0.02, 20_000), 0.03)
    trials, covered = 400, 0
    for _ in range(trials):
        drawn = rng.random(20_000) < probability
        estimate = hajek(right[drawn], probability[drawn], set_name="audit")
        covered += estimate.low <= right.mean() <= estimate.high
    assert stats.binom.ppf(0.001, trials, 0.94) <= covered <= stats.binom.ppf(0.9995, trials, 0.97)


# Here the weighted share rounds to more than one.
@example([(True, probability) for probability in (1.0, 0.75, 0.75, 0.59375, 0.375, 0.1875, 0.09375, 1.0)])
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0.01, 1)), min_size=2, max_size=30))
def test_a_share_lies_in_its_interval_between_zero_and_one(rows):
    right, probabilities = (np.array(column) for column in zip(*rows, strict=True))
    estimate = hajek(right, probabilities, set_name="audit")
    assert -1e-12 <= estimate.low <= estimate.value + 1e-12
    assert estimate.value - 1e-12 <= estimate.high <= 1 + 1e-12


@pytest.mark.parametrize("probability", [0.0, 1.5, np.nan])
def test_an_impossible_inclusion_probability_is_refused(probability):
    with pytest.raises(InputError, match="1 of 2 inclusion probabilities"):
        hajek(np.array([True, False]), np.array([0.5, probability]), set_name="audit")


def test_one_row_has_no_interval():
    with pytest.raises(InputError, match="at least 2"):
        hajek(np.array([True]), np.array([0.5]), set_name="audit")
