import numpy as np
import pytest
from scipy import optimize, stats

from al_platform.domain.errors import InputError
from al_platform.domain.metrics import macro_f1, micro_f1
from al_platform.domain.paired import (
    PSEUDO_PAGES,
    SAFETY,
    Gain,
    class_f1_gains,
    holm,
    macro_f1_difference,
    macro_f1_gains,
    micro_f1_gain,
    paired_recall_difference,
    tango,
)

PRIORS = np.array([0.4, 0.3, 0.2, 0.1])


def draw(rng, n, skill=0.75, agreement=0.6):
    """Truth of 4 classes and the decisions of two equally good, correlated models."""
    truth = rng.choice(4, n, p=PRIORS)
    champion = np.where(rng.random(n) < skill, truth, rng.integers(0, 4, n))
    own = np.where(rng.random(n) < skill, truth, rng.integers(0, 4, n))
    challenger = np.where(rng.random(n) < agreement, champion, own)
    return tuple(np.eye(4, dtype=bool)[classes] for classes in (truth, champion, challenger))


def jackknife_error(figure, n):
    """The standard error by leaving out one row at a time."""
    values = np.array([figure(np.arange(n) != row) for row in range(n)])
    return np.sqrt((n - 1) / n * ((values - values.mean()) ** 2).sum())


def without_pseudo_pages(monkeypatch):
    monkeypatch.setattr("al_platform.domain.paired.PSEUDO_PAGES", 0.0)


# differences in F1


def test_a_difference_is_challenger_minus_champion():
    truth, champion, _ = draw(np.random.default_rng(1), 300)
    gain = macro_f1_difference(truth, champion, truth, set_name="golden")
    assert gain.point == pytest.approx(1 - macro_f1(truth, champion))
    assert 0 < gain.lower < gain.point < gain.upper
    loss = macro_f1_difference(truth, truth, champion, set_name="golden")
    assert (loss.point, loss.lower) == pytest.approx((-gain.point, -gain.upper))
    assert (gain.n, gain.set, gain.confidence) == (300, "golden", 0.95)


def test_the_standard_error_agrees_with_the_jackknife(monkeypatch):
    without_pseudo_pages(monkeypatch)
    truth, champion, challenger = draw(np.random.default_rng(2), 400)

    def difference(kept):
        return macro_f1(truth[kept], challenger[kept]) - macro_f1(truth[kept], champion[kept])

    found = macro_f1_gains(truth, champion, challenger).standard_error
    assert found == pytest.approx(jackknife_error(difference, 400), rel=0.01)


def test_the_bounds_agree_with_the_bootstrap_where_rows_are_many():
    truth, champion, challenger = draw(np.random.default_rng(4), 3000)
    found = macro_f1_difference(truth, champion, challenger, set_name="golden", confidence=1 - 0.05 / SAFETY)
    gains = resampled_gains(truth, champion, challenger)
    assert [found.lower, found.upper] == pytest.approx(np.quantile(gains, [0.05, 0.95]), abs=0.001)


def resampled_gains(truth, champion, challenger, replicates=4000):
    """Return the difference in macro-F1 on resamples of the rows, from their counts a class."""
    rng, n = np.random.default_rng(1), len(truth)
    times = rng.multinomial(n, np.full(n, 1 / n), replicates).astype(np.float32)
    support = times @ truth.astype(np.float32)

    def macro_f1s(decisions):
        found, given = (times @ marks.astype(np.float32) for marks in (truth & decisions, decisions))
        return (2 * found / (given + support)).mean(axis=1)

    return macro_f1s(challenger) - macro_f1s(champion)


def test_weights_count_a_row_for_the_pages_it_stands_for(monkeypatch):
    without_pseudo_pages(monkeypatch)
    truth, champion, challenger = draw(np.random.default_rng(5), 300)
    weights = np.random.default_rng(6).uniform(1, 5, 300)

    def difference(kept):
        sides = [macro_f1(truth[kept], side[kept], weights[kept]) for side in (challenger, champion)]
        return sides[0] - sides[1]

    found = macro_f1_gains(truth, champion, challenger, weights=weights)
    assert found.point == pytest.approx(difference(np.ones(300, dtype=bool)))
    assert found.standard_error == pytest.approx(jackknife_error(difference, 300), rel=0.02)


def test_several_samples_of_the_same_rows_are_answered_at_once():
    rows = draw(np.random.default_rng(7), 50)
    counts = np.random.default_rng(8).multinomial(200, np.full(50, 0.02), 3).astype(float)
    found = macro_f1_gains(*rows, counts=counts)
    for sample, times in enumerate(counts.astype(int)):
        repeated = [np.repeat(side, times, axis=0) for side in rows]
        expected = macro_f1_gains(*repeated)
        assert found.point[sample] == pytest.approx(expected.point)
        assert found.standard_error[sample] == pytest.approx(expected.standard_error)


def test_class_and_micro_gains_have_the_jackknifes_error(monkeypatch):
    without_pseudo_pages(monkeypatch)
    truth, champion, challenger = draw(np.random.default_rng(9), 400)

    def of_class(kept):
        sides = [2 * (truth[kept] & side[kept])[:, 2].sum() for side in (challenger, champion)]
        totals = [(truth[kept].sum(axis=0) + side[kept].sum(axis=0))[2] for side in (challenger, champion)]
        return sides[0] / totals[0] - sides[1] / totals[1]

    def micro(kept):
        return micro_f1(truth[kept], challenger[kept]) - micro_f1(truth[kept], champion[kept])

    classes, pooled = class_f1_gains(truth, champion, challenger), micro_f1_gain(truth, champion, challenger)
    everything = np.ones(400, dtype=bool)
    assert classes.point[2] == pytest.approx(of_class(everything))
    assert classes.standard_error[2] == pytest.approx(jackknife_error(of_class, 400), rel=0.02)
    assert pooled.point == pytest.approx(micro(everything))
    assert pooled.standard_error == pytest.approx(jackknife_error(micro, 400), rel=0.01)


def test_two_models_that_agree_on_few_pages_are_not_known_to_agree():
    truth, decisions, _ = draw(np.random.default_rng(1), 100)
    few = macro_f1_difference(truth, decisions, decisions, set_name="golden")
    many = macro_f1_difference(*(np.tile(side, (20, 1)) for side in (truth, decisions, decisions)), set_name="golden")
    assert few.point == many.point == 0
    assert few.lower < many.lower < 0
    assert -many.lower == pytest.approx(-few.lower / 20, rel=0.1)


def test_the_doubt_about_an_equal_pair_is_half_a_page_for_each_model():
    # one class, all 10 pages found by both: F1 is 1, a page has 2 of 20 marks; with the half pages 21.5
    found = np.ones((10, 1), dtype=bool)
    gain = macro_f1_gains(found, found, found)
    assert gain.standard_error == pytest.approx(np.sqrt(PSEUDO_PAGES * 2 * (1 / 21.5) ** 2))


def test_a_constant_answer_leaves_no_doubt_about_what_it_finds():
    truth, _, challenger = draw(np.random.default_rng(3), 200)
    baseline = np.tile([True, False, False, False], (200, 1))
    unsure, sure = (
        macro_f1_difference(truth, baseline, challenger, set_name="golden", is_constant=known)
        for known in (False, True)
    )
    assert sure.point == unsure.point
    assert sure.lower > unsure.lower


@pytest.mark.parametrize("agreement", [0.6, 0.95])
def test_the_lower_bound_is_wrong_in_at_most_one_of_twenty_samples(agreement):
    rng, trials = np.random.default_rng(12), 2000
    wrong = sum(
        macro_f1_difference(*draw(rng, 500, agreement=agreement), set_name="x").lower > 0 for _ in range(trials)
    )
    assert 0.01 * trials < wrong <= stats.binom.ppf(0.999, trials, 0.05)


def test_shapes_that_differ_are_refused():
    truth, champion, challenger = draw(np.random.default_rng(1), 10)
    with pytest.raises(InputError, match="same shape"):
        macro_f1_difference(truth, champion, challenger[:5], set_name="golden")


def test_harm_is_likely_by_chance_where_the_loss_is_the_margin():
    gain = Gain(np.array([-0.03, -0.01, 0.02]), np.full(3, 0.01))
    p = gain.p_of_harm(margin=0.01)
    assert p[1] == pytest.approx(0.5 / SAFETY)
    assert p[0] == pytest.approx(stats.norm.cdf(-2) / SAFETY)
    assert p[2] == 1


# shares and p-values


def by_likelihood(gained, lost, n, confidence):
    """Tango's bounds from the restricted likelihood itself, maximised by search."""

    def score(delta):
        def negative(lost_share):
            shares = np.array([lost_share + delta, lost_share, 1 - 2 * lost_share - delta])
            counts = np.array([gained, lost, n - gained - lost])
            return -(counts * np.log(np.clip(shares, 1e-300, None))).sum()

        lowest, highest = max(0.0, -delta), (1 - delta) / 2
        best = optimize.minimize_scalar(
            negative, bounds=(lowest, highest), method="bounded", options={"xatol": 1e-12}
        ).x
        return (gained - lost - n * delta) / np.sqrt(n * (2 * best + delta - delta**2))

    z, point = stats.norm.ppf(confidence), (gained - lost) / n
    lower = optimize.brentq(lambda delta: score(delta) - z, -0.999, point - 1e-9)
    return lower, optimize.brentq(lambda delta: score(delta) + z, point + 1e-9, 0.999)


@pytest.mark.parametrize(("gained", "lost", "n"), [(1, 7, 21), (5, 5, 40), (12, 3, 60), (0, 4, 30), (30, 20, 200)])
def test_tangos_bounds_agree_with_the_restricted_likelihood(gained, lost, n):
    assert tango(gained, lost, n, 0.95) == pytest.approx(by_likelihood(gained, lost, n, 0.95), abs=1e-4)


def test_tangos_interval_is_that_of_a_published_example():
    # Airway hyper-responsiveness before and after transplantation; Fagerland, Lydersen and Laake 2014, table 8
    assert tango(1, 7, 21, 0.975) == pytest.approx((-0.517, -0.026), abs=0.0005)


def test_models_that_agree_on_all_rows_differ_by_less_with_more_of_them():
    lower, upper = tango(0, 0, 50, 0.95)
    assert lower == pytest.approx(-upper)
    z = stats.norm.ppf(0.95)
    assert upper == pytest.approx(z**2 / (50 + z**2), abs=1e-6)


def test_tango_stays_within_one_where_all_rows_differ():
    assert tango(10, 0, 10, 0.95)[1] == 1
    assert tango(0, 10, 10, 0.95)[0] == -1


def test_an_impossible_paired_table_is_refused():
    with pytest.raises(InputError, match="7 and 5 of 10"):
        tango(7, 5, 10, 0.95)


def test_recall_is_compared_on_true_pairs_of_page_and_label_only():
    truth = np.array([[True, False], [True, True], [False, False]])
    champion = np.array([[True, True], [False, False], [True, True]])
    challenger = np.array([[True, False], [True, False], [False, False]])
    found = paired_recall_difference(truth, champion, challenger, set_name="golden")
    assert found.point == pytest.approx(1 / 3)
    assert (found.lower, found.upper) == pytest.approx(tango(1, 0, 3, 0.95))
    assert found.n == 3


def test_labels_that_are_missed_together_count_as_fewer():
    apart = np.zeros((40, 2), dtype=bool)
    together = np.zeros((40, 2), dtype=bool)
    apart[:20, 0] = apart[20:, 1] = True
    together[:20] = True
    lost = {"apart": np.arange(40) % 5 == 0, "together": np.arange(40) % 5 == 0}
    bounds = {}
    for name, truth in (("apart", apart), ("together", together)):
        challenger = truth & ~lost[name][:, None]
        bounds[name] = paired_recall_difference(truth, truth, challenger, set_name="golden")
    assert bounds["apart"].point == bounds["together"].point == -0.2
    assert bounds["together"].lower < bounds["apart"].lower


def test_recall_of_no_true_page_is_nothing():
    nothing = np.zeros((5, 1), dtype=bool)
    assert paired_recall_difference(nothing, nothing, nothing, set_name="golden") is None


def test_holm_multiplies_the_smallest_by_all_and_keeps_the_order():
    # .01 * 4, .02 * 3 = .06, .03 * 2 = .06, .04 * 1 raised to .06
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert len(holm([])) == 0
