import numpy as np
import pyarrow as pa
import pytest

from al_platform.domain.errors import ConfigError, InputError
from al_platform.domain.selection.strategies import STRATEGIES, strategy_named
from al_platform.schemas import PREDICTIONS

N = 12


@pytest.fixture
def candidates():
    rng = np.random.default_rng(3)
    return pa.table(
        {
            "page_id": [f"p{row:02d}" for row in range(N)],
            "embedding": rng.normal(size=(N, 3)).astype(np.float32).tolist(),
            **{
                name: pa.array(rng.random(N), type=pa.float32())
                for name in ("margin", "top1", "entropy", "threshold_distance")
            },
        }
    )


def in_order(candidates, strategy, is_multi):
    order = strategy.order(is_multi=is_multi)
    if order is None:
        return candidates
    return candidates.sort_by([(order.column, "descending" if order.is_descending else "ascending")])


@pytest.mark.parametrize("is_multi", [False, True])
@pytest.mark.parametrize("name", STRATEGIES)
class TestEveryStrategy:
    def test_it_goes_by_its_name(self, name, is_multi):
        assert strategy_named(name).name == name

    def test_it_cites_its_source(self, name, is_multi):
        assert any(f"{century}" in type(strategy_named(name)).__doc__ for century in (19, 20))

    def test_its_order_is_a_stored_column(self, name, is_multi):
        order = strategy_named(name).order(is_multi=is_multi)
        assert order is None or order.column in PREDICTIONS.names

    @pytest.mark.parametrize("size", [0, 1, 5, N])
    def test_it_chooses_exactly_as_many_different_rows_as_asked(self, candidates, name, is_multi, size):
        strategy = strategy_named(name)
        choice = strategy.choose(in_order(candidates, strategy, is_multi), size, is_multi=is_multi, seed=0)
        assert len(set(choice.rows.tolist())) == len(choice.rows) == len(choice.scores) == size

    def test_its_scores_fall_where_it_gives_any(self, candidates, name, is_multi):
        strategy = strategy_named(name)
        choice = strategy.choose(in_order(candidates, strategy, is_multi), N, is_multi=is_multi, seed=0)
        scores = choice.scores[~np.isnan(choice.scores)]
        assert (np.diff(scores) <= 0).all()

    def test_it_leaves_its_candidates_alone_and_repeats_itself(self, candidates, name, is_multi):
        strategy = strategy_named(name)
        ordered = in_order(candidates, strategy, is_multi)
        before = ordered.to_pydict()
        first = strategy.choose(ordered, 5, is_multi=is_multi, seed=1)
        second = strategy.choose(ordered, 5, is_multi=is_multi, seed=1)
        assert first.rows.tolist() == second.rows.tolist()
        assert ordered.to_pydict() == before


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
    assert strategy_named(name).choose(table, 1, is_multi=is_multi, seed=0).scores.tolist() == [score]


def test_a_missing_value_has_no_score():
    table = pa.table({"page_id": ["p0"], "margin": pa.array([None], type=pa.float32())})
    assert np.isnan(strategy_named("margin").choose(table, 1, is_multi=False, seed=0).scores).all()


def test_an_unknown_strategy_lists_the_known_ones_and_the_nearest():
    with pytest.raises(ConfigError, match=r"Known: diversity, entropy.*Did you mean 'margin'\?"):
        strategy_named("margins")


def test_diversity_puts_pages_without_an_embedding_last():
    table = pa.table({"page_id": ["a", "b", "c"], "embedding": [None, [1.0, 0.0], [0.0, 1.0]]})
    choice = strategy_named("diversity").choose(table, 3, is_multi=False, seed=0)
    assert choice.rows.tolist() == [1, 2, 0]
    assert np.isnan(choice.scores[-1])


def test_diversity_without_any_embedding_says_what_to_do():
    table = pa.table({"page_id": ["a"], "embedding": pa.array([None], type=pa.list_(pa.float32()))})
    with pytest.raises(InputError, match="set the strategy to random"):
        strategy_named("diversity").choose(table, 1, is_multi=False, seed=0)
