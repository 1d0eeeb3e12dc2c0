import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selection_pools import in_duckdb, page_ids, predictions

from al_platform.domain.errors import InputError
from al_platform.domain.selection.query import StoredOrder
from al_platform.domain.selection.random_order import random_keys
from al_platform.domain.selection.shortlist import fetch, shortlist

MARGIN = StoredOrder("margin")
NONE = page_ids()


def ids(found):
    return found.table["page_id"].to_pylist()


def test_the_smallest_margins_come_first():
    found = shortlist(in_duckdb(predictions(9)), NONE, MARGIN, limit=3)
    assert ids(found) == ["p00", "p01", "p02"]
    assert not found.is_exhausted


def test_the_largest_entropies_come_first():
    table = predictions(4, entropy=[0.1, 0.9, None, 0.5])
    assert ids(shortlist(in_duckdb(table), NONE, StoredOrder("entropy", True), limit=4)) == ["p01", "p03", "p00", "p02"]


def test_pages_without_a_value_come_last():
    table = predictions(4, margin=[None, 0.3, None, 0.1])
    assert ids(shortlist(in_duckdb(table), NONE, MARGIN, limit=4)) == ["p03", "p01", "p00", "p02"]


def test_ties_go_by_page_id():
    table = predictions(4, page_id=["d", "b", "a", "c"], margin=[0.5] * 4)
    assert ids(shortlist(in_duckdb(table), NONE, MARGIN, limit=3)) == ["a", "b", "c"]


@pytest.mark.parametrize("as_engine_table", [False, True])
def test_excluded_pages_are_left_out(as_engine_table):
    excluded = page_ids("p00", "p02", "unknown")
    excluded = ibis.memtable(excluded) if as_engine_table else excluded
    assert ids(shortlist(in_duckdb(predictions(5)), excluded, MARGIN, limit=2)) == ["p01", "p03"]


def test_the_best_page_of_a_text_stays_and_an_unknown_text_repeats_nothing():
    found = shortlist(in_duckdb(predictions(5, text_hash=["x", "x", None, None, "x"])), NONE, MARGIN, limit=5)
    assert ids(found) == ["p00", "p02", "p03"]
    assert (found.exact_duplicates, found.capped, found.is_exhausted) == (2, 0, True)


def test_a_domain_has_its_share_and_an_unknown_one_is_not_capped():
    table = predictions(6, domain=["x", "x", "x", None, None, None])
    found = shortlist(in_duckdb(table), NONE, MARGIN, limit=6, domain_cap=2)
    assert ids(found) == ["p00", "p01", "p03", "p04", "p05"]
    assert found.capped == 1


def test_a_duplicate_uses_up_nothing_of_its_domain():
    table = predictions(3, domain=["x"] * 3, text_hash=["same", "same", "other"])
    assert ids(shortlist(in_duckdb(table), NONE, MARGIN, limit=3, domain_cap=2)) == ["p00", "p02"]


def test_an_excluded_page_does_not_stand_for_its_text():
    table = predictions(2, text_hash=["same", "same"])
    assert ids(shortlist(in_duckdb(table), page_ids("p00"), MARGIN, limit=2)) == ["p01"]


def test_it_looks_further_when_one_domain_fills_the_head():
    table = predictions(60, domain=["x"] * 50 + [f"site-{row}" for row in range(10)])
    found = shortlist(in_duckdb(table), NONE, MARGIN, limit=3, domain_cap=1)
    assert ids(found) == ["p00", "p50", "p51"]


def test_it_looks_further_where_the_head_is_known_already():
    known = page_ids(*(f"p{row:02d}" for row in range(50)))
    found = shortlist(in_duckdb(predictions(60)), known, MARGIN, limit=3)
    assert ids(found) == ["p50", "p51", "p52"]
    assert not found.is_exhausted


def test_a_random_order_is_that_of_the_hash():
    table = predictions(20)
    names = table["page_id"].to_pylist()
    keys = dict(zip(names, random_keys(names, "2026-11|0").tolist(), strict=True))
    found = shortlist(in_duckdb(table), NONE, None, limit=5, salt="2026-11|0")
    assert ids(found) == sorted(names, key=keys.get)[:5]


def test_a_random_order_changes_with_the_salt():
    table = in_duckdb(predictions(20))
    first, second = (ids(shortlist(table, NONE, None, limit=20, salt=salt)) for salt in ("2026-11|0", "2026-12|0"))
    assert first != second
    assert sorted(first) == sorted(second)


def test_random_keys_are_the_first_63_bits_of_md5():
    # md5("a|b") = d45d80ac4bb4b5b7...
    import hashlib

    digest = hashlib.md5(b"a|b", usedforsecurity=False).hexdigest()
    assert random_keys(["a"], "b").tolist() == [int(digest[:16], 16) >> 1]


def test_an_empty_pool_has_an_empty_shortlist():
    for order in (MARGIN, None):
        found = shortlist(in_duckdb(predictions(0)), NONE, order, limit=3, domain_cap=1)
        assert found.table.num_rows == 0
        assert found.is_exhausted


def test_a_missing_column_says_which():
    with pytest.raises(InputError, match="no column 'margin'"):
        shortlist(in_duckdb(predictions(2).drop_columns("margin")), NONE, MARGIN, limit=1)


def test_a_value_that_is_not_a_number_names_its_page():
    with pytest.raises(InputError, match="page 'p01' is NaN"):
        shortlist(in_duckdb(predictions(2, margin=[0.1, float("nan")])), NONE, MARGIN, limit=2)


def by_hand(table, excluded, limit, cap):
    """The four steps over the whole table in Python."""
    rows = [row for row in table.to_pylist() if row["page_id"] not in excluded]
    rows.sort(key=lambda row: (row["margin"] is None, row["margin"] or 0, row["page_id"]))
    texts, domains, kept = set(), {}, []
    for row in rows:
        if row["text_hash"] in texts:
            continue
        if row["text_hash"] is not None:
            texts.add(row["text_hash"])
        if row["domain"] is not None:
            domains[row["domain"]] = domains.get(row["domain"], 0) + 1
            if domains[row["domain"]] > cap:
                continue
        kept.append(row["page_id"])
    return kept[:limit]


rows_of_a_pool = st.lists(
    st.tuples(
        st.sampled_from([None, 0.0, 0.25, 0.5]), st.sampled_from([None, "x", "y"]), st.sampled_from([None, "s", "t"])
    ),
    max_size=40,
)


@given(rows_of_a_pool, st.integers(1, 6), st.integers(1, 3), st.sets(st.integers(0, 39)))
@settings(max_examples=20, deadline=None)
def test_the_head_of_the_order_yields_what_the_whole_pool_would(rows, limit, cap, excluded_rows):
    margins, domains, texts = zip(*rows, strict=True) if rows else ((), (), ())
    columns = {"margin": pa.array(margins, pa.float32()), "domain": pa.array(domains, pa.string())}
    table = predictions(len(rows), text_hash=pa.array(texts, pa.string()), **columns)
    excluded = [f"p{row:02d}" for row in excluded_rows]
    found = shortlist(in_duckdb(table), page_ids(*excluded), MARGIN, limit=limit, domain_cap=cap)
    assert ids(found) == by_hand(table, excluded, limit, cap)


@pytest.mark.parametrize("order", [MARGIN, None])
@pytest.mark.parametrize(("n_files", "threads"), [(1, 1), (1, 4), (7, 1), (7, 4)])
def test_partitions_and_threads_do_not_matter(tmp_path, order, n_files, threads):
    rng = np.random.default_rng(1)
    n = 5_000
    table = predictions(
        n,
        page_id=[f"p{row:05d}" for row in range(n)],
        margin=rng.integers(0, 50, n) / 64,
        domain=[f"site-{site}" for site in rng.integers(0, 40, n)],
        text_hash=[f"hash-{text}" for text in rng.integers(0, n, n)],
    )
    expected = ids(shortlist(in_duckdb(table), NONE, order, limit=200, domain_cap=8, salt="s"))
    shuffled = table.take(rng.permutation(n))
    for part in range(n_files):
        pq.write_table(shuffled.take(np.arange(part, n, n_files)), tmp_path / f"{part}.parquet", row_group_size=300)
    files = ibis.duckdb.connect(threads=threads).read_parquet(tmp_path / "*.parquet")
    assert ids(shortlist(files, NONE, order, limit=200, domain_cap=8, salt="s")) == expected


@pytest.mark.parametrize("as_engine_table", [False, True])
def test_pages_are_fetched_in_the_order_asked_for(as_engine_table):
    table = predictions(5)
    source = in_duckdb(table) if as_engine_table else table
    assert fetch(source, ["p03", "p00"], ["domain"], "Pages").to_pydict() == {"domain": ["site-3", "site-0"]}


@pytest.mark.parametrize("margins", [[0.1, 0.3, 0.3, 0.9], [0.1, None, 0.3, 0.9]])
def test_what_is_known_of_pages_leaves_out_none_of_them(margins):
    table = predictions(4, margin=margins)
    known = {"margin": table["margin"].take([1, 2])}
    found = fetch(in_duckdb(table), ["p01", "p02"], ["domain"], "Pages", known)
    assert found["domain"].to_pylist() == ["site-1", "site-2"]


def test_a_page_that_cannot_be_fetched_is_named():
    with pytest.raises(InputError, match=r"Pages lack 1 of 2 pages, the first being 'p9'"):
        fetch(predictions(2), ["p00", "p9"], ["domain"], "Pages")


def test_a_page_that_is_there_twice_is_refused():
    with pytest.raises(InputError, match="hold 2 rows for 1 pages"):
        fetch(predictions(2, page_id=["a", "a"]), ["a"], ["domain"], "Pages")


def test_float16_embeddings_come_through_a_parquet_file(tmp_path):
    embedding = pa.array([[np.float16(1.5)], None], type=pa.list_(pa.float16()))
    pq.write_table(pa.table({"page_id": ["a", "b"], "embedding": embedding}), tmp_path / "predictions.parquet")
    stored = ibis.duckdb.connect().read_parquet(tmp_path / "predictions.parquet")
    assert fetch(stored, ["b", "a"], ["embedding"], "Predictions")["embedding"].to_pylist() == [None, [1.5]]
