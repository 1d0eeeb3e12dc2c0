"""Counts that are kept are those that would be counted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from al_platform.models import features
from al_platform.models.features import count_ngrams, embed_texts
from al_platform.models.kept_counts import counts_in_use, kept_counts
from al_platform.models.options import NgramOptions

OPTIONS = NgramOptions(n_features=2**12)
PLENTY = 2**20


def same(ours, theirs):
    parts = ((ours.indptr, theirs.indptr), (ours.indices, theirs.indices), (ours.data, theirs.data))
    return ours.shape == theirs.shape and all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in parts)


@pytest.fixture
def counted(monkeypatch):
    """Every text that is really counted."""
    seen, count = [], features._count
    monkeypatch.setattr(features, "_count", lambda texts, options: seen.extend(texts) or count(texts, options))
    return seen


@settings(deadline=None)  # the first call loads scikit-learn
@given(st.lists(st.text(max_size=40), max_size=8), st.integers(0, 2_000))
def test_counts_equal_those_that_nobody_keeps_whatever_room_there_is(texts, room):
    expected = count_ngrams(texts, OPTIONS)
    with kept_counts(room):
        assert same(count_ngrams(texts, OPTIONS), expected)
        assert same(count_ngrams(texts[::-1], OPTIONS)[::-1], expected)


def test_a_text_is_counted_once_also_beside_others(counted):
    with kept_counts(PLENTY):
        count_ngrams(["one page", "another page", "one page"], OPTIONS)
        count_ngrams(["a third", "one page"], OPTIONS)
    assert counted == ["one page", "another page", "a third"]


def test_embeddings_come_from_kept_counts_too(counted):
    expected = embed_texts(["one page"], OPTIONS)
    counted.clear()
    with kept_counts(PLENTY):
        count_ngrams(["one page"], OPTIONS)
        assert np.array_equal(embed_texts(["one page"], OPTIONS), expected)
    assert counted == ["one page"]


def test_other_ngrams_of_a_text_are_counted_for_themselves(counted):
    with kept_counts(PLENTY):
        count_ngrams(["one page"], OPTIONS)
        count_ngrams(["one page"], OPTIONS.model_copy(update={"char_ngrams": (2, 3)}))
    assert counted == ["one page", "one page"]


def test_texts_read_longest_ago_make_room(counted):
    with kept_counts(PLENTY) as kept:
        count_ngrams(["first page"], OPTIONS)
        size = kept._n_bytes
    counted.clear()
    with kept_counts(int(2.5 * size)):
        for text in ("first page", "other page", "first page", "third page", "first page", "other page"):
            count_ngrams([text], OPTIONS)
    assert counted == ["first page", "other page", "third page", "other page"]


def test_nothing_is_kept_afterwards(counted):
    with kept_counts(PLENTY):
        count_ngrams(["one page"], OPTIONS)
    assert counts_in_use() is None
    count_ngrams(["one page"], OPTIONS)
    assert counted == ["one page", "one page"]
