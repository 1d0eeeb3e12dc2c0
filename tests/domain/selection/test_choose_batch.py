from dataclasses import replace

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selection_pools import in_duckdb, only_strategy, page_ids, pages_of, pool_of, predictions, scored

from al_platform.domain.duel import DuelOfModels, draw_duel, read_duels
from al_platform.domain.errors import InputError, PoolExhaustedError
from al_platform.domain.selection.choose import PAGE_COLUMNS, choose_batch
from al_platform.domain.selection.eligible import Copies
from al_platform.domain.selection.options import SelectionOptions
from al_platform.domain.selection.second_looks import LOOKS
from al_platform.domain.taxonomy import Taxonomy
from al_platform.schemas import BATCH

TAXONOMY = Taxonomy(task="single", labels=("a", "b", "c"))
MIXED = SelectionOptions(strategy="margin", budget=20, audit_share=0.2, exploration_share=0.1, seed=1)


def by_reason(batch, reason):
    return [row["page_id"] for row in batch.to_pylist() if row["reason"] == reason]


def same_first_word(texts):
    words = [text.split()[0] for text in texts]
    return np.array([words.index(word) for word in words])


def with_margins(n, **columns):
    return predictions(n, **{"top1": [0.5] * n, **columns})


def test_the_most_informative_pages_fill_the_budget_best_first():
    batch = choose_batch(pool_of(with_margins(9)), only_strategy(3)).batch
    assert batch["page_id"].to_pylist() == ["p00", "p01", "p02"]
    assert batch["rank"].to_pylist() == [1, 2, 3]
    assert batch["score"].to_pylist() == pytest.approx([1, 0.99, 0.98])
    assert set(batch["reason"].to_pylist()) == {"strategy"}


def test_a_row_has_what_an_annotator_and_an_audit_need():
    batch = choose_batch(pool_of(scored(100)), MIXED).batch
    assert batch.schema.equals(BATCH)
    for row in batch.to_pylist():
        is_random = row["reason"] in ("audit", "exploration")
        assert row["batch_id"] == "topics-2026-11-1"
        assert row["url"] == f"https://example.org/{row['page_id']}"
        assert row["model_digest"] == "m1"
        assert (row["score"] is None) == is_random
        assert (row["inclusion_probability"] is not None) == is_random
        assert (row["frame_size"] == 100) == is_random


def test_a_text_is_cut_for_the_annotator():
    batch = choose_batch(pool_of(with_margins(2)), only_strategy(1, text_max_chars=4)).batch
    assert batch["text"].to_pylist() == ["Text"]


def test_random_draws_lie_scattered_among_the_picks_which_keep_their_order():
    batch = choose_batch(pool_of(scored(100)), MIXED).batch
    scores = [score for score in batch["score"].to_pylist() if score is not None]
    is_draw = [score is None for score in batch["score"].to_pylist()]
    assert scores == sorted(scores, reverse=True)
    assert is_draw != sorted(is_draw)
    assert is_draw != sorted(is_draw, reverse=True)


def test_a_drawn_page_that_is_labelled_already_is_non_response_and_the_budget_is_still_met():
    first = choose_batch(pool_of(scored(200)), MIXED)
    audit, exploration = by_reason(first.batch, "audit"), by_reason(first.batch, "exploration")
    second = choose_batch(pool_of(scored(200), excluded=[audit[0], exploration[0]]), MIXED)
    assert second.summary.non_response == {"audit": 1, "exploration": 1}
    assert second.summary.by_reason == {"audit": 3, "exploration": 1, "strategy": 16}
    assert sorted(by_reason(second.batch, "audit")) == sorted(audit[1:])
    assert not {audit[0], exploration[0]} & set(second.batch["page_id"].to_pylist())


def test_the_summary_counts_the_pool():
    summary = choose_batch(pool_of(scored(200), excluded=["p0000", "unknown"]), MIXED).summary
    assert summary.pool == 200
    assert summary.candidates == 200 - 6 - 1  # six drawn, one labelled
    assert not summary.is_cold_start
    assert summary.strategy == "margin"


def test_near_duplicates_of_better_pages_go():
    texts = ["same 1", "same 2", "other", "same 3", "third"]
    chosen = choose_batch(pool_of(with_margins(5), texts=texts), only_strategy(3), Copies(same_first_word))
    assert chosen.batch["page_id"].to_pylist() == ["p00", "p02", "p04"]
    assert chosen.summary.near_duplicates_removed == 2


def test_too_few_pages_that_differ_name_what_makes_them_copies():
    texts = ["same 1", "same 2", "other"]
    with pytest.raises(PoolExhaustedError, match=r"Without near_duplicates.threshold there would be enough"):
        choose_batch(pool_of(with_margins(3), texts=texts), only_strategy(3), Copies(same_first_word))


def test_a_pick_nearly_repeats_no_audit_page():
    options = SelectionOptions(budget=4, audit_share=0.5, exploration_share=0, cold_start_strategy="random")
    audit = by_reason(choose_batch(pool_of(predictions(8)), options).batch, "audit")
    texts = ["same" if f"p{row:02d}" in (audit[0], "p00", "p07") else f"text-{row}" for row in range(8)]
    batch = choose_batch(pool_of(predictions(8), texts=texts), options, Copies(same_first_word)).batch
    assert by_reason(batch, "audit") == audit
    assert not {"p00", "p07"} & set(by_reason(batch, "cold_start"))


def test_a_pick_repeats_no_audit_text_exactly_either():
    options = SelectionOptions(budget=4, audit_share=0.5, exploration_share=0)
    audit = by_reason(choose_batch(pool_of(with_margins(8)), options).batch, "audit")
    best = next(f"p{row:02d}" for row in range(8) if f"p{row:02d}" not in audit)
    hashes = ["same" if f"p{row:02d}" in (audit[0], best) else f"hash-{row}" for row in range(8)]
    chosen = choose_batch(pool_of(with_margins(8, text_hash=hashes)), options)
    assert best not in by_reason(chosen.batch, "strategy")
    assert chosen.summary.exact_duplicates == 1


def test_a_near_duplicate_uses_up_nothing_of_its_domains_share():
    table = with_margins(5, domain=["x", "x", "x", "x", "y"])
    texts = ["same 1", "same 2", "other", "third", "fourth"]
    options = only_strategy(3, domain_share=0.6, overfetch=1)  # two a domain
    assert choose_batch(pool_of(table, texts=texts), options, Copies(same_first_word)).batch["page_id"].to_pylist() == [
        "p00",
        "p02",
        "p04",
    ]


def test_before_the_first_champion_the_pages_are_diverse():
    embeddings = [[1.0, 0.0]] * 4 + [[0.0, 1.0]] * 3 + [[-1.0, 0.0]] * 2
    table = predictions(9, margin=[None] * 9, embedding=embeddings)
    chosen = choose_batch(pool_of(table), only_strategy(3))
    assert chosen.batch["page_id"].to_pylist() == ["p00", "p04", "p07"]
    assert set(chosen.batch["reason"].to_pylist()) == {"cold_start"}
    assert chosen.summary.is_cold_start
    assert chosen.summary.strategy == "diversity"


def test_a_multi_label_family_asks_about_the_page_closest_to_a_threshold():
    table = with_margins(3, threshold_distance=[0.3, 0.1, 0.2])
    assert choose_batch(pool_of(table, task="multi"), only_strategy(1)).batch["page_id"].to_pylist() == ["p01"]


def test_too_small_a_pool_says_what_was_asked_found_and_what_to_do():
    with pytest.raises(
        PoolExhaustedError,
        match=r"Asked for 5 samples but the pool of topics 2026-11 holds 2 .*Lower selection.budget or add traffic.",
    ):
        choose_batch(pool_of(with_margins(3), excluded=["p01"]), only_strategy(5))


def test_an_empty_pool_is_an_exhausted_one():
    with pytest.raises(PoolExhaustedError, match="holds 0 "):
        choose_batch(pool_of(predictions(0)), SelectionOptions(budget=5))


def test_a_pool_of_just_the_budget_is_enough():
    assert choose_batch(pool_of(with_margins(3)), only_strategy(3)).batch.num_rows == 3


def test_imported_predictions_without_the_strategys_column_are_not_ordered_by_nothing():
    table = with_margins(3, margin=[None] * 3)
    with pytest.raises(InputError, match="'margin', which is null for every candidate"):
        choose_batch(pool_of(table), only_strategy(2))
    assert choose_batch(pool_of(table), only_strategy(2, strategy="random")).batch.num_rows == 2


def test_predictions_of_other_pages_are_refused():
    pool = pool_of(with_margins(3))
    with pytest.raises(InputError, match="Pages lack 1 of 1 pages"):
        choose_batch(replace(pool, pages=pages_of(predictions(3)).slice(1)), only_strategy(1))


@pytest.mark.parametrize("strategy", ["margin", "entropy", "least_confidence", "random", "diversity"])
@given(permutation=st.permutations(range(60)), threads=st.sampled_from([1, 3]))
@settings(max_examples=3, deadline=None)
def test_neither_row_order_nor_threads_matter(strategy, permutation, threads):
    table, options = scored(60), MIXED.model_copy(update={"strategy": strategy})
    expected = choose_batch(pool_of(table), options)
    found = choose_batch(pool_of(table.take(permutation), threads=threads), options)
    assert found.batch.equals(expected.batch)
    assert found.summary == expected.summary


def test_partitions_do_not_matter(tmp_path):
    table = scored(90)
    shuffled = table.take(np.random.default_rng(0).permutation(90))
    for part in range(4):
        pq.write_table(shuffled.take(np.arange(part, 90, 4)), tmp_path / f"{part}.parquet", row_group_size=5)
    pool = pool_of(table)
    files = ibis.duckdb.connect().read_parquet(tmp_path / "*.parquet")
    partitioned = replace(pool, predictions=files)
    assert choose_batch(partitioned, MIXED).batch.equals(choose_batch(pool, MIXED).batch)


def test_pages_and_exclusions_may_lie_in_the_engine():
    table = scored(60)
    pool = pool_of(table, excluded=["p0003"])
    connection = ibis.duckdb.connect()
    in_engine = replace(
        pool,
        pages=in_duckdb(pages_of(table), "pages", connection),
        excluded=in_duckdb(page_ids("p0003", "p0003"), "excluded", connection),
    )
    assert choose_batch(in_engine, MIXED).batch.equals(choose_batch(pool, MIXED).batch)


@given(
    seed=st.integers(0, 5),
    budget=st.integers(1, 25),
    domain_share=st.sampled_from([None, 0.1, 0.2]),
    excluded=st.sets(st.integers(0, 79), max_size=20),
    overfetch=st.integers(1, 3),
    has_champion=st.booleans(),
)
@settings(max_examples=15, deadline=None)
def test_what_every_batch_keeps_to(seed, budget, domain_share, excluded, overfetch, has_champion):
    table = scored(80)
    if not has_champion:
        table = table.set_column(5, "top1", pa.nulls(80, pa.float32()))
        table = table.set_column(4, "probabilities", pa.nulls(80, pa.list_(pa.float32())))
    names = [f"p{row:04d}" for row in excluded]
    options = SelectionOptions(budget=budget, domain_share=domain_share, overfetch=overfetch, seed=seed)
    chosen = choose_batch(pool_of(table, excluded=names), options)
    rows = chosen.batch.to_pylist()
    picks = [row for row in rows if row["reason"] not in ("audit", "exploration")]
    domains = [row["domain"] for row in picks]
    assert len({row["page_id"] for row in rows}) == len(rows) == budget == sum(chosen.summary.by_reason.values())
    assert not {row["page_id"] for row in rows} & set(names)
    assert domain_share is None or max(map(domains.count, domains), default=0) <= options.domain_cap
    assert [row["rank"] for row in rows] == list(range(1, budget + 1))


def test_the_inputs_stay_as_they_were():
    table = scored(40)
    pool = pool_of(table, excluded=["p0001"])
    before = (pool.pages.to_pydict(), pool.excluded.to_pydict(), table.to_pydict())
    choose_batch(pool, MIXED)
    assert (pool.pages.to_pydict(), pool.excluded.to_pydict(), table.to_pydict()) == before


def test_overfetching_more_changes_no_greedy_pick():
    pool = pool_of(scored(80))
    few, many = (choose_batch(pool, MIXED.model_copy(update={"overfetch": factor})).batch for factor in (1, 10))
    assert few.equals(many)


def duel_over(*pages):
    says = TAXONOMY.encode([["a"]] * len(pages))
    differs = TAXONOMY.encode([["b"]] * len(pages))
    duel = draw_duel(list(pages), says, differs, TAXONOMY, size=len(pages), salt="s")
    return DuelOfModels("challenger", "champion", duel)


def test_pages_of_a_duel_come_on_top_of_the_budget_and_are_noted_in_the_batch():
    pool = pool_of(scored(60))
    chosen = choose_batch(pool, SelectionOptions(budget=10, audit_share=0.2), duel=duel_over("p0003", "p0050"))
    reasons = dict(zip(*(chosen.batch[name].to_pylist() for name in ("page_id", "reason")), strict=True))
    assert chosen.batch.num_rows == 10 + sum(reason == "duel" for reason in reasons.values())
    noted = {row["page_id"] for row in chosen.batch.to_pylist() if row["duel"] is not None}
    assert noted == {"p0003", "p0050"}
    (read,) = read_duels(chosen.batch.append_column("cycle", [["2026-11"] * chosen.batch.num_rows]))
    assert (read.challenger_digest, read.champion_digest) == ("challenger", "champion")
    assert read.duel.frame.drawn == 2


def test_a_page_of_a_duel_that_is_drawn_for_the_audit_serves_both():
    pool = pool_of(scored(60))
    options = SelectionOptions(budget=10, audit_share=0.2)
    audit = next(row["page_id"] for row in choose_batch(pool, options).batch.to_pylist() if row["reason"] == "audit")
    batch = choose_batch(pool, options, duel=duel_over(audit)).batch
    (row,) = [row for row in batch.to_pylist() if row["page_id"] == audit]
    assert row["reason"] == "audit"
    assert row["duel"]["challenger_values"] == ["b"]
    assert batch.num_rows == 10


def test_without_a_duel_the_batch_is_what_it_was():
    pool, options = pool_of(scored(60)), SelectionOptions(budget=10, audit_share=0.2)
    assert choose_batch(pool, options).batch.equals(choose_batch(pool, options, duel=None).batch)


def again(*reasons, text="An old text"):
    """Pages of earlier months that are asked about again."""
    rows = [
        {"page_id": f"old-{number}", "reason": reason, "why": "why", "title": "Old", "text": text}
        for number, reason in enumerate(reasons)
    ]
    schema = pa.schema([*LOOKS, *(BATCH.field(name) for name in PAGE_COLUMNS)])
    return pa.Table.from_pylist([dict.fromkeys(schema.names) | row for row in rows], schema)


def test_pages_that_are_asked_about_again_take_their_places_from_the_strategy_alone():
    looks = again("control", "relabel", "second_opinion")
    pool = pool_of(scored(100))
    alone, both = choose_batch(pool, MIXED), choose_batch(pool, MIXED, looks=looks)
    assert both.batch.num_rows == alone.batch.num_rows == 20
    for reason in ("audit", "exploration"):
        assert sorted(by_reason(both.batch, reason)) == sorted(by_reason(alone.batch, reason))
    assert by_reason(both.batch, "strategy") == by_reason(alone.batch, "strategy")[:-3]
    counted = {"control": 1, "relabel": 1, "second_opinion": 1, "strategy": 11, "audit": 4, "exploration": 2}
    assert both.summary.by_reason == counted


def test_pages_that_are_asked_about_again_stand_for_no_traffic_and_lie_among_the_others():
    batch = choose_batch(pool_of(scored(100)), MIXED, looks=again(*["control"] * 5)).batch
    rows = [row for row in batch.to_pylist() if row["reason"] == "control"]
    nothing = ("inclusion_probability", "stratum", "frame_size", "model_digest")
    assert {row[name] for row in rows for name in nothing} == {None}
    ranks = [row["rank"] for row in rows]
    assert max(ranks) - min(ranks) > 5
    assert {row["text"] for row in rows} == {"An old text"}
    assert batch["rank"].to_pylist() == list(range(1, 21))


def test_money_pays_for_pages_that_are_asked_about_again_first():
    options = only_strategy(4, cost={"per_page": 0.5, "limit": 1.6})
    chosen = choose_batch(pool_of(with_margins(9)), options, looks=again("control", "control"))
    assert chosen.summary.by_reason == {"control": 2, "strategy": 1}
    assert chosen.summary.cost == 1.5
