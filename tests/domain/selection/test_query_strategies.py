from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selection_pools import only_strategy, pool_of, predictions, with_samples

from al_platform.domain.errors import ConfigError, InputError
from al_platform.domain.selection.choose import choose_batch
from al_platform.domain.selection.query import Query
from al_platform.domain.selection.strategies import STRATEGIES, strategy_named
from al_platform.domain.selection.uncertainty import uncertainty_scalars
from al_platform.schemas import PREDICTIONS

N = 40
LABELS = 3
OPTIONAL_COLUMNS = {"samples"}
BY_PAGES_ALONE = {"random", "diversity", "k_center", "typiclust"}


def as_lists(matrix):
    return pa.array(list(matrix.astype(np.float32)), type=pa.list_(pa.float32()))


def candidates_of(probabilities, is_multi=False, seed=3, **columns):
    """Candidates with consistent scalars, embeddings and samples."""
    n = len(probabilities)
    rng = np.random.default_rng(seed)
    ids = [f"p{row:02d}" for row in range(n)]
    scalars = uncertainty_scalars(probabilities, ids, is_multi=is_multi)
    draws = np.clip(probabilities[:, None] + rng.normal(0, 0.05, size=(n, 4, probabilities.shape[1])), 0, 1)
    known = {
        "page_id": ids,
        "probabilities": as_lists(probabilities),
        "embedding": as_lists(rng.normal(size=(n, 4))),
        "samples": pa.array(draws.tolist(), type=pa.list_(pa.list_(pa.float64()))),
        **{name: scalars[name] for name in scalars.column_names},
    }
    return pa.table({**known, **columns})


def in_order(candidates, strategy, is_multi):
    order = strategy.order(is_multi=is_multi)
    if order is None:
        return candidates
    direction = "descending" if order.is_descending else "ascending"
    return candidates.sort_by([(order.column, direction), ("page_id", "ascending")])


def pool(is_multi, n=N, seed=3):
    rng = np.random.default_rng(seed)
    if is_multi:
        return candidates_of(rng.random((n, LABELS)).astype(np.float32), is_multi)
    return candidates_of(rng.dirichlet(np.full(LABELS, 0.5), size=n).astype(np.float32), is_multi)


def query(size, is_multi=False, **known):
    return Query(size, is_multi=is_multi, **{"label_shares": (0.6, 0.35, 0.05), **known})


def without(candidates, column, rows):
    values = candidates[column].to_pylist()
    values = [None if row in rows else value for row, value in enumerate(values)]
    index = candidates.column_names.index(column)
    return candidates.set_column(index, column, pa.array(values, type=candidates.schema.field(column).type))


@pytest.mark.parametrize("is_multi", [False, True])
@pytest.mark.parametrize("name", STRATEGIES)
class TestEveryStrategy:
    def choose(self, name, is_multi, size, candidates=None, **known):
        strategy = strategy_named(name)
        ordered = in_order(pool(is_multi) if candidates is None else candidates, strategy, is_multi)
        return ordered, strategy.choose(ordered, query(size, is_multi, **known))

    def chosen_ids(self, *arguments, **known):
        ordered, choice = self.choose(*arguments, **known)
        return [ordered["page_id"][int(row)].as_py() for row in choice.rows]

    def test_it_goes_by_its_name(self, name, is_multi):
        assert strategy_named(name).name == name

    def test_it_cites_its_source(self, name, is_multi):
        assert any(f"{century}" in type(strategy_named(name)).__doc__ for century in (19, 20))

    def test_it_reads_stored_columns(self, name, is_multi):
        strategy = strategy_named(name)
        order = strategy.order(is_multi=is_multi)
        assert order is None or order.column in PREDICTIONS.names
        assert set(strategy.reads) <= set(PREDICTIONS.names) | OPTIONAL_COLUMNS

    @pytest.mark.parametrize("size", [0, 1, 5, N])
    def test_it_chooses_exactly_as_many_different_rows_as_asked(self, name, is_multi, size):
        _, choice = self.choose(name, is_multi, size)
        assert len(set(choice.rows.tolist())) == len(choice.rows) == len(choice.scores) == size
        assert choice.labels is None or len(choice.labels) == size

    def test_an_empty_pool_gives_an_empty_choice(self, name, is_multi):
        _, choice = self.choose(name, is_multi, 0, pool(is_multi)[:0])
        assert len(choice.rows) == len(choice.scores) == 0

    def test_its_scores_fall_and_missing_ones_come_last(self, name, is_multi):
        _, choice = self.choose(name, is_multi, N)
        known = ~np.isnan(choice.scores)
        assert (np.diff(choice.scores[known]) <= 0).all()
        assert known.tolist() == sorted(known.tolist(), reverse=True)

    def test_it_leaves_its_candidates_alone_and_repeats_itself(self, name, is_multi):
        ordered, first = self.choose(name, is_multi, 5, seed=1)
        before = ordered.to_pydict()
        second = strategy_named(name).choose(ordered, query(5, is_multi, seed=1))
        assert first.rows.tolist() == second.rows.tolist()
        assert ordered.to_pydict() == before

    @given(permutation=st.permutations(range(N)), seed=st.integers(0, 3))
    @settings(max_examples=4, deadline=None)
    def test_the_order_of_the_stored_rows_does_not_matter(self, name, is_multi, permutation, seed):
        if strategy_named(name).order(is_multi=is_multi) is None:
            permutation = range(N)  # a random shortlist is put in order by its hash
        shuffled = pool(is_multi).take(list(permutation))
        assert self.chosen_ids(name, is_multi, 7, shuffled, seed=seed) == self.chosen_ids(name, is_multi, 7, seed=seed)

    def test_equal_pages_are_told_apart_by_their_id(self, name, is_multi):
        same = candidates_of(
            np.full((9, LABELS), 1 / LABELS, dtype=np.float32), is_multi, embedding=as_lists(np.ones((9, 4)))
        )
        ids = self.chosen_ids(name, is_multi, 4, same)
        assert len(set(ids)) == 4
        assert self.chosen_ids(name, is_multi, 4, same.take(list(range(8, -1, -1)))) == ids or (
            strategy_named(name).order(is_multi=is_multi) is None
        )

    def test_pages_without_a_value_are_taken_last(self, name, is_multi):
        strategy = strategy_named(name)
        table = pool(is_multi)
        order = strategy.order(is_multi=is_multi)
        columns = [*([order.column] if order else []), *(read for read in strategy.reads if name != "badge")]
        lacking = {1, 4}
        for column in columns:
            table = without(table, column, lacking)
        ids = self.chosen_ids(name, is_multi, N, table)
        assert len(set(ids)) == N
        if columns:
            assert set(ids[-2:]) == {"p01", "p04"}

    def test_it_copes_with_pages_none_of_which_is_labelled_or_all_of_which_are_alike(self, name, is_multi):
        for taken in (None, np.zeros((0, 4), np.float32), np.ones((3, 4), np.float32)):
            _, choice = self.choose(name, is_multi, 5, taken=taken)
            assert len(set(choice.rows.tolist())) == 5

    def test_without_any_embedding_it_says_so_or_does_without(self, name, is_multi):
        table = without(pool(is_multi), "embedding", set(range(N)))
        if "embedding" not in strategy_named(name).reads or name == "adaptive":
            assert len(self.chosen_ids(name, is_multi, 5, table)) == 5
        else:
            with pytest.raises(InputError, match=rf"{name!r} needs embeddings.*set the strategy to random"):
                self.choose(name, is_multi, 5, table)

    def test_a_batch_keeps_to_its_budget_in_the_loop_whatever_the_order_of_the_pool(self, name, is_multi):
        table = with_samples(60, is_multi)
        task = "multi" if is_multi else "single"
        option = {"strategy": name, "domain_share": 0.3}
        batch = choose_batch(pool_of(table, task=task), only_strategy(12, **option)).batch
        shuffled = table.take(np.random.default_rng(0).permutation(60))
        assert len(set(batch["page_id"].to_pylist())) == batch.num_rows == 12
        assert batch.equals(choose_batch(pool_of(shuffled, task=task, threads=1), only_strategy(12, **option)).batch)


@pytest.mark.parametrize("is_multi", [False, True])
@pytest.mark.parametrize("name", sorted(set(STRATEGIES) - BY_PAGES_ALONE))
def test_a_page_on_which_the_model_is_unsure_scores_higher(name, is_multi):
    sure, unsure = ([0.98, 0.01, 0.01], [0.34, 0.33, 0.33]) if not is_multi else ([0.99, 0.01, 0.01], [0.5, 0.4, 0.45])
    draws = [[sure] * 2, [[0.9, 0.05, 0.05], [0.05, 0.9, 0.05]]]
    table = candidates_of(np.array([sure, unsure], dtype=np.float32), is_multi, samples=draws)
    strategy = strategy_named(name)
    ordered = in_order(table, strategy, is_multi)
    choice = strategy.choose(ordered, Query(2, is_multi=is_multi))
    assert ordered["page_id"].take(choice.rows).to_pylist() == ["p01", "p00"]
    assert choice.scores[0] > choice.scores[1]


@pytest.mark.parametrize("name", sorted(set(STRATEGIES) - BY_PAGES_ALONE))
def test_before_the_first_champion_only_strategies_that_need_no_model_are_taken(name):
    from pydantic import ValidationError

    with pytest.raises(ValidationError, match="needs predictions"):
        only_strategy(5, cold_start_strategy=name)


@pytest.mark.parametrize("name", sorted(BY_PAGES_ALONE))
def test_before_the_first_champion_the_others_choose_by_pages_alone(name):
    rng = np.random.default_rng(0)
    table = predictions(30, margin=[None] * 30, embedding=rng.normal(size=(30, 4)).astype(np.float32).tolist())
    chosen = choose_batch(pool_of(table), only_strategy(6, cold_start_strategy=name))
    assert chosen.summary.is_cold_start
    assert chosen.batch.num_rows == 6


@pytest.mark.parametrize(
    ("name", "is_multi", "column", "score"),
    [
        ("margin", False, "margin", 0.75),
        ("margin", True, "threshold_distance", 0.75),
        ("least_confidence", False, "top1", 0.75),
        ("least_confidence", True, "threshold_distance", 0.75),
        ("entropy", False, "entropy", 0.25),
        ("entropy", True, "entropy", 0.25),
    ],
)
def test_a_score_is_high_where_the_model_is_unsure(name, is_multi, column, score):
    table = pa.table({"page_id": ["p0"], column: pa.array([0.25], type=pa.float32())})
    assert strategy_named(name).choose(table, Query(1, is_multi=is_multi)).scores.tolist() == [score]


def test_a_missing_value_has_no_score():
    table = pa.table({"page_id": ["p0"], "margin": pa.array([None], type=pa.float32())})
    assert np.isnan(strategy_named("margin").choose(table, Query(1)).scores).all()


def test_an_unknown_strategy_lists_the_known_ones_and_the_nearest():
    with pytest.raises(ConfigError, match=r"Known: adaptive, badge.*Did you mean 'margin'\?"):
        strategy_named("margins")


def test_a_strategy_names_the_column_that_predictions_lack():
    pool = pool_of(predictions(5, top1=[0.5] * 5, entropy=[0.1] * 5))
    with pytest.raises(InputError, match=r"no column 'samples', which strategy 'bald' reads.*another strategy"):
        choose_batch(pool, only_strategy(2, strategy="bald"))


def test_imported_predictions_without_embeddings_can_be_chosen_from_by_default():
    table = with_samples(30, is_multi=False)
    bare = table.set_column(table.column_names.index("embedding"), "embedding", pa.nulls(30, pa.list_(pa.float32())))
    assert choose_batch(pool_of(bare), only_strategy(5, strategy="adaptive")).batch.num_rows == 5


def test_thresholds_of_the_champion_decide_what_is_close():
    table = candidates_of(np.array([[0.5, 0.01, 0.01], [0.2, 0.01, 0.01]], dtype=np.float32), is_multi=True)
    strategy = strategy_named("label_margin")
    at_half = strategy.choose(table, Query(1, is_multi=True))
    at_champions = strategy.choose(table, replace(Query(1, is_multi=True), thresholds=(0.2, 0.9, 0.9)))
    assert (at_half.rows.tolist(), at_champions.rows.tolist()) == ([0], [1])
