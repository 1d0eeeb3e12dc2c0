import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from al_platform.domain.errors import InputError
from al_platform.domain.selection.diversity import is_new, list_matrix, representatives

THREE_KINDS = np.array([[1, 0], [1, 0.01], [1, 0.02], [0, 1], [0, 1], [-1, 0]], dtype=np.float32)
IDS = ["p0", "p1", "p2", "p3", "p4", "p5"]


def same_first_word(texts):
    words = [text.split()[0] for text in texts]
    return np.array([words.index(word) for word in words])


def test_one_page_of_each_kind_comes_from_the_middle_of_it_largest_kind_first():
    rows, scores = representatives(THREE_KINDS, IDS, 3, seed=0)
    assert rows.tolist() == [1, 3, 5]
    assert scores.tolist() == [3 / 6, 2 / 6, 1 / 6]


def test_only_the_direction_of_an_embedding_counts():
    lengths = np.array([1, 20, 3, 4, 5, 6], dtype=np.float32)[:, None]
    assert representatives(THREE_KINDS * lengths, IDS, 3, seed=0)[0].tolist() == [1, 3, 5]


@given(st.permutations(range(40)), st.integers(1, 40))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_rows_does_not_matter(permutation, size):
    embeddings = np.random.default_rng(0).normal(size=(40, 5))
    ids = [f"p{row:02d}" for row in range(40)]
    chosen = [ids[row] for row in representatives(embeddings, ids, size, seed=0)[0]]
    shuffled_ids = [ids[row] for row in permutation]
    again = [shuffled_ids[row] for row in representatives(embeddings[permutation], shuffled_ids, size, seed=0)[0]]
    assert again == chosen
    assert len(set(chosen)) == size


def test_fewer_distinct_pages_than_asked_for_are_topped_up():
    rows, scores = representatives(np.ones((5, 2)), ["e", "d", "c", "b", "a"], 4, seed=0)
    assert len(set(rows.tolist())) == 4
    assert scores.tolist() == [1, 0, 0, 0]


def test_a_page_without_direction_can_be_chosen():
    assert len(representatives(np.zeros((2, 3)), ["a", "b"], 2, seed=0)[0]) == 2


def test_an_embedding_that_is_not_finite_names_its_page():
    with pytest.raises(InputError, match="page 'b' is not finite"):
        representatives(np.array([[1.0, 2.0], [np.nan, 1.0]]), ["a", "b"], 1, seed=0)


@pytest.mark.parametrize("kind", [pa.list_(pa.float16()), pa.list_(pa.float32()), pa.list_(pa.float32(), 2)])
def test_embeddings_become_a_matrix(kind):
    rows = [np.array([1, 2], dtype=np.float16), np.array([3, 4], dtype=np.float16)]
    column = pa.chunked_array([pa.array(rows[:1], type=kind), pa.array(rows[1:], type=kind)])
    assert list_matrix(column).tolist() == [[1, 2], [3, 4]]


def test_embeddings_of_two_encoders_are_refused():
    with pytest.raises(InputError, match=r"lengths \[1, 2\]"):
        list_matrix(pa.chunked_array([[[1.0], [1.0, 2.0]]]))


def test_the_first_of_near_duplicates_stays():
    assert is_new(["a 1", "b 1", "a 2"], [], same_first_word).tolist() == [True, True, False]


def test_what_nearly_repeats_the_batch_goes():
    assert is_new(["a 1", "b 1"], ["b 0"], same_first_word).tolist() == [True, False]


def test_pages_without_text_repeat_nothing():
    assert is_new([None, "", "a"], [None], same_first_word).tolist() == [True, True, True]
    assert is_new([None], [], same_first_word).tolist() == [True]
