from hashlib import md5, sha256

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selection_pools import in_duckdb, predictions

from al_platform.domain.errors import InputError
from al_platform.domain.selection.audit import (
    FRAME,
    allocate,
    draw_audit,
    draw_random_pages,
    frame_digest,
    read_frame,
    stratify,
)
from al_platform.domain.selection.options import SelectionOptions
from al_platform.domain.taxonomy import Taxonomy

CYCLE = "2026-11"
TAXONOMY = Taxonomy(task="single", labels=("a", "b", "c"))


def frame_of(predicted, top1):
    ids = [f"p{row:03d}" for row in range(len(predicted))]
    return pa.table({"page_id": ids, "predicted": predicted, "top1": top1}, schema=FRAME)


def unscored(n):
    return frame_of([None] * n, [None] * n)


# 60 pages surely "news", 30 unsure ones, 10 of the rare "hate"
MIXED = frame_of(["news"] * 90 + ["hate"] * 10, [0.9] * 60 + [0.4] * 30 + [0.6] * 10)


def test_without_predictions_the_draw_is_uniform_in_the_order_of_the_hash():
    draw = draw_audit(unscored(50), 5, CYCLE, seed=7)
    ids = unscored(50)["page_id"].to_pylist()
    by_hash = sorted(ids, key=lambda page_id: md5(f"{page_id}|2026-11|7".encode(), usedforsecurity=False).hexdigest())
    assert draw["page_id"].to_pylist() == by_hash[:5]
    assert draw["inclusion_probability"].to_pylist() == [0.1] * 5
    assert set(draw["stratum"].to_pylist()) == {"unknown"}


def test_strata_are_label_and_band_and_each_is_drawn_from():
    draw = draw_audit(MIXED, 14, CYCLE, seed=0)
    found = {
        row["stratum"]: (row["inclusion_probability"], draw["stratum"].to_pylist().count(row["stratum"]))
        for row in draw.to_pylist()
    }
    # Highest averages of the square roots 7.7, 5.5 and 3.2.
    assert found == {
        "news|0.5<=p<1": (7 / 60, 7),
        "news|0.1<=p<0.5": (5 / 30, 5),
        "hate|0.5<=p<1": (2 / 10, 2),
    }


def test_below_the_first_band_labels_share_a_stratum():
    strata = stratify(frame_of(["a", "b", "a"], [0.05, 0.05, 0.7]), (0.1, 0.5), max_strata=9)
    assert strata.names == ["a|0.5<=p<1", "p<0.1"]
    assert strata.codes.tolist() == [1, 1, 0]


def test_a_probability_on_the_edge_belongs_to_the_band_above():
    strata = stratify(frame_of(["a", "a"], [0.5, 0.49]), (0.5,), max_strata=9)
    assert [strata.names[code] for code in strata.codes] == ["a|0.5<=p<1", "p<0.5"]


def test_imported_top_probabilities_without_labels_still_make_bands():
    strata = stratify(frame_of([None, None], [0.2, 0.9]), (0.1, 0.5), max_strata=9)
    assert strata.names == ["unknown|0.1<=p<0.5", "unknown|0.5<=p<1"]


def test_strata_that_a_draw_cannot_fill_are_pooled():
    strata = stratify(MIXED, (0.1, 0.5), max_strata=2)
    assert dict(zip(strata.names, strata.sizes.tolist(), strict=True)) == {"news|0.5<=p<1": 60, "other": 40}


@pytest.mark.parametrize(
    ("sizes", "total", "floor", "power", "expected"),
    [
        ([90, 10], 10, 1, 1, [9, 1]),  # proportional
        ([90, 10], 10, 1, 0, [5, 5]),  # equal
        ([98, 2], 10, 2, 1, [8, 2]),  # the floor
        ([100, 1], 10, 2, 0, [9, 1]),  # no more than there are
        ([3, 2], 10, 2, 1, [3, 2]),  # all of a small frame
        ([5, 5], 0, 2, 1, [0, 0]),
        ([5], 1, 2, 1, [1]),  # never more than asked
        ([], 5, 2, 1, []),
    ],
)
def test_sample_sizes(sizes, total, floor, power, expected):
    assert allocate(np.array(sizes, dtype=np.int64), total, floor, power).tolist() == expected


@given(st.lists(st.integers(1, 200), min_size=1, max_size=12), st.integers(0, 300), st.floats(0, 1), st.integers(1, 3))
def test_sample_sizes_add_up_and_leave_no_stratum_out(sizes, total, power, floor):
    counts = allocate(np.array(sizes), total, floor, power)
    assert counts.sum() == min(total, sum(sizes))
    assert (counts <= sizes).all()
    if total >= floor * len(sizes):
        assert (counts >= np.minimum(sizes, floor)).all()


@given(st.permutations(range(100)))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_frame_does_not_matter(permutation):
    expected = draw_random_pages(MIXED, CYCLE, SelectionOptions(budget=50))
    shuffled = draw_random_pages(MIXED.take(permutation), CYCLE, SelectionOptions(budget=50))
    assert shuffled.equals(expected)


def test_cycle_and_seed_each_give_another_draw():
    draws = [draw_audit(unscored(200), 20, cycle, seed) for cycle, seed in ((CYCLE, 0), (CYCLE, 1), ("2026-12", 0))]
    assert len({tuple(draw["page_id"].to_pylist()) for draw in draws}) == 3


def test_the_frame_is_recorded_with_each_drawn_page():
    draw = draw_random_pages(unscored(3), CYCLE, SelectionOptions(budget=10))
    digest = sha256(b"p000\np001\np002\n").hexdigest()
    assert set(draw["frame_size"].to_pylist()) == {3}
    assert set(draw["frame_digest"].to_pylist()) == {digest}


def test_a_page_that_is_scored_twice_is_named():
    with pytest.raises(InputError, match="'b' is scored more than once"):
        frame_digest(pa.chunked_array([["b", "a"], ["b"]]))


def test_a_page_in_both_draws_counts_as_audit():
    options = SelectionOptions(budget=100, audit_share=0.4, exploration_share=0.4)
    draw = draw_random_pages(unscored(60), CYCLE, options)
    reasons = draw["reason"].to_pylist()
    assert len(set(draw["page_id"].to_pylist())) == draw.num_rows < 80
    assert reasons.count("audit") == 40
    assert draw["inclusion_probability"].to_pylist() == pytest.approx([1 - (20 / 60) ** 2] * draw.num_rows)


def test_an_empty_frame_gives_an_empty_draw():
    assert draw_random_pages(unscored(0), CYCLE, SelectionOptions()).num_rows == 0


N_SEEDS = 600
OPTIONS = SelectionOptions(budget=100, audit_share=0.14, exploration_share=0.06)


@pytest.fixture(scope="module")
def draws():
    return [
        draw_random_pages(MIXED, CYCLE, OPTIONS.model_copy(update={"seed": seed})).to_pydict()
        for seed in range(N_SEEDS)
    ]


def test_pages_are_drawn_as_often_as_stated(draws):
    times, stated = dict.fromkeys(MIXED["page_id"].to_pylist(), 0), {}
    for draw in draws:
        for page_id, probability in zip(draw["page_id"], draw["inclusion_probability"], strict=True):
            times[page_id] += 1
            stated[page_id] = probability
    probability = np.array([stated[page_id] for page_id in times])
    frequency = np.array(list(times.values())) / N_SEEDS
    error = (frequency - probability) / np.sqrt(probability * (1 - probability) / N_SEEDS)
    assert np.abs(error).max() < 4.5  # the largest of 100 standard normals
    assert np.mean(error**2) == pytest.approx(1, abs=0.5)


def test_the_weighted_estimate_is_unbiased_for_the_whole_frame(draws):
    answers = [True] * 57 + [False] * 3 + [True, False, False] * 10 + [False, True] * 5
    is_right = dict(zip(MIXED["page_id"].to_pylist(), answers, strict=True))
    estimates, unweighted = [], []
    for draw in draws:
        weights = 1 / np.array(draw["inclusion_probability"])
        right = np.array([is_right[page_id] for page_id in draw["page_id"]])
        estimates.append((weights * right).sum() / weights.sum())
        unweighted.append(right.mean())
    standard_error = np.std(estimates) / np.sqrt(N_SEEDS)
    assert np.mean(estimates) == pytest.approx(0.72, abs=4 * standard_error)
    assert abs(np.mean(unweighted) - 0.72) > 4 * standard_error


def test_the_frame_is_read_with_predicted_labels():
    table = predictions(4, probabilities=[[0.1, 0.7, 0.2], None, [0.5, 0.5, 0], None], top1=[None, 0.25, None, None])
    assert read_frame(in_duckdb(table), TAXONOMY).sort_by("page_id").to_pydict() == {
        "page_id": ["p00", "p01", "p02", "p03"],
        "predicted": ["b", None, "a", None],
        "top1": [pytest.approx(0.7), 0.25, 0.5, None],
    }


def test_predictions_of_another_taxonomy_are_refused():
    with pytest.raises(InputError, match="2 probabilities a page, but the taxonomy has 3 labels"):
        read_frame(in_duckdb(predictions(1, probabilities=[[0.5, 0.5]])), TAXONOMY)
