from itertools import product

import numpy as np
import pytest

from al_platform.domain.budget import (
    HORIZON_MONTHS,
    Claim,
    Expected,
    expected_gain,
    expected_macro_f1,
    labels_to_reach,
    months_until_not_worth,
    share_out,
)
from al_platform.domain.learning_curve import Curves

# error(100) = 0.2, error(200) = 0.15; the second curve has no floor: error(100) = 0.2, error(200) = 0.1
FLOOR, NO_FLOOR = (0.1, 0.1, 1.0), (0.0, 0.2, 1.0)


def curves(*parameters):
    a, b, c = (np.array(each, dtype=float) for each in zip(*parameters, strict=True))
    return Curves(a, b, c, np.zeros(len(a)), limit=1.0, unit=100.0)


def test_the_gain_of_the_best_curve_is_given_between_those_of_all_that_are_possible():
    gain = expected_gain(curves(FLOOR, NO_FLOOR), 100, 100)
    assert (gain.value, gain.low, gain.high) == pytest.approx((0.05, 0.05, 0.1))
    now = expected_macro_f1(curves(FLOOR, NO_FLOOR), 200)
    assert (now.value, now.low, now.high) == pytest.approx((0.85, 0.85, 0.9))


def test_macro_f1_is_never_below_zero():
    assert expected_macro_f1(curves((0.9, 0.3, 0.5)), 100).low == 0


def test_the_labels_to_a_target_lead_to_it():
    needed = labels_to_reach(curves(NO_FLOOR, FLOOR), 100, 0.15)
    assert (needed.value, needed.low, needed.high) == pytest.approx((100 / 3, 100 / 3, 100))
    assert curves(NO_FLOOR).error(100 + needed.value)[0] == pytest.approx(0.15)


def test_a_target_below_the_asymptote_is_never_reached():
    needed = labels_to_reach(curves(NO_FLOOR, FLOOR), 100, 0.05)
    assert (needed.value, needed.high) == (pytest.approx(300), None)
    assert labels_to_reach(curves(FLOOR), 100, 0.1).low is None


def test_a_target_that_is_reached_needs_no_labels():
    assert labels_to_reach(curves(FLOOR, (0.1, 0.0, 1.0)), 100, 0.2).high == 0


@pytest.mark.parametrize("worth", [0.02, 0.001, 0.0001])
def test_labels_are_worth_it_until_a_months_gain_falls_below_the_least_one(worth):
    curve = curves(NO_FLOOR)
    expected = next(
        (
            month
            for month in range(HORIZON_MONTHS)
            if curve.error(100 + 50 * month)[0] - curve.error(150 + 50 * month)[0] < worth
        ),
        None,
    )
    assert months_until_not_worth(curve, 100, 50, worth).value == expected


def test_labels_that_stay_worth_it_have_no_last_month():
    assert months_until_not_worth(curves((0.0, 0.5, 0.05)), 100, 1000, 1e-9).value is None


def test_a_figure_changes_its_unit_and_never_stays_never():
    assert Expected(value=1.0, low=0.5, high=None).times(2) == Expected(value=2.0, low=1.0, high=None)


@pytest.mark.parametrize("seed", range(20))
def test_a_shared_budget_gains_as_much_as_the_best_of_all_divisions(seed):
    generator = np.random.default_rng(seed)
    claims = {
        name: Claim(
            curves((generator.uniform(0, 0.2), generator.uniform(0.02, 0.3), generator.uniform(0.1, 1.5))),
            n=generator.uniform(50, 500),
            train_share=generator.uniform(0.5, 1),
            answers_per_label=generator.choice([1, 2, 3]),
            weight=generator.choice([0.5, 1, 2]),
        )
        for name in ("topics", "brand_safety", "sentiment")
    }
    blocks, total = 7, 700
    given = share_out(total, claims, blocks)
    assert sum(given.values()) == pytest.approx(total)
    divisions = [each for each in product(range(blocks + 1), repeat=3) if sum(each) == blocks]
    best = max(worth(claims, [100 * number for number in division]) for division in divisions)
    assert worth(claims, given.values()) == pytest.approx(best)


def worth(claims, answers):
    return sum(
        claim.weight
        * (
            claim.curves.error(claim.n)[0]
            - claim.curves.error(claim.n + n / claim.answers_per_label * claim.train_share)[0]
        )
        for claim, n in zip(claims.values(), answers, strict=True)
    )


def test_what_is_dearer_and_learns_the_same_gets_fewer_labels():
    claims = {name: Claim(curves(NO_FLOOR), 100, answers_per_label=price) for name, price in (("a", 1), ("b", 3))}
    given = share_out(600, claims)
    assert given["a"] > given["b"] / 3 > 0


def test_a_family_that_counts_more_gets_more():
    claims = {name: Claim(curves(NO_FLOOR), 100, weight=weight) for name, weight in (("a", 1.0), ("b", 4.0))}
    given = share_out(600, claims)
    assert given["b"] > given["a"] > 0
