import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from al_platform.domain.errors import InputError
from al_platform.domain.selection.uncertainty import (
    CHUNK_ROWS,
    SCALARS,
    top_two,
    uncertainty_of_columns,
    uncertainty_scalars,
)
from al_platform.schemas import PREDICTIONS


def scalars(rows, **options):
    rows = np.array(rows, dtype=np.float32)
    return uncertainty_scalars(rows, [f"p{row}" for row in range(len(rows))], **options)


def test_single_label_scalars_are_those_computed_by_hand():
    row = scalars([[0.25, 0.5, 0.25]], is_multi=False).to_pylist()[0]
    assert row == {
        "top1": 0.5,
        "top2": 0.25,
        "margin": 0.25,
        "entropy": pytest.approx(1.5 * math.log(2)),
        "threshold_distance": None,
    }


def test_multi_label_entropy_sums_the_labels_and_the_distance_is_to_the_closest_threshold():
    row = scalars([[0.5, 0.9, 0.0]], is_multi=True, thresholds=[0.2, 0.8, 0.5]).to_pylist()[0]
    binary = math.log(2) - 0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    assert row["entropy"] == pytest.approx(binary, rel=1e-5)
    assert row["threshold_distance"] == pytest.approx(0.1, rel=1e-5)
    assert row["margin"] is None


def test_thresholds_are_a_half_unless_given():
    assert scalars([[0.75, 0.0]], is_multi=True)["threshold_distance"].to_pylist() == [0.25]


def test_a_taxonomy_of_one_label_has_no_second():
    assert scalars([[0.75]], is_multi=True)["top2"].to_pylist() == [None]


def test_the_columns_are_those_of_the_predictions_schema():
    table = scalars([[0.5, 0.5]], is_multi=False)
    assert [(field.name, field.type) for field in table.schema] == [
        (name, PREDICTIONS.field(name).type) for name in SCALARS
    ]


def test_no_pages_give_no_rows():
    assert uncertainty_scalars(np.empty((0, 3), dtype=np.float32), [], is_multi=False).num_rows == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -0.1, 1.1])
def test_an_impossible_probability_names_its_page(bad):
    with pytest.raises(InputError, match=r"'p1'.*number from 0 to 1"):
        scalars([[0.5, 0.5], [0.5, bad]], is_multi=False)


def test_a_float32_sum_a_little_above_one_is_taken_as_one():
    assert scalars([[1.000001, 0.0]], is_multi=False)["top1"].to_pylist() == [1.0]


def test_probabilities_of_other_pages_are_refused():
    with pytest.raises(InputError, match="one row a page"):
        uncertainty_scalars(np.zeros((2, 3)), ["p0"], is_multi=False)


def test_thresholds_of_other_labels_are_refused():
    with pytest.raises(InputError, match="2 labels need 2 thresholds, found 3"):
        scalars([[0.5, 0.5]], is_multi=True, thresholds=[0.1, 0.2, 0.3])


@given(arrays(np.float32, st.tuples(st.integers(2, 6), st.integers(1, 20)), elements=st.floats(0, 1, width=32)))
def test_the_fold_finds_what_a_sort_finds(columns):
    first, second = top_two(columns)
    ordered = np.sort(columns, axis=0)
    np.testing.assert_array_equal(first, ordered[-1])
    np.testing.assert_array_equal(second, ordered[-2])


def test_a_value_does_not_depend_on_its_place_in_a_chunk():
    rows = np.random.default_rng(0).dirichlet(np.ones(5), size=CHUNK_ROWS + 7).astype(np.float32)
    ids = [str(row) for row in range(len(rows))]
    forward = uncertainty_scalars(rows, ids, is_multi=False)["entropy"].to_numpy()
    backward = uncertainty_scalars(rows[::-1], ids, is_multi=False)["entropy"].to_numpy()
    np.testing.assert_array_equal(forward, backward[::-1])


@pytest.mark.parametrize("is_multi", [False, True])
def test_a_column_a_label_says_what_a_matrix_says(is_multi):
    probabilities = np.random.default_rng(0).random((20_000, 4))
    page_ids = [f"p{row}" for row in range(len(probabilities))]
    expected = uncertainty_scalars(probabilities, page_ids, is_multi=is_multi, thresholds=(0.1, 0.5, 0.5, 0.9))
    columns = list(probabilities.T)
    found = uncertainty_of_columns(columns, page_ids, is_multi=is_multi, thresholds=(0.1, 0.5, 0.5, 0.9))
    assert found.equals(expected)


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(InputError, match=r"Columns have \[1, 2\] rows, for 2 pages"):
        uncertainty_of_columns([np.array([0.5, 0.5]), np.array([0.5])], ["a", "b"], is_multi=False)


def test_a_row_beyond_the_first_chunk_is_named_by_its_own_page():
    probabilities = np.full((20_000, 2), 0.5)
    probabilities[12_345, 1] = np.nan
    with pytest.raises(InputError, match="Page 'p12345' has probabilities"):
        uncertainty_scalars(probabilities, [f"p{row}" for row in range(20_000)], is_multi=False)
