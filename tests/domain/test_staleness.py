import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from al_platform.domain.errors import InputError
from al_platform.domain.metrics import macro_f1
from al_platform.domain.staleness import PastDecisions, staleness

TRUTH = np.eye(2, dtype=bool)[[0, 0, 0, 1, 1, 1]]
RIGHT = TRUTH
ONE_WRONG = np.eye(2, dtype=bool)[[1, 0, 0, 1, 1, 1]]
WRONG = ~TRUTH


def past(cycle, decisions):
    return PastDecisions(cycle, f"model of {cycle}", decisions)


def curve(champions, challenger=RIGHT, truth=TRUTH, **more):
    return staleness(truth, champions, challenger, cycle="2026-10", seed=0, replicates=200, **more)


def test_each_past_champion_stands_with_its_age_its_figure_and_what_it_lacks():
    found = curve([past("2026-04", WRONG), past("2026-07", ONE_WRONG)])
    assert [(point.cycle, point.age_months) for point in found.champions] == [("2026-04", 6), ("2026-07", 3)]
    assert [point.macro_f1.value for point in found.champions] == pytest.approx([0.0, macro_f1(TRUTH, ONE_WRONG)])
    assert found.champions[0].gain.point == pytest.approx(1.0)
    assert found.challenger is not None
    assert found.challenger.value == pytest.approx(1.0)
    assert found.n == 6


def test_every_figure_lies_within_its_interval():
    for point in curve([past("2026-07", ONE_WRONG)]).champions:
        assert point.macro_f1.low <= point.macro_f1.value <= point.macro_f1.high
        assert point.gain.lower <= point.gain.point <= point.gain.upper


def test_a_champion_that_decides_as_the_challenger_has_lost_nothing():
    assert curve([past("2026-07", ONE_WRONG)], challenger=ONE_WRONG).champions[0].gain.point == 0


def test_a_page_counts_for_the_traffic_it_stands_for():
    weights = np.array([5.0, 1, 1, 1, 1, 1])
    found = curve([past("2026-07", ONE_WRONG)], weights=weights)
    assert found.champions[0].macro_f1.value == pytest.approx(macro_f1(TRUTH, ONE_WRONG, weights))


def test_before_the_first_champion_only_the_challenger_has_a_figure():
    found = curve([])
    assert found.champions == ()
    assert found.challenger is not None


def test_without_audit_pages_nothing_is_told():
    none = TRUTH[:0]
    found = curve([past("2026-07", none)], challenger=none, truth=none, left_out=["2026-01"])
    assert (found.n, found.champions, found.challenger, found.left_out) == (0, (), None, ("2026-01",))


def test_a_champion_of_this_cycle_or_later_is_no_past_one():
    with pytest.raises(InputError, match="2026-10"):
        curve([past("2026-10", RIGHT)])


@given(st.permutations(range(6)))
def test_the_order_of_pages_does_not_matter(order):
    rows = list(order)
    shuffled = staleness(
        TRUTH[rows], [past("2026-07", ONE_WRONG[rows])], RIGHT[rows], cycle="2026-10", seed=0, replicates=200
    )
    found = curve([past("2026-07", ONE_WRONG)])
    assert shuffled.champions[0].macro_f1 == found.champions[0].macro_f1
    assert shuffled.champions[0].gain.lower == pytest.approx(found.champions[0].gain.lower)
