import numpy as np
import pytest

from al_platform.domain.slices import domain_tiers, length_bucket, slice_differences


def rights(*shares_right, n=100):
    """Truth of two classes and a model that is right on the first pages of each block of ``n``."""
    right = np.concatenate([np.arange(n) < share * n for share in shares_right])
    truth = np.tile([True, False], (len(right), 1))
    return truth, np.where(right[:, None], truth, ~truth)


def test_the_largest_domains_with_half_of_the_pages_are_the_head():
    domains = ["a"] * 50 + ["b"] * 40 + ["c"] * 6 + ["d"] * 4 + [None]
    tiers = dict(zip(domains, domain_tiers(domains), strict=True))
    assert tiers == {"a": "head", "b": "middle", "c": "tail", "d": "tail", None: "unknown"}


@pytest.mark.parametrize(
    ("words", "bucket"), [(49, "under 50 words"), (50, "50 to 199 words"), (1000, "1,000 words and more")]
)
def test_texts_are_sorted_by_their_number_of_words(words, bucket):
    assert length_bucket("word " * words) == bucket


def test_each_slice_is_compared_on_its_own_pages():
    truth, champion = rights(0.8, 0.8)
    _, challenger = rights(0.9, 0.5)
    slices = {"language": ["en"] * 100 + ["de"] * 100}
    german, english = slice_differences(truth, champion, challenger, slices, set_name="golden", min_support=20)
    assert (german.value, english.value) == ("de", "en")
    assert german.difference.point == pytest.approx(-0.3)
    assert english.difference.point == pytest.approx(0.1)
    assert german.p_of_harm < 0.001
    assert english.p_of_harm == 1


def test_small_slices_and_those_with_one_value_are_left_out():
    truth, decisions = rights(0.8)
    slices = {"language": ["en"] * 90 + ["de"] * 10, "source": ["imported"] * 100}
    found = slice_differences(truth, decisions, decisions, slices, set_name="golden", min_support=20)
    assert [(each.slice, each.value) for each in found] == [("language", "en")]


def test_losses_of_many_slices_are_corrected_for_their_number():
    truth, champion = rights(*[0.8] * 10)
    _, challenger = rights(0.72, *[0.8] * 9)
    names = [str(number) for number in range(10) for _ in range(100)]
    alone = slice_differences(
        truth, champion, challenger, {"s": ["0"] * 100 + ["1"] * 900}, set_name="x", min_support=1
    )
    many = slice_differences(truth, champion, challenger, {"s": names}, set_name="x", min_support=1)
    assert alone[0].difference == many[0].difference
    assert many[0].p_of_harm == pytest.approx(5 * alone[0].p_of_harm)
