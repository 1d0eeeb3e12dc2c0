"""What the strategies compute, against brute force, by hand, or an independent implementation."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import entropy as shannon

from al_platform.domain.errors import InputError
from al_platform.domain.selection import clusters
from al_platform.domain.selection.adaptive import Adaptive, balance
from al_platform.domain.selection.clusters import (
    farthest_first,
    gradient_seeds,
    linked_clusters,
    squared_distances,
    typicality,
    weighted_clusters,
)
from al_platform.domain.selection.diverse import by_turns, decision_errors, one_a_cluster, typical_rows
from al_platform.domain.selection.label_scores import fixed_point_sum, label_scores, take_turns
from al_platform.domain.selection.query import Query
from al_platform.domain.selection.rare import RareClass, rare_labels
from al_platform.domain.selection.strategies import strategy_named
from al_platform.domain.selection.uncertain import mutual_information

RNG = np.random.default_rng(7)
NO_CENTRES = np.zeros((0, 3), dtype=np.float32)


def floats(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def test_distances_are_those_of_scipy():
    rows, others = floats(5, 3), floats(4, 3)
    assert squared_distances(rows, others) == pytest.approx(cdist(rows, others) ** 2, abs=1e-5)


class TestBadge:
    def test_its_errors_are_the_gradient_of_the_cross_entropy_at_the_models_own_decision(self):
        assert decision_errors(np.array([[0.2, 0.7, 0.1]], dtype=np.float32), Query(1)) == pytest.approx(
            np.array([[0.2, -0.3, 0.1]]), abs=1e-6
        )

    def test_its_errors_go_by_the_thresholds_of_each_label(self):
        probabilities = np.array([[0.2, 0.7, 0.1]], dtype=np.float32)
        query = Query(1, is_multi=True, thresholds=(0.1, 0.9, 0.5))
        assert decision_errors(probabilities, query) == pytest.approx(np.array([[-0.8, 0.7, 0.1]]), abs=1e-6)

    @given(st.integers(0, 20), st.integers(1, 12))
    @settings(max_examples=25, deadline=None)
    def test_it_draws_as_k_means_plus_plus_over_the_dense_gradients_does(self, seed, size):
        rng = np.random.default_rng(seed)
        errors, rows = (rng.normal(size=(12, n)).astype(np.float32) for n in (3, 4))
        assert gradient_seeds(errors, rows, size, seed).tolist() == self.dense(errors, rows, size, seed)

    def dense(self, errors, rows, size, seed):
        gradients = (errors[:, :, None] * rows[:, None, :]).reshape(len(rows), -1).astype(np.float64)
        generator = np.random.default_rng(seed)
        chosen = [int(np.square(gradients).sum(axis=1).argmax())]
        while len(chosen) < size:
            weights = (cdist(gradients, gradients[chosen]) ** 2).min(axis=1)
            weights[chosen] = 0
            chosen.append(int(np.searchsorted(np.cumsum(weights), generator.random() * weights.sum(), side="right")))
        return chosen

    def test_copies_are_drawn_only_when_nothing_else_is_left(self):
        rows = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], dtype=np.float32)
        chosen = gradient_seeds(np.ones((4, 2), dtype=np.float32), rows, 4, seed=0).tolist()
        assert chosen[1] == 3
        assert sorted(chosen) == [0, 1, 2, 3]


class TestKCenter:
    def test_each_page_is_the_farthest_from_what_is_chosen_or_labelled(self):
        rows, labelled = floats(30, 3), floats(4, 3)
        chosen, distances = farthest_first(rows, labelled, 10)
        for step in range(10):
            nearest = cdist(rows, np.concatenate([labelled, rows[chosen[:step]]])).min(axis=1)
            assert nearest[chosen[step]] == pytest.approx(nearest.max(), abs=1e-4)
            assert distances[step] == pytest.approx(nearest.max(), abs=1e-4)

    def test_without_labelled_pages_it_begins_in_the_middle(self):
        rows = np.array([[0, 0, 0], [1, 0, 0], [9, 0, 0]], dtype=np.float32)
        assert farthest_first(rows, NO_CENTRES, 2)[0].tolist() == [1, 2]

    def test_its_radius_is_at_most_twice_the_best_possible(self):
        from itertools import combinations

        rows = floats(9, 3)
        chosen, _ = farthest_first(rows, NO_CENTRES, 3)
        radius = cdist(rows, rows[chosen]).min(axis=1).max()
        best = min(cdist(rows, rows[list(centres)]).min(axis=1).max() for centres in combinations(range(9), 3))
        assert radius <= 2 * best + 1e-5

    def test_copies_of_one_page_are_different_pages(self):
        assert sorted(farthest_first(np.ones((4, 3), dtype=np.float32), NO_CENTRES, 4)[0].tolist()) == [0, 1, 2, 3]


class TestTypiClust:
    def test_typical_is_who_is_near_its_neighbours(self):
        rows = np.array([[0.0], [1.0], [3.0], [50.0], [54.0]], dtype=np.float32)
        cluster = np.array([0, 0, 0, 1, 1])
        assert typicality(rows, cluster, 20) == pytest.approx([1 / 2, 1 / 1.5, 1 / 2.5, 1 / 4, 1 / 4], rel=1e-4)

    def test_only_the_nearest_neighbours_count(self):
        rows = np.array([[0.0], [1.0], [3.0]], dtype=np.float32)
        assert typicality(rows, np.zeros(3, dtype=np.int64), 1) == pytest.approx([1, 1, 1 / 2], rel=1e-4)

    def test_the_largest_kind_without_a_label_comes_first_and_tiny_kinds_last(self):
        kind = np.array([0] * 9 + [1] * 7 + [2] * 2 + [0])  # the last row is labelled
        typical = np.arange(len(kind), dtype=np.float32)
        chosen = typical_rows(kind, typical, n_candidates=len(kind) - 1, size=4).tolist()
        assert chosen[0] == 15  # the most typical of kind 1, which has no label
        assert set(chosen[1:]) == {8, 14, 7}  # then those with one label, the larger kind first
        assert chosen == [15, 8, 14, 7]

    def test_every_page_can_be_asked_for(self):
        kind = np.array([0, 0, 1, 1, 2])
        assert sorted(typical_rows(kind, np.ones(5, dtype=np.float32), 5, 5).tolist()) == [0, 1, 2, 3, 4]


class TestClusterMargin:
    def test_small_clusters_come_first_and_take_turns(self):
        # Cluster 0 has rows 0, 1, 2; cluster 1 has 3; cluster 2 has 4, 5.
        assert by_turns(np.array([0, 0, 0, 1, 2, 2]), 6).tolist() == [3, 4, 0, 5, 1, 2]

    def test_clusters_are_those_of_average_linkage(self):
        from sklearn.cluster import AgglomerativeClustering

        rows = floats(40, 3)
        expected = AgglomerativeClustering(6, linkage="average").fit_predict(rows)
        found = linked_clusters(rows, 6)
        assert (found[:, None] == found).tolist() == (expected[:, None] == expected).tolist()

    def test_beyond_what_is_linked_a_page_joins_its_nearest_one(self, monkeypatch):
        monkeypatch.setattr(clusters, "MAX_LINKED", 4)
        rows = np.array([[0, 0], [0, 1], [9, 0], [9, 1], [9, 2], [0, 2]], dtype=np.float32)
        found = linked_clusters(rows, 2)
        assert found[4] == found[2] == found[3] != found[0]
        assert found[5] == found[0] == found[1]


class TestWeightedKMeans:
    def test_a_page_is_the_nearest_to_its_centre_which_heavy_pages_draw(self):
        rows = np.array([[0.0], [1.0], [10.0], [11.0]], dtype=np.float32)
        cluster, distance = weighted_clusters(rows, np.array([1, 9, 9, 1.0]), 2, seed=0)
        assert cluster[0] == cluster[1] != cluster[2] == cluster[3]
        assert distance == pytest.approx([0.9**2, 0.1**2, 0.1**2, 0.9**2], rel=1e-4)

    def test_one_page_of_each_kind_is_chosen(self):
        rows = np.repeat(np.eye(4, dtype=np.float32), 5, axis=0)
        found = {tuple(one_a_cluster(rows, np.linspace(1, 0.5, 20), 4, seed) // 5) for seed in range(8)}
        assert any(sorted(kinds) == [0, 1, 2, 3] for kinds in found)

    def test_empty_clusters_are_filled_with_the_closest_calls(self):
        chosen = one_a_cluster(np.ones((6, 2), dtype=np.float32), np.linspace(1, 0.5, 6), 3, seed=0)
        assert sorted(chosen.tolist()) == [0, 1, 2]

    def test_wide_embeddings_are_compressed_without_mixing_up_what_is_near(self):
        centres = floats(5, 300) * 10
        rows = np.repeat(centres, 8, axis=0) + floats(40, 300) * 0.1
        narrow = clusters.compressed(rows)
        assert narrow.shape == (40, clusters.MAX_DIMENSIONS)
        assert (cdist(narrow, narrow) < 5).tolist() == (cdist(rows, rows) < 5).tolist()


class TestLabelScores:
    def test_single_label_closeness_is_to_the_best_of_the_others(self):
        probabilities = np.array([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2]], dtype=np.float32)
        expected = [[1 - 0.2, 1 - 0.2, 1 - 0.3], [1, 1, 1 - 0.2]]
        assert label_scores(probabilities, "closeness", is_multi=False) == pytest.approx(np.array(expected), abs=1e-6)

    def test_multi_label_closeness_is_to_the_threshold(self):
        probabilities = np.array([[0.5, 0.3]], dtype=np.float32)
        found = label_scores(probabilities, "closeness", is_multi=True, thresholds=(0.6, 0.1))
        assert found == pytest.approx(np.array([[0.9, 0.8]]), abs=1e-6)

    @given(st.permutations(range(50)))
    @settings(max_examples=10, deadline=None)
    def test_a_labels_share_does_not_depend_on_the_order_of_the_pages(self, permutation):
        probabilities = np.random.default_rng(1).random((50, 2)).astype(np.float32)
        assert fixed_point_sum(probabilities[permutation]).tolist() == fixed_point_sum(probabilities).tolist()
        assert fixed_point_sum(probabilities) / 2**24 == pytest.approx(probabilities.sum(axis=0), rel=1e-6)

    def test_labels_take_turns_and_no_page_is_taken_twice(self):
        scores = np.array([[0.9, 0.9], [0.8, 0.1], [0.1, 0.7], [-np.inf, -np.inf]], dtype=np.float32)
        rows, labels = take_turns(scores, 4)
        assert list(zip(rows.tolist(), labels.tolist(), strict=True)) == [(0, 0), (2, 1), (1, 0)]


def multi_pool():
    """Fifty pages close to the threshold of label a, six to that of b, six to that of c."""
    rows = [[0.5 + 0.001 * n, 0.01, 0.01] for n in range(50)]
    rows += [[0.01, 0.4 - 0.01 * n, 0.01] for n in range(6)] + [[0.01, 0.01, 0.35 - 0.01 * n] for n in range(6)]
    return pa.table(
        {
            "page_id": [f"p{row:02d}" for row in range(len(rows))],
            "probabilities": pa.array(rows, pa.list_(pa.float32())),
            "threshold_distance": pa.array([min(abs(p - 0.5) for p in row) for row in rows], pa.float32()),
        }
    ).sort_by([("threshold_distance", "ascending"), ("page_id", "ascending")])


def about(candidates, choice):
    return [int(np.argmax(candidates["probabilities"][int(row)].as_py())) for row in choice.rows]


def test_multi_label_margin_asks_about_the_largest_label_alone_and_turns_do_not():
    candidates, query = multi_pool(), Query(12, is_multi=True)
    plain, turns = (strategy_named(name).choose(candidates, query) for name in ("margin", "label_margin"))
    assert set(about(candidates, plain)) == {0}
    assert [about(candidates, turns).count(label) for label in range(3)] == [4, 4, 4]
    assert sorted(turns.labels.tolist()) == sorted(about(candidates, turns))


def test_the_default_asks_about_each_label_too():
    candidates = multi_pool()
    choice = Adaptive().choose(
        candidates.append_column("embedding", pa.array([[1.0, 0.0]] * candidates.num_rows)),
        Query(12, is_multi=True, label_shares=(0.9, 0.02, 0.02)),
    )
    assert [about(candidates, choice).count(label) for label in range(3)] == [4, 4, 4]


class TestRareClass:
    def test_a_label_below_half_of_an_equal_share_is_rare_rarest_first(self):
        assert rare_labels((0.6, 0.1, 0.25, 0.05)) == [3, 1]
        assert rare_labels((0.25, 0.25, 0.25, 0.25)) == []

    def test_its_quota_goes_to_probable_pages_of_rare_labels_and_the_rest_to_close_calls(self):
        candidates = multi_pool()
        choice = RareClass().choose(candidates, Query(10, True, label_shares=(0.8, 0.1, 0.1), rare_share=0.4))
        labels = choice.labels.tolist()
        assert [labels.count(label) for label in (1, 2, -1)] == [2, 2, 6]
        chosen = candidates["probabilities"].take(choice.rows[choice.labels == 1]).to_pylist()
        assert sorted(page[1] for page in chosen) == pytest.approx([0.39, 0.4], abs=1e-6)

    def test_without_a_rare_label_it_is_margin(self):
        candidates, query = multi_pool(), Query(10, True, label_shares=(0.3, 0.3, 0.3))
        assert RareClass().choose(candidates, query).rows.tolist() == list(range(10))


class TestBald:
    def test_it_is_the_entropy_of_the_mean_less_the_mean_entropy(self):
        draws = [[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]
        expected = shannon(np.mean(draws, axis=0)) - np.mean([shannon(draw) for draw in draws])
        assert mutual_information(draws, "p", is_multi=False) == pytest.approx(expected, abs=1e-6)

    def test_draws_that_agree_tell_nothing_however_flat(self):
        assert mutual_information([[0.5, 0.5]] * 3, "p", is_multi=False) == pytest.approx(0, abs=1e-6)

    def test_multi_label_adds_up_the_labels(self):
        draws = [[0.9, 0.5], [0.1, 0.5]]
        one = mutual_information([[0.9, 0.1], [0.1, 0.9]], "p", is_multi=False)
        assert mutual_information(draws, "p", is_multi=True) == pytest.approx(one, abs=1e-6)

    def test_it_prefers_the_page_on_which_draws_disagree_to_the_flat_one(self):
        samples = [[[0.5, 0.5]] * 2, [[1.0, 0.0], [0.0, 1.0]]]
        table = pa.table({"page_id": ["flat", "torn"], "samples": samples, "entropy": [0.69, 0.69]})
        choice = strategy_named("bald").choose(table, Query(2))
        assert choice.rows.tolist() == [1, 0]
        assert choice.scores == pytest.approx([np.log(2), 0], abs=1e-6)

    @pytest.mark.parametrize("draws", [[], [[0.5, 0.5], [1.0]], [[1.5, -0.5]], [[float("nan"), 0.5]]])
    def test_what_are_no_draws_names_the_page(self, draws):
        with pytest.raises(InputError, match=r"Samples of page 'p7'.*one probability vector a draw"):
            mutual_information(draws, "p7", is_multi=False)


def test_balance_is_the_effective_share_of_labels():
    assert balance((0.25,) * 4) == pytest.approx(1)
    assert balance((1.0, 0.0, 0.0, 0.0)) == pytest.approx(1 / 4)
    tails = [balance((share, *[(1 - share) / 3] * 3)) for share in (0.25, 0.5, 0.75, 0.95)]
    assert all(more > less for more, less in pairwise(tails))
    assert balance(()) == 1
