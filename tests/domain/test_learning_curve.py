import numpy as np
import pytest
import scipy

from al_platform.domain.budget import expected_gain, expected_macro_f1
from al_platform.domain.errors import InputError
from al_platform.domain.learning_curve import (
    CONFIDENCE,
    Curves,
    Points,
    anchored,
    fit_curves,
    has_begun,
    missing_points,
    subset_points,
)

SIZES = np.array([25.0, 50, 100, 200, 400, 800])
UNIT = SIZES.max()
# Asymptote, error above it at 800 labels, exponent: steep and flat ones, with and without a floor.
KNOWN = [(0.0, 0.2, 0.3), (0.1, 0.1, 0.5), (0.05, 0.15, 0.35), (0.2, 0.02, 0.7), (0.15, 0.15, 0.25)]


def error(curve, n):
    a, b, c = curve
    return a + b * (n / UNIT) ** -c


def points(errors, pages, n=SIZES):
    variance = (errors * pages + 0.5) / (pages + 1)
    return Points(n, errors, np.diag(variance * (1 - variance) / pages))


def drawn(generator, curve, pages):
    return points(generator.binomial(pages, error(curve, SIZES)) / pages, pages)


def covers(expected, truth):
    return expected.low <= truth <= expected.high


@pytest.mark.parametrize("known", KNOWN)
def test_known_parameters_are_found_again_where_there_is_no_noise(known):
    curves = fit_curves(points(error(known, SIZES), 10**9))
    found = (curves.a[0], curves.b[0], curves.c[0])
    assert found == pytest.approx(known, abs=0.01)
    assert curves.error(2 * UNIT)[0] == pytest.approx(error(known, 2 * UNIT), abs=0.001)


@pytest.mark.parametrize("pages", [200, 1000])
def test_nine_intervals_in_ten_cover_the_error_at_twice_the_labels(pages):
    generator = np.random.default_rng(pages)
    trials = 100
    found = [
        covers(expected_macro_f1(fit_curves(drawn(generator, known, pages)), 2 * UNIT), 1 - error(known, 2 * UNIT))
        for known in KNOWN
        for _ in range(trials)
    ]
    low, high = scipy.stats.binom.interval(0.998, len(found), CONFIDENCE)
    # The bounds of the parameters make some intervals wider than they need to be, by some points in a hundred.
    assert low <= sum(found) <= high + 0.03 * len(found)


def test_nine_intervals_in_ten_cover_the_gain_when_all_models_are_scored_on_the_same_pages():
    generator = np.random.default_rng(0)
    trials = 60
    found = []
    for known in ((0.1, 0.1, 0.5), (0.0, 0.2, 0.3)):
        for _ in range(trials):
            curves = fit_curves(subset_points(*answers_of_subsets(generator, known, pages=200)))
            gain = error(known, UNIT) - error(known, 2 * UNIT)
            found.append(covers(expected_gain(curves, UNIT, UNIT), gain))
            found.append(covers(expected_macro_f1(curves, 2 * UNIT), 1 - error(known, 2 * UNIT)))
    low, _ = scipy.stats.binom.interval(0.998, len(found), CONFIDENCE)
    assert low <= sum(found) < len(found)


def answers_of_subsets(generator, known, pages, classes=4, seeds=3, hardness=0.6, luck=0.3):
    """What models trained on nested subsets of one draw of 800 pages say of the same pages, some of which are hard."""
    truth = generator.integers(classes, size=pages)
    hard = generator.normal(size=pages)
    decisions = {}
    for n in SIZES.astype(int).tolist():
        shared, common = n / UNIT, generator.normal()
        decisions[n] = []
        for _ in range(1 if n == UNIT else seeds):
            chance = np.sqrt(shared) * common + np.sqrt(1 - shared) * generator.normal()
            level = scipy.special.ndtri(np.clip(error(known, n) + luck / np.sqrt(n) * chance, 0.001, 0.999))
            is_wrong = np.sqrt(hardness) * hard + np.sqrt(1 - hardness) * generator.normal(size=pages) < level
            said = np.where(is_wrong, (truth + generator.integers(1, classes, size=pages)) % classes, truth)
            decisions[n].append(np.eye(classes, dtype=bool)[said])
    return np.eye(classes, dtype=bool)[truth], decisions


@pytest.mark.parametrize("known", KNOWN[:3])
def test_the_interval_is_that_of_the_profile_likelihood(known):
    found = drawn(np.random.default_rng(5), known, 400)
    expected = expected_macro_f1(fit_curves(found), 2 * UNIT)
    assert (1 - expected.high, 1 - expected.low) == pytest.approx(profile_interval(found), abs=0.003)


def profile_interval(found):
    """The errors at twice the labels at which the least squares, by a general optimizer, reach their limit."""
    noise = np.sqrt(np.diag(found.covariance))

    def least(at_twice):
        def misses(parameters):
            b, c = parameters
            a = at_twice - b * 2**-c
            # The asymptote must not be negative: misses beyond it are made large.
            return np.append((a + b * (found.n / UNIT) ** -c - found.error) / noise, 1e4 * min(a, 0))

        starts = [(at_twice / 2, c) for c in (0.1, 0.4, 1.2)]
        bounds = [0, 0.05], [1, 2]
        return min(2 * scipy.optimize.least_squares(misses, start, bounds=bounds).cost for start in starts)

    best = scipy.optimize.minimize_scalar(least, bounds=(0.01, 0.4), method="bounded", options={"xatol": 1e-3})
    limit = best.fun + scipy.stats.chi2.ppf(CONFIDENCE, 1)
    low, high = (
        scipy.optimize.brentq(lambda at_twice: least(at_twice) - limit, best.x, end, xtol=1e-3) for end in (0.001, 0.6)
    )
    return low, high


def test_more_pages_to_score_on_make_the_interval_narrower():
    errors = error((0.1, 0.1, 0.5), SIZES)
    wide, narrow = (expected_macro_f1(fit_curves(points(errors, pages)), 2 * UNIT) for pages in (100, 10_000))
    assert narrow.high - narrow.low < (wide.high - wide.low) / 3


def test_points_that_scatter_more_than_their_noise_explains_make_the_interval_wider():
    errors = error((0.1, 0.1, 0.5), SIZES)
    jumping = errors + 0.03 * np.array([1, -1, 1, -1, 1, -1])
    calm, wild = (expected_gain(fit_curves(points(each, 10_000)), UNIT, UNIT) for each in (errors, jumping))
    assert wild.high - wild.low > 2 * (calm.high - calm.low)


def test_few_quarters_close_together_leave_it_open_whether_labels_bring_anything():
    n = np.array([100.0, 140, 180, 220])
    gain = expected_gain(fit_curves(points(np.array([0.3, 0.29, 0.3, 0.28]), 300, n)), 220, 220)
    assert gain.low == pytest.approx(0, abs=0.001)
    assert gain.high > 0.03


def test_what_is_missing_for_a_curve_is_said():
    assert missing_points([100, 120, 150, 200]) is None
    assert "found 3 (from 100 to 400 labels)" in missing_points([100, 100, 200, 400])
    assert "at least 2 times" in missing_points([100, 120, 150, 199])
    assert "found 0 (none)" in missing_points([])
    with pytest.raises(InputError, match="needs 4 training sets"):
        fit_curves(points(np.array([0.2, 0.1]), 100, np.array([10.0, 20.0])))


def test_a_model_that_recognises_nothing_has_not_begun_to_learn():
    learnt = points(np.array([1.0, 1, 0.9, 0.8, 0.7, 0.6]), 100)
    assert has_begun(learnt)
    assert not has_begun(Points(SIZES, np.full(6, 0.99), learnt.covariance + 0.01))


def test_an_anchored_curve_goes_through_the_measured_error_and_keeps_its_shape():
    curve = fit_curves(points(error((0.1, 0.1, 0.5), SIZES), 10**9))
    moved = anchored(curve, 400, 0.05, 0.0)
    assert moved.error(400) == pytest.approx(0.05)
    assert moved.error(800)[0] / 0.05 == pytest.approx(curve.error(800)[0] / curve.error(400)[0])


def test_an_anchored_curve_is_as_uncertain_as_its_level():
    one = Curves(*(np.array([each]) for each in (0.1, 0.1, 0.5, 0.0)), limit=scipy.stats.chi2.ppf(0.9, 1), unit=UNIT)
    expected = expected_macro_f1(anchored(one, UNIT, 0.3, 0.02), UNIT)
    half = scipy.stats.norm.ppf(0.95) * 0.02
    assert (expected.value, expected.low, expected.high) == pytest.approx((0.7, 0.7 - half, 0.7 + half))


def test_errors_of_models_that_fail_on_the_same_pages_vary_together():
    def covariance(hardness):
        answers = answers_of_subsets(np.random.default_rng(1), (0.1, 0.1, 0.5), pages=300, hardness=hardness)
        return subset_points(*answers).covariance[np.triu_indices(6, 1)]

    assert (covariance(hardness=0.9) > 0).all()
    assert covariance(hardness=0.9).mean() > 3 * covariance(hardness=0.0).mean()


def test_the_error_of_a_size_is_the_mean_over_its_models():
    truth, decisions = answers_of_subsets(np.random.default_rng(1), (0.1, 0.1, 0.5), pages=300)
    found = subset_points(truth, decisions)
    assert found.error == pytest.approx(
        [1 - np.mean([macro_f1(truth, each) for each in decisions[n]]) for n in sorted(decisions)]
    )


def macro_f1(truth, decisions):
    from sklearn.metrics import f1_score

    return f1_score(truth, decisions, average="macro")


def test_two_models_of_one_size_are_needed_to_see_the_noise_of_training():
    truth, decisions = answers_of_subsets(np.random.default_rng(1), (0.1, 0.1, 0.5), pages=50, seeds=1)
    with pytest.raises(InputError, match="at least two subsets"):
        subset_points(truth, decisions)
