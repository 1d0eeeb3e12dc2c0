from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import f1_score

from al_platform.domain.errors import ConfigError
from al_platform.sources.synthetic import BLOCK_PAGES, SyntheticOptions, SyntheticSource
from al_platform.sources.vocabulary import LIST_WORDS, spellings, word_lists

NO_COPIES = SyntheticOptions(edited_copies=0, exact_copies=0)


def texts_of(options: SyntheticOptions, pages: int) -> list[str]:
    made: list[str] = SyntheticSource(options=options, pages_per_month=pages).pages("2026-01")["text"].to_pylist()
    return made


def topics_of(pages: pa.Table) -> list[str]:
    return [values[0] for values in pages.column("truth_topics").to_pylist()]


def test_texts_have_40_to_200_words() -> None:
    lengths = [
        len(text.split(" ")) for text in SyntheticSource(pages_per_month=500).pages("2026-01")["text"].to_pylist()
    ]
    assert 40 <= min(lengths) < 50
    assert 190 < max(lengths) <= 200


def test_frequent_words_are_far_commoner_than_the_middle_ones() -> None:
    texts = texts_of(NO_COPIES, 500)
    counts = [count for _, count in Counter(word for text in texts for word in text.split(" ")).most_common()]
    assert counts[0] > 5 * counts[10] > 20 * counts[500]


def test_every_word_has_a_spelling_of_its_own() -> None:
    assert len(set(spellings().to_pylist())) == len(spellings())


def test_brand_safety_is_rare() -> None:
    answers = SyntheticSource(pages_per_month=10_000).pages("2026-01").column("truth_brand_safety").to_pylist()
    counts = Counter(label for values in answers for label in values)
    assert {label: 0.004 < counts[label] / 10_000 < 0.06 for label in counts} == dict.fromkeys(counts, True)
    assert len(counts) == 5


def test_copies_are_as_frequent_as_asked_and_share_their_truth() -> None:
    options = SyntheticOptions(edited_copies=0, exact_copies=0.2)
    pages = SyntheticSource(options=options, pages_per_month=2000).pages("2026-01")
    answers: dict[str, set[tuple[str, ...]]] = {}
    for page in pages.to_pylist():
        truth = (*page["truth_topics"], *page["truth_brand_safety"], *page["truth_sentiment"])
        answers.setdefault(page["text"], set()).add(truth)
    assert 0.15 < 1 - len(answers) / 2000 < 0.25
    assert {len(each) for each in answers.values()} == {1}


def test_an_edited_copy_changes_5_to_15_percent_of_the_words() -> None:
    options = SyntheticOptions(edited_copies=0.3, exact_copies=0)
    texts = [text.split(" ") for text in texts_of(options, 150)]
    changed = [
        sum(a != b for a, b in zip(one, other, strict=True)) / len(one)
        for row, one in enumerate(texts)
        for other in texts[:row]
        if len(one) == len(other)
    ]
    copies = [share for share in changed if share < 0.4]
    assert len(copies) > 20
    # Two copies of one page differ by the edits of both; an edit may hit the very word it replaces.
    assert 0.05 < float(np.median(copies)) < 0.2


def test_without_copies_all_texts_differ() -> None:
    assert len(set(texts_of(NO_COPIES, 1000))) == 1000


def test_page_ids_differ_between_months_and_seeds() -> None:
    ids = [
        page_id
        for seed in (0, 1)
        for cycle in ("2026-01", "2026-02")
        for page_id in SyntheticSource(seed, pages_per_month=50).pages(cycle).column("page_id").to_pylist()
    ]
    assert len(set(ids)) == 200


def test_a_month_larger_than_a_block_has_distinct_ids_and_texts() -> None:
    source = SyntheticSource(options=NO_COPIES, pages_per_month=BLOCK_PAGES + 10)
    pages = source.pages("2026-01")
    assert pc.count_distinct(pages.column("page_id")).as_py() == BLOCK_PAGES + 10
    assert pages["text"][0].as_py() != pages["text"][BLOCK_PAGES].as_py()


def test_a_month_has_twenty_thousand_pages_by_default() -> None:
    assert SyntheticSource().pages("2026-01").num_rows == 20_000


def test_stories_grow_old_and_new_ones_break() -> None:
    january, february, next_year = (word_lists(0, month).stories for month in (100, 101, 112))
    assert np.array_equal(january[:, :-1], february[:, 1:])
    shared = np.isin(january[0], next_year[0]).mean()
    assert shared < 0.3
    assert january.shape[2] == LIST_WORDS


def test_a_frozen_model_is_good_at_first_and_loses_accuracy() -> None:
    source = SyntheticSource(pages_per_month=1500)
    texts = HashingVectorizer(n_features=2**16, norm="l2")
    train = pa.concat_tables([source.pages(f"2026-{month:02d}") for month in (1, 2, 3)])
    model = SGDClassifier(loss="modified_huber", alpha=1e-4, random_state=0)
    model.fit(texts.transform(train["text"].to_pylist()), topics_of(train))

    def macro_f1(cycle: str) -> float:
        pages = source.pages(cycle)
        predicted = model.predict(texts.transform(pages["text"].to_pylist()))
        return float(f1_score(topics_of(pages), predicted, average="macro"))

    soon, late = macro_f1("2026-04"), macro_f1("2026-09")
    assert 0.7 < soon < 0.95
    assert late < soon - 0.02


def test_shares_of_copies_that_leave_no_originals_are_refused() -> None:
    with pytest.raises(ValidationError):
        SyntheticOptions(edited_copies=0.9)


def test_an_archive_of_no_month_is_refused_before_a_page_is_made() -> None:
    with pytest.raises(ConfigError, match="no month"):
        SyntheticOptions(archive_cycle="2025")


def test_one_page_cannot_be_a_copy() -> None:
    options = SyntheticOptions(edited_copies=0.45, exact_copies=0.45)
    assert all(SyntheticSource(seed, options, pages_per_month=1).pages("2026-01").num_rows == 1 for seed in range(10))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(-5, 2**40),
    pages=st.integers(1, 30),
    year=st.integers(1900, 2999),
    edited=st.floats(0, 0.45),
    exact=st.floats(0, 0.45),
)
def test_any_web_is_made_twice_alike(seed: int, pages: int, year: int, edited: float, exact: float) -> None:
    options = SyntheticOptions(edited_copies=edited, exact_copies=exact)
    first, second = (SyntheticSource(seed, options, pages_per_month=pages).pages(f"{year:04d}-12") for _ in range(2))
    assert first.num_rows == pages
    assert first.equals(second)
