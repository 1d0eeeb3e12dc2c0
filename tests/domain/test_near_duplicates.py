import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from al_platform.domain.near_duplicates import (
    MAX_COMPARISONS,
    NearDuplicateOptions,
    near_duplicate_groups,
    similar_pairs,
    similar_to,
)
from al_platform.domain.text import words

OPTIONS = NearDuplicateOptions()
VOCABULARY = [f"word{number}" for number in range(3_000)]
REPORT = "the council of the town voted on monday to close the old bridge for repairs until the end of may"
REPORT_EDITED = (
    "the council of the town voted on tuesday to close the old bridge for urgent repairs until the end of may"
)
OTHER = "a local team won the cup after a long game in the rain that went to extra time and then to penalties"


def random_text(rng: random.Random, n_words: int) -> str:
    return " ".join(rng.choices(VOCABULARY, k=n_words))


def edited(text: str, share: float, rng: random.Random) -> str:
    """Return ``text`` with a share of its words replaced, deleted or followed by another."""
    tokens = text.split()
    for position in sorted(rng.sample(range(len(tokens)), round(share * len(tokens))), reverse=True):
        new = rng.choice(VOCABULARY)
        tokens[position : position + 1] = rng.choice([[new], [], [tokens[position], new]])
    return " ".join(tokens)


def similarity(left: str, right: str) -> float:
    """Return the Jaccard index of words and word pairs, computed the plain way."""
    sets = [set(words(text)) | set(zip(words(text), words(text)[1:], strict=False)) for text in (left, right)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def partition(groups: np.ndarray, texts: list[str]) -> set[frozenset[str]]:
    return {
        frozenset(text for text, g in zip(texts, groups, strict=True) if g == group) for group in set(groups.tolist())
    }


def test_an_edited_report_joins_the_longer_one_and_another_stays_alone() -> None:
    assert near_duplicate_groups([REPORT, OTHER, REPORT_EDITED], OPTIONS).tolist() == [2, 1, 2]


def test_the_similarity_is_the_jaccard_index_of_words_and_word_pairs() -> None:
    pairs = similar_pairs([REPORT_EDITED], [OTHER, REPORT], OPTIONS)
    assert (pairs.text.tolist(), pairs.reference.tolist()) == ([0], [1])
    assert pairs.similarity[0] == pytest.approx(similarity(REPORT, REPORT_EDITED))


def test_case_and_punctuation_make_no_difference() -> None:
    assert similar_to([REPORT.upper() + "!"], [REPORT], OPTIONS).tolist() == [True]


def test_a_short_text_is_a_copy_of_the_same_words_only() -> None:
    best, worst = "one of the best films of the year", "one of the worst films of the year"
    assert similar_to([best, best + "!"], [worst, best], OPTIONS).tolist() == [True, True]
    assert similar_to([best], [worst], OPTIONS).tolist() == [False]


def test_a_chain_of_small_edits_does_not_link_its_ends() -> None:
    tokens = VOCABULARY[:200]
    chain = [" ".join(tokens[start : start + 100]) for start in range(0, 101, 20)]
    groups = near_duplicate_groups(chain, OPTIONS)
    assert len(set(groups.tolist())) > 1
    assert all(similarity(chain[i], chain[g]) >= OPTIONS.threshold for i, g in enumerate(groups.tolist()))


@pytest.mark.parametrize(("n_words", "share"), [(150, 0.05), (150, 0.15), (25, 0.15)])
def test_nine_of_ten_edited_copies_are_found_and_nothing_else(n_words: int, share: float) -> None:
    rng = random.Random(1)
    originals = [random_text(rng, n_words) for _ in range(300)]
    pairs = similar_pairs([edited(text, share, rng) for text in originals], originals, OPTIONS)
    assert np.array_equal(pairs.text, pairs.reference)
    assert len(pairs.text) >= 270


def test_copies_are_found_among_pages_that_share_most_of_their_words() -> None:
    rng = random.Random(2)
    template = random_text(rng, 60)
    site = [f"{template} {random_text(rng, 60)}" for _ in range(600)]
    copies = [edited(page, 0.1, rng) for page in site[-40:]]
    pairs = similar_pairs(copies, site, OPTIONS)
    found = set(zip(pairs.text.tolist(), pairs.reference.tolist(), strict=True))
    assert len(found) == len(found & {(copy, 560 + copy) for copy in range(40)}) >= 36


def test_a_page_published_a_thousand_times_gives_one_group_and_few_pairs() -> None:
    texts = [REPORT] * 1_000
    assert near_duplicate_groups(texts, OPTIONS).tolist() == [0] * 1_000
    assert similar_pairs(texts[:2], texts, OPTIONS).reference.tolist() == [0, 0]
    variants = [edited(REPORT + " " + OTHER, 0.03, random.Random(seed)) for seed in range(200)]
    assert len(similar_pairs(variants[:1], variants, OPTIONS).text) <= MAX_COMPARISONS


def test_no_texts_and_texts_without_words_are_fine() -> None:
    assert near_duplicate_groups([], OPTIONS).tolist() == []
    assert near_duplicate_groups(["", "!?", REPORT], OPTIONS).tolist() == [1, 1, 2]
    assert similar_to([], [REPORT], OPTIONS).tolist() == []
    assert similar_to([REPORT], [], OPTIONS).tolist() == [False]


def test_the_answer_for_a_pair_does_not_depend_on_the_other_texts() -> None:
    rng = random.Random(3)
    originals = [random_text(rng, 20) for _ in range(60)]
    copies = [edited(text, 0.2, rng) for text in originals]
    together = similar_to(copies, originals, OPTIONS)
    alone = [similar_to([copy], [text], OPTIONS)[0] for copy, text in zip(copies, originals, strict=True)]
    assert together.tolist() == alone
    assert 0 < sum(alone) < 60


# Few words and many texts, so that hypothesis meets copies, ties and chains.
texts_with_copies = st.lists(
    st.lists(st.sampled_from("abcdefghijklmnop"), max_size=18).map(" ".join), max_size=12
).flatmap(lambda texts: st.permutations(texts + [f"{text} z" for text in texts]))


@settings(max_examples=60)
@given(texts_with_copies, st.randoms(use_true_random=False))
def test_groups_do_not_depend_on_the_order_of_the_texts(texts: list[str], rng: random.Random) -> None:
    shuffled = rng.sample(texts, len(texts))
    here, there = near_duplicate_groups(texts, OPTIONS), near_duplicate_groups(shuffled, OPTIONS)
    assert partition(here, texts) == partition(there, shuffled)


@settings(max_examples=60)
@given(texts_with_copies)
def test_each_text_is_a_direct_copy_of_its_representative(texts: list[str]) -> None:
    groups = near_duplicate_groups(texts, OPTIONS).tolist()
    for position, group in enumerate(groups):
        assert groups[group] == group
        if words(texts[position]) != words(texts[group]):
            assert similarity(texts[position], texts[group]) >= OPTIONS.threshold


@settings(max_examples=60)
@given(texts_with_copies)
def test_no_pair_is_reported_that_is_not_similar(texts: list[str]) -> None:
    pairs = similar_pairs(texts, texts, OPTIONS)
    for text, reference, value in zip(*(column.tolist() for column in pairs), strict=True):
        if words(texts[text]):
            assert value == pytest.approx(similarity(texts[text], texts[reference]))
            assert value >= OPTIONS.threshold


def test_real_sentences_with_one_subject_are_not_merged() -> None:
    sentences = [
        "the film is a charming and often funny story about two brothers who open a bakery in a small town",
        "the film is a slow and mostly humourless story about three sisters who close a school in a big city",
        "the film is at its best when the two leads argue about bread and worst when it tries to make us cry",
        "a bakery in a small town is where two sisters learn that a funny story can be a sad one as well",
    ]
    assert near_duplicate_groups(sentences, OPTIONS).tolist() == [0, 1, 2, 3]
    assert max(similarity(*pair) for pair in combinations(sentences, 2)) < 0.5
