"""Floors, caps, copies, age and money: what a batch keeps to, and the error that names what cannot be kept."""

from dataclasses import replace
from datetime import UTC, datetime

import ibis
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from selection_pools import in_duckdb, only_strategy, pages_of, pool_of, predictions

from al_platform.domain.errors import ConfigError, InputError, PoolExhaustedError
from al_platform.domain.selection.choose import choose_batch
from al_platform.domain.selection.costs import affordable
from al_platform.domain.selection.eligible import Copies
from al_platform.domain.selection.options import CostOptions, SelectionOptions

PER_PAGE = {"per_page": 0.5}


def labelled_pool(labels, n_each=None, **columns):
    """Pages p00, p01 ... from the closest call on; letters are the labels predicted of them."""
    likely = {"a": [0.6, 0.3, 0.1], "b": [0.3, 0.6, 0.1], "c": [0.1, 0.3, 0.6]}
    n = len(labels)
    known = {"top1": [0.6] * n, "probabilities": [likely[label] for label in labels]}
    return predictions(n, **{**known, **columns})


def chosen_ids(table, options, **pool):
    return choose_batch(pool_of(table, **pool), options).batch["page_id"].to_pylist()


def whys(batch):
    return dict(zip(batch["page_id"].to_pylist(), batch["why"].to_pylist(), strict=True))


class TestFloors:
    def test_a_floor_of_a_label_is_filled_with_its_closest_calls(self):
        table = labelled_pool("aaaaaabcbc")
        batch = choose_batch(pool_of(table), only_strategy(4, class_floors={"c": 1, "b": 2})).batch
        assert sorted(batch["page_id"].to_pylist()) == ["p00", "p06", "p07", "p08"]
        assert whys(batch) == {
            "p00": "margin",
            "p06": "margin: floor of b",
            "p08": "margin: floor of b",
            "p07": "margin: floor of c",
        }

    def test_a_floor_of_a_domain_is_filled_with_its_closest_calls(self):
        table = labelled_pool("a" * 8, domain=["x"] * 6 + ["y"] * 2)
        options = only_strategy(3, domain_floors={"y": 1}, domain_share=None)
        assert sorted(chosen_ids(table, options)) == ["p00", "p01", "p06"]

    def test_it_is_found_however_far_down_the_order_it_lies(self):
        table = labelled_pool("a" * 400 + "b", page_id=[f"p{row:03d}" for row in range(401)])
        assert "p400" in chosen_ids(table, only_strategy(5, class_floors={"b": 1}, domain_share=None))

    def test_what_the_strategy_chooses_anyway_counts_once(self):
        table = labelled_pool("bbaa", domain=["x", "y", "y", "z"])
        options = only_strategy(2, class_floors={"b": 2}, domain_floors={"y": 1}, domain_share=None)
        assert sorted(chosen_ids(table, options)) == ["p00", "p01"]

    def test_copies_do_not_fill_a_floor_while_others_can(self):
        texts = ["one", "two", "three", *(["same"] * 12), "other"]
        table = labelled_pool("aaa" + "b" * 13)
        batch = choose_batch(
            pool_of(table, texts=texts),
            only_strategy(3, class_floors={"b": 2}, overfetch=1, domain_share=None),
            Copies(lambda texts: np.array([list(texts).index(text) for text in texts])),
        ).batch
        assert sorted(batch["page_id"].to_pylist()) == ["p00", "p03", "p15"]

    def test_too_few_pages_for_a_floor_names_it_with_numbers(self):
        with pytest.raises(PoolExhaustedError, match=r"class_floors asks for 3 pages of 'c'.* only 2 .* left for 3"):
            chosen_ids(labelled_pool("aaaacc"), only_strategy(4, class_floors={"c": 3}, domain_share=None))

    def test_floors_that_are_disjoint_in_the_pool_may_need_more_than_the_budget(self):
        options = only_strategy(2, class_floors={"c": 2}, domain_floors={"x": 1}, domain_share=None)
        table = labelled_pool("aacc", domain=["x", "x", "y", "y"])
        with pytest.raises(PoolExhaustedError, match=r"class_floors asks for 2 pages of 'c', but 1 of the 2 pages"):
            chosen_ids(table, options)

    def test_a_floor_of_an_unknown_label_names_the_nearest(self):
        with pytest.raises(ConfigError, match=r"'aa', which is no label. Known: a, b, c. Did you mean 'a'\?"):
            chosen_ids(labelled_pool("ab"), only_strategy(1, class_floors={"aa": 1}))

    @pytest.mark.parametrize(
        ("given_options", "said"),
        [
            ({"class_floors": {"a": 9, "b": 5}}, r"class_floors add up to 14 pages, .* leaves 10 to the strategy"),
            ({"domain_floors": {"x": 4}, "domain_share": 0.2}, r"4 pages of 'x', but domain_share allows 2"),
            ({"class_floors": {"a": 4}, "class_share": 0.2}, r"4 pages of 'a', but class_share allows 2"),
            ({"cost": {"limit": 5}}, "needs a price"),
        ],
    )
    def test_what_no_pool_could_fill_is_said_before_the_run(self, given_options, said):
        with pytest.raises(ValidationError, match=said):
            only_strategy(10, **given_options)


class TestCapOfLabels:
    def test_a_label_has_its_share_and_no_more(self):
        table = labelled_pool("aaaaaabbcc")
        assert chosen_ids(table, only_strategy(5, class_share=0.4)) == ["p00", "p01", "p06", "p07", "p08"]

    def test_it_looks_for_other_labels_however_far_down_the_order_they_lie(self):
        table = labelled_pool("a" * 300 + "bc", page_id=[f"p{row:03d}" for row in range(302)])
        assert chosen_ids(table, only_strategy(3, class_share=0.3, domain_share=None)) == ["p000", "p300", "p301"]

    def test_a_cap_that_cannot_be_kept_is_named_with_numbers(self):
        with pytest.raises(
            PoolExhaustedError, match=r"5 pages to choose.* 2 .*lacking: selection.class_share=0.4 allows 2 .*out 6"
        ):
            chosen_ids(labelled_pool("a" * 8 + "b"), only_strategy(5, class_share=0.4, domain_share=None))

    @given(
        labels=st.lists(st.sampled_from("aabc"), min_size=12, max_size=40),
        size=st.integers(1, 10),
        share=st.sampled_from([0.4, 0.5, 0.7, 1.0]),
        strategy=st.sampled_from(["margin", "random", "label_margin", "adaptive", "weighted_kmeans"]),
    )
    @settings(max_examples=15, deadline=None)
    def test_a_batch_keeps_to_floors_and_caps_or_says_which_it_cannot_keep(self, labels, size, share, strategy):
        rng = np.random.default_rng(len(labels))
        table = labelled_pool(labels, embedding=rng.normal(size=(len(labels), 3)).astype(np.float32).tolist())
        options = only_strategy(size, class_share=share, class_floors={"c": 1}, strategy=strategy)
        if "c" not in labels:
            with pytest.raises(PoolExhaustedError, match="pages of 'c'"):
                chosen_ids(table, options)
            return
        if sum(min(labels.count(label), options.class_cap) for label in "abc") < size:
            with pytest.raises(PoolExhaustedError, match=r"selection\.class_share"):
                chosen_ids(table, options)
            return
        ids = chosen_ids(table, options)
        chosen = [labels[int(page_id[1:])] for page_id in ids]
        assert len(set(ids)) == size
        assert chosen.count("c") >= 1
        assert max(map(chosen.count, chosen)) <= options.class_cap


class TestCopies:
    def test_a_page_that_nearly_repeats_a_labelled_one_is_not_asked_about(self):
        table = labelled_pool("aaaa")
        copies = Copies(repeats_labelled=lambda texts: np.array([text == "known" for text in texts]))
        chosen = choose_batch(pool_of(table, texts=["known", "new", "known", "other"]), only_strategy(2), copies)
        assert chosen.batch["page_id"].to_pylist() == ["p01", "p03"]
        assert chosen.summary.near_duplicates_removed == 2

    def test_one_that_repeats_a_labelled_page_stands_for_no_other(self):
        texts = ["same", "same 2", "third"]
        groups = Copies(lambda texts: np.array([text.split()[0] == "same" for text in texts]).astype(np.int64) * 7)
        both = replace(groups, repeats_labelled=lambda texts: np.array([text == "same" for text in texts]))
        table = labelled_pool("aaa")
        assert choose_batch(pool_of(table, texts=texts), only_strategy(2), both).batch["page_id"].to_pylist() == [
            "p01",
            "p02",
        ]

    def test_candidates_from_two_lists_with_one_text_are_one(self):
        table = labelled_pool("aaab", text_hash=["same", "x", "y", "same"])
        batch = choose_batch(pool_of(table), only_strategy(2, class_floors={"b": 1})).batch
        assert sorted(batch["page_id"].to_pylist()) == ["p01", "p03"]


def dated(table, *days):
    """Pages fetched on these days of October 2026, None without a date."""
    dates = [None if day is None else datetime(2026, 10, day, tzinfo=UTC) for day in days]
    return pages_of(table).append_column("fetched_at", pa.array(dates, pa.timestamp("us", tz="UTC")))


class TestAge:
    TABLE = labelled_pool("aaaa")
    PAGES = dated(TABLE, 1, 31, None, 30)  # the cycle ends with November

    @pytest.mark.parametrize("in_engine", [False, True])
    def test_a_page_that_was_fetched_too_long_ago_is_left_out(self, in_engine):
        pages = in_duckdb(self.PAGES, "pages", ibis.duckdb.connect()) if in_engine else self.PAGES
        chosen = choose_batch(replace(pool_of(self.TABLE), pages=pages), only_strategy(2, max_age_days=31))
        assert chosen.batch["page_id"].to_pylist() == ["p01", "p02"]  # the 30th is 32 days before 1 December
        assert (chosen.summary.too_old, chosen.summary.candidates) == (2, 2)

    def test_random_draws_are_of_any_age(self):
        options = only_strategy(2, audit_share=0.9, control_share=0, relabel_share=0, max_age_days=1)
        pool = replace(pool_of(self.TABLE), pages=dated(self.TABLE, 1, 1, 1, 1))
        assert set(choose_batch(pool, options).batch["reason"].to_pylist()) == {"audit"}

    def test_too_few_fresh_pages_name_the_limit_that_binds(self):
        pool = replace(pool_of(self.TABLE), pages=self.PAGES)
        with pytest.raises(
            PoolExhaustedError,
            match=r"2 older than selection.max_age_days.* Without selection.max_age_days there would",
        ):
            choose_batch(pool, only_strategy(3, max_age_days=31))


def test_too_few_pages_within_the_share_of_domains_name_it():
    table = labelled_pool("aaaaaa", domain=["x"] * 6)
    with pytest.raises(PoolExhaustedError, match=r"Without selection.domain_share there would be enough"):
        choose_batch(pool_of(table), only_strategy(3, domain_share=0.3))


class TestMoney:
    def test_the_batch_ends_where_the_money_does(self):
        options = only_strategy(4, cost={**PER_PAGE, "limit": 1.2})
        chosen = choose_batch(pool_of(labelled_pool("aaaa")), options)
        assert chosen.batch["page_id"].to_pylist() == ["p00", "p01"]
        assert chosen.summary.cost == 1.0
        assert chosen.summary.by_reason == {"strategy": 2}

    def test_money_enough_changes_nothing(self):
        table = labelled_pool("aaaa")
        with_price = choose_batch(pool_of(table), only_strategy(3, cost={**PER_PAGE, "limit": 1.5}))
        assert with_price.batch.equals(choose_batch(pool_of(table), only_strategy(3)).batch)
        assert (with_price.summary.cost, choose_batch(pool_of(table), only_strategy(3)).summary.cost) == (1.5, None)

    def test_a_long_text_costs_more_up_to_what_an_annotator_gets(self):
        texts = ["x" * 5_000, "x" * 1_000, "x" * 1_000]
        options = only_strategy(3, cost={"per_1000_chars": 1.0}, text_max_chars=2_000)
        assert choose_batch(pool_of(labelled_pool("aaa"), texts=texts), options).summary.cost == 4.0

    def test_a_price_may_be_a_column_of_the_pages(self):
        table = labelled_pool("aaa")
        pages = pages_of(table).append_column("price", pa.array([1.0, 2.0, 3.0]))
        options = only_strategy(3, cost={"column": "price", "limit": 3.5})
        assert choose_batch(replace(pool_of(table), pages=pages), options).batch["page_id"].to_pylist() == [
            "p00",
            "p01",
        ]

    def test_random_draws_and_floors_are_paid_first(self):
        options = SelectionOptions(
            budget=10, audit_share=0.2, exploration_share=0, class_floors={"c": 2}, cost={**PER_PAGE, "limit": 2.5}
        )
        chosen = choose_batch(pool_of(labelled_pool("a" * 18 + "ccc")), options)
        reasons, why = chosen.batch["reason"].to_pylist(), chosen.batch["why"].to_pylist()
        assert (reasons.count("audit"), why.count("adaptive: floor of c"), len(reasons)) == (2, 2, 5)

    def test_a_limit_below_what_must_be_paid_is_named_with_numbers(self):
        options = SelectionOptions(budget=10, audit_share=0.2, exploration_share=0, cost={**PER_PAGE, "limit": 1.2})
        with pytest.raises(
            PoolExhaustedError, match=r"cost.limit is 1.2, but random draws cost 1 and the next 1 pages 0.5"
        ):
            choose_batch(pool_of(labelled_pool("a" * 20)), options)

    @pytest.mark.parametrize("price", [None, -1.0])
    def test_a_page_without_a_price_is_named(self, price):
        table = labelled_pool("aa")
        pages = pages_of(table).append_column("price", pa.array([1.0, price]))
        with pytest.raises(InputError, match="Page 'p01' has the price"):
            choose_batch(replace(pool_of(table), pages=pages), only_strategy(2, cost={"column": "price"}))

    def test_a_missing_column_lists_those_that_are_there(self):
        with pytest.raises(InputError, match=r"'price', which pages do not have. Found: page_id, url"):
            choose_batch(pool_of(labelled_pool("aa")), only_strategy(1, cost=CostOptions(column="price")))

    @given(st.lists(st.integers(0, 500), min_size=1, max_size=12), st.integers(0, 2_000))
    def test_it_buys_the_longest_head_that_the_money_pays_for(self, cents, limit):
        prices = np.array(cents) / 100
        expected = max(n for n in range(len(cents) + 1) if sum(cents[:n]) <= limit)
        if expected == 0:
            with pytest.raises(PoolExhaustedError):
                affordable(prices, 0.0, 0, limit / 100)
        else:
            assert affordable(prices, 0.0, 0, limit / 100) == expected


def test_every_row_says_why_it_is_there():
    options = SelectionOptions(budget=12, audit_share=0.3, exploration_share=0.2, class_floors={"c": 1}, seed=3)
    batch = choose_batch(pool_of(labelled_pool("a" * 40 + "bbcc")), options).batch
    said = dict(zip(batch["reason"].to_pylist(), batch["why"].to_pylist(), strict=True))
    assert said["audit"].startswith("random draw of ")
    assert said["exploration"] == "random draw of all pages"
    assert "adaptive: floor of c" in batch["why"].to_pylist()
    assert batch["why"].null_count == 0
