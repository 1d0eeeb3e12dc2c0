import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from al_platform.sources.months import moments, topic_mix
from al_platform.sources.sites import DOMAINS, address, chance, draw_sites, site_shares

DECEMBER_2025 = 2025 * 12 + 11


@given(number=st.integers(12, 9999 * 12), topics=st.integers(1, 20))
def test_a_topic_mix_is_a_set_of_shares_in_which_no_topic_is_lost(number: int, topics: int) -> None:
    mix = topic_mix(number, topics)
    assert mix.sum() == pytest.approx(1)
    assert mix.min() > 0.05 / topics


def test_the_mix_of_a_month_differs_from_year_to_year() -> None:
    assert np.abs(topic_mix(24_000, 5) - topic_mix(24_012, 5)).max() > 0.01


def test_the_first_and_the_last_moment_lie_in_the_month() -> None:
    first, last = moments(DECEMBER_2025, np.array([0, 1 - 1e-12]))
    assert str(first) == "2025-12-01T00:00:00.000000"
    assert str(last) == "2025-12-31T23:59:59.999997"


def test_chance_is_the_same_everywhere_and_separates_its_parts() -> None:
    assert chance("a", 1) == pytest.approx(0.51413069)
    assert chance("ab", "c") != chance("a", "bc")


@given(st.lists(st.text(), max_size=3))
def test_chance_lies_strictly_between_0_and_1(parts: list[str]) -> None:
    assert 0 < chance(*parts) < 1


def test_every_topic_prefers_its_own_sites() -> None:
    shares = site_shares(("sport", "tech"), seed=0)
    assert shares.sum(axis=1) == pytest.approx([1, 1])
    assert np.abs(shares[0] - shares[1]).sum() > 0.2


def test_sites_are_drawn_from_the_shares_of_the_topic() -> None:
    shares = np.zeros((2, len(DOMAINS)))
    shares[0, 3] = shares[1, 5] = 1
    assert draw_sites(np.array([0, 1, 1]), shares, np.array([0.1, 0.0001, 0.9999])) == [
        DOMAINS[3],
        DOMAINS[5],
        DOMAINS[5],
    ]


def test_an_address_holds_the_first_words_of_the_title_and_the_page() -> None:
    assert address("a.example", "Ünder £5m: It's a deal!", "p1") == "https://a.example/nder-5m-it-s-a-deal-p1"
