import math

import numpy as np
import pytest
from scipy.stats import chi2

from al_platform.monitoring.drift import (
    Binned,
    Texts,
    binned_numbers,
    compare,
    predicted_features,
    psi,
    text_features,
)

LIMITS = {"psi_limit": 0.25, "alpha": 0.01, "min_pages": 10}


def drift(**features):
    return {found.feature: found for found in compare(features, **LIMITS)}


def test_the_index_is_the_sum_over_bins_of_how_far_shares_moved():
    # 9.5 and 9.5 pages of 19 become 4.5 and 14.5: with half a page a bin, by hand.
    p, q = (0.5, 0.5), (4.5 / 19, 14.5 / 19)
    expected = sum((new - old) * math.log(new / old) for old, new in zip(p, q, strict=True))
    assert psi(np.array([9.0, 9.0]), np.array([4.0, 14.0])) == pytest.approx(expected)
    assert psi(np.array([9.0, 9.0]), np.array([90.0, 90.0])) == pytest.approx(0)


def test_the_test_is_pearsons_chi_squared_of_two_samples():
    found = drift(length=Binned({"a": 30, "b": 50, "c": 20}, {"a": 60, "b": 70, "c": 70}))["length"]
    # Both samples together: 90, 120 and 90 of 300; a third of each is expected before, two thirds now.
    expected = [(30, 40, 30), (60, 80, 60)]
    seen = [(30, 50, 20), (60, 70, 70)]
    statistic = sum(
        (s - e) ** 2 / e for row, per in zip(seen, expected, strict=True) for s, e in zip(row, per, strict=True)
    )
    assert found.p == pytest.approx(chi2.sf(statistic, df=2))


def test_p_values_are_adjusted_for_their_number():
    feature = Binned({"a": 30, "b": 70}, {"a": 45, "b": 55})
    alone, together = drift(one=feature)["one"], drift(one=feature, two=feature)["one"]
    assert together.p == pytest.approx(2 * alone.p)


def test_a_small_difference_of_many_pages_is_significant_and_no_drift():
    found = drift(language=Binned({"en": 500_000, "de": 500_000}, {"en": 510_000, "de": 490_000}))["language"]
    assert found.p < 1e-10
    assert not found.has_drifted


def test_a_large_difference_of_few_pages_may_be_chance_and_is_no_drift():
    found = drift(language=Binned({"en": 8, "de": 4}, {"en": 4, "de": 8}))["language"]
    assert found.psi > 0.25
    assert not found.has_drifted


def test_a_large_difference_of_many_pages_is_drift_and_says_where():
    found = drift(language=Binned({"en": 900, "de": 100}, {"en": 400, "de": 600}))["language"]
    assert found.has_drifted
    assert (found.n_before, found.n_now) == (1000, 1000)
    assert found.largest in ("en: 90.0% to 40.0%", "de: 10.0% to 60.0%")


@pytest.mark.parametrize(
    "binned", [Binned({"en": 9}, {"en": 5, "de": 5}), Binned({"en": 50}, {"en": 50}), Binned({}, {"en": 50})]
)
def test_too_few_pages_and_a_single_bin_tell_nothing(binned):
    assert drift(language=binned) == {}


def test_the_largest_drift_comes_first():
    small, large = Binned({"a": 50, "b": 50}, {"a": 55, "b": 45}), Binned({"a": 50, "b": 50}, {"a": 90, "b": 10})
    assert list(drift(small=small, large=large)) == ["large", "small"]


def test_numbers_are_binned_by_the_tenths_of_those_before():
    binned = binned_numbers(list(range(1, 101)), [0, 5, 1_000])
    assert len(binned.before) == 10
    assert set(binned.before.values()) == {10}
    assert sorted(binned.now.values()) == [1, 2]


def test_equal_numbers_share_a_bin():
    assert len(binned_numbers([0.0] * 50, [0.0, 0.5]).before) == 1


def texts(*words, language="en", domain="a.org"):
    return Texts(words, [language] * len(words), [domain] * len(words))


def test_the_vocabulary_of_every_second_page_says_what_is_new_without_drift():
    before = texts("known words", "known stranger", "words", "known words")
    found = text_features(before, texts("all new here", "known"))["vocabulary"]
    assert sum(found.before.values()) == 2  # the other half of the pages
    assert sum(found.now.values()) == 2


def test_a_domain_that_was_not_there_is_new():
    before = Texts(["x"] * 4, ["en"] * 4, ["a.org", "a.org", "a.org", "b.org"])
    found = text_features(before, texts("y", "y", domain="c.org"))["domain tier"]
    assert found.now == {"new": 2}
    assert sum(found.before.values()) == 4


def test_without_domains_before_none_is_compared():
    assert "domain tier" not in text_features(texts("x", domain=None), texts("y"))


def test_each_label_is_a_feature_of_its_own():
    found = predicted_features({"sport": 30}, 100, {"sport": 5, "tech": 45}, 50)
    assert found["predicted sport"] == Binned({"with it": 30, "other": 70}, {"with it": 5, "other": 45})
    assert found["predicted tech"].before == {"with it": 0, "other": 100}
    assert drift(**found)["predicted tech"].largest == "with it: 0.0% to 90.0%"
