"""Spark beside DuckDB: the same pages scored, and the same rows of the same month chosen, on both engines."""

import os
import pickle
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers.environments import package

from al_platform.catalog.engines import DuckDBEngine, SparkEngine
from al_platform.catalog.stored_table import StoredTable
from al_platform.domain.cycles import shift_cycle
from al_platform.domain.errors import InputError
from al_platform.domain.selection.choose import choose_batch
from al_platform.domain.selection.eligible import Pool
from al_platform.domain.selection.options import SelectionOptions
from al_platform.domain.selection.query import StoredOrder
from al_platform.domain.selection.shortlist import shortlist
from al_platform.domain.selection.uncertainty import uncertainty_scalars
from al_platform.domain.taxonomy import Taxonomy
from al_platform.pipelines.scoring.score import ByChampion
from al_platform.schemas import IMPORTED_LABELS, PAGES, PREDICTIONS, conform
from temporary_project import CYCLE, Project, make_project

pytestmark = [
    pytest.mark.real,
    # PySpark leaves the sockets through which results come to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed .*socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]

NEXT = shift_cycle(CYCLE, 1)
MASTER = {"spark.master": "local[2]", "spark.sql.shuffle.partitions": "3"}
ORDERS = {"margin": StoredOrder("margin"), "entropy": StoredOrder("entropy", is_descending=True), "random": None}
LABELS = ("a", "b", "c")


@pytest.fixture(scope="module")
def spark():
    """One session for all: the engine finds it."""
    folder = str(package("spark"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")])))
        engine = SparkEngine(MASTER)
        session = engine._session()
        session.sparkContext.setLogLevel("ERROR")
        yield engine
        session.stop()


def month(n, seed=0):
    """N scored pages with ties, nulls, negative zeros, copies, big domains, and ids from many scripts."""
    rng = np.random.default_rng(seed)
    scripts = ["page", "Straße", "страница", "页面", "صفحة", "🦉", "é", "e\u0301", "Z", "a"]
    page_ids = [f"{scripts[row % len(scripts)]}-{row:04d}" for row in range(n)]
    probabilities = np.round(rng.dirichlet(np.full(len(LABELS), 0.4), size=n), 1).astype(np.float32)
    scalars = uncertainty_scalars(probabilities, page_ids, is_multi=False)
    is_known = rng.random(n) > 0.1
    known = {name: pa.array(scalars[name].to_numpy(), mask=~is_known) for name in ("top1", "top2", "margin", "entropy")}
    known["margin"] = pa.array(np.where(rng.random(n) < 0.02, -0.0, scalars["margin"].to_numpy()), mask=~is_known)
    embeddings = rng.normal(size=(n, 8)).astype(np.float16)
    table = pa.table(
        {
            "page_id": page_ids,
            "domain": pa.array([f"seite-{domain}.de" for domain in rng.integers(0, 30, n)], mask=rng.random(n) < 0.1),
            "text_hash": pa.array([f"text-{text}" for text in rng.integers(0, n, n)], mask=rng.random(n) < 0.1),
            "model_digest": ["m1"] * n,
            "probabilities": pa.array(
                [row if ok else None for row, ok in zip(probabilities.tolist(), is_known, strict=True)]
            ),
            "embedding": pa.array(list(embeddings), pa.list_(pa.float16())),
            **known,
        }
    )
    return conform(table, PREDICTIONS, "predictions").select(PREDICTIONS.names)


def pages_of(table):
    n = table.num_rows
    ids = table["page_id"].to_pylist()
    days = pa.array(np.arange(n) % 40, pa.int64())
    fetched = pa.compute.add(pa.scalar(1_790_000_000_000_000), pa.compute.multiply(days, 86_400_000_000))
    columns = {"page_id": ids, "url": ids, "domain": table["domain"], "title": ids, "text": [f"Über {x}" for x in ids]}
    return conform(pa.table({**columns, "fetched_at": fetched.cast(pa.timestamp("us", tz="UTC"))}), PAGES, "pages")


def stored(table, folder, n_files=1, seed=None, row_group_size=1_000):
    """The table in files, its rows shuffled where there is a seed."""
    folder.mkdir(parents=True)
    order = np.arange(table.num_rows) if seed is None else np.random.default_rng(seed).permutation(table.num_rows)
    files = [folder / f"{part}.parquet" for part in range(n_files)]
    for part, file in enumerate(files):
        pq.write_table(table.take(order[part::n_files]), file, row_group_size=row_group_size)
    return files


LAYOUTS = {
    "one file": {},
    "one file, shuffled": {"seed": 1, "row_group_size": 97},
    "seven files, shuffled": {"seed": 2, "n_files": 7, "row_group_size": 50},
}


@pytest.fixture(scope="module")
def layouts(tmp_path_factory):
    """The files of one month in every layout, and its pages."""
    table, folder = month(2_000), tmp_path_factory.mktemp("layouts")
    files = {name: stored(table, folder / str(place), **how) for place, (name, how) in enumerate(LAYOUTS.items())}
    return files, stored(pages_of(table), folder / "pages")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("order", ORDERS)
def test_the_shortlist_is_the_same_on_both_engines(spark, layouts, layout, order):
    files, _ = layouts
    excluded = pa.table({"page_id": [f"页面-{row:04d}" for row in range(3, 1_000, 20)]})
    how = {"order": ORDERS[order], "limit": 150, "domain_cap": 9, "salt": "s"}
    expected = shortlist(DuckDBEngine().read_parquet(files["one file"]), excluded, **how)
    found = shortlist(spark.read_parquet(files[layout]), excluded, **how)
    assert found.table.to_pylist() == expected.table.to_pylist()
    assert found[1:] == expected[1:]
    assert expected.capped
    assert expected.exact_duplicates


small_pools = st.lists(
    st.tuples(
        st.sampled_from([None, 0.0, -0.0, 0.25]), st.sampled_from([None, "x", "ü"]), st.sampled_from([None, "s", "t"])
    ),
    min_size=1,
    max_size=30,
)


@given(small_pools, st.integers(1, 6), st.integers(1, 3), st.permutations(range(3)))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_small_pool_has_the_same_shortlist_on_both(spark, tmp_path, rows, limit, cap, parts):
    margins, domains, texts = zip(*rows, strict=True)
    ids = pa.array([f"é{row}" if row % 2 else f"z{row}" for row in range(len(rows))])
    table = pa.table(
        {
            "page_id": ids,
            "domain": pa.array(domains, pa.string()),
            "text_hash": pa.array(texts, pa.string()),
            "margin": pa.array(margins, pa.float32()),
        }
    )
    files = [tmp_path / f"{part}.parquet" for part in parts]
    for part, file in zip(parts, files, strict=True):
        pq.write_table(table[part::3], file)
    nobody = pa.table({"page_id": pa.array([], pa.string())})
    found = [
        shortlist(engine.read_parquet(files), nobody, ORDERS["margin"], limit=limit, domain_cap=cap)
        for engine in (spark, DuckDBEngine())
    ]
    assert found[0].table.to_pylist() == found[1].table.to_pylist()
    assert found[0][1:] == found[1][1:]


def test_a_value_that_is_no_number_is_refused_on_spark_too(spark, tmp_path):
    table = pa.table(
        {"page_id": ["a"], "domain": ["x"], "text_hash": ["t"], "margin": pa.array([np.nan], pa.float32())}
    )
    nobody = pa.table({"page_id": pa.array([], pa.string())})
    with pytest.raises(InputError, match="page 'a' is NaN"):
        shortlist(spark.read_parquet(stored(table, tmp_path / "nan")), nobody, ORDERS["margin"], limit=1)


@pytest.mark.parametrize("strategy", ["adaptive", "k_center", "rare_class"])
def test_the_batch_is_the_same_on_both_engines(spark, layouts, strategy):
    files, pages = layouts
    options = SelectionOptions(
        budget=60, strategy=strategy, domain_share=0.2, class_floors={"b": 5}, max_age_days=38, overfetch=3
    )
    batches = [chosen(engine, files[layout], pages, options) for engine, layout in engines(spark)]
    assert batches[0].equals(batches[1])
    assert batches[0].num_rows == 60


def engines(spark):
    return (DuckDBEngine(), "one file"), (spark, "seven files, shuffled")


def chosen(engine, files, pages, options):
    pool = Pool(
        predictions=engine.read_parquet(files),
        pages=engine.read_parquet(pages),
        excluded=pa.table({"page_id": [f"🦉-{row:04d}" for row in range(5, 1_000, 30)]}),
        taxonomy=Taxonomy(task="single", labels=LABELS),
        family="topics",
        cycle="2026-10",
    )
    return choose_batch(pool, options).batch


def test_pages_of_stored_files_are_the_same_rows_in_the_same_order_on_both_engines(spark, tmp_path):
    def imported(start):
        ids = [f"{'页面' if row % 2 else 'Straße'}-{row % 40:03d}" for row in range(start, start + 150)]
        texts = [None if row % 7 == 0 else f"Über {row}" for row in range(start, start + 150)]
        values = [["a", "b"][: row % 3] for row in range(150)]
        return pa.table({"page_id": ids, "title": texts, "text": texts, "values": values})

    tables = [imported(0), imported(11).drop_columns(["title"])]
    files = {
        f"topics/imported/{place}.parquet": stored(table, tmp_path / str(place), row_group_size=17)[0]
        for place, table in enumerate(tables)
    }
    asked = pa.array(["页面-001", "Straße-038", "nobody", "页面-001"])
    columns = ["page_id", "title", "text", "values", "domain"]
    found = [
        StoredTable(dict.fromkeys(files, ""), IMPORTED_LABELS, files.__getitem__, engine).read(columns, asked)
        for engine in (spark, DuckDBEngine())
    ]
    expected = pa.concat_tables(tables, promote_options="default").to_pylist()
    assert found[0].equals(found[1])
    assert found[1].select(["page_id", "text", "values"]).to_pylist() == [
        {name: row[name] for name in ("page_id", "text", "values")}
        for row in expected
        if row["page_id"] in asked.to_pylist()
    ]


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A family with a champion, and parts of 70 pages."""
    project = make_project(tmp_path_factory.mktemp("begun") / "project")
    project.only("topics")
    with_engine(project, "duckdb")
    project.run("monthly")
    project.run("quarterly")
    return project


def with_engine(project, name):
    traffic = {"source": "synthetic", "options": {"pages_per_month": 300, "seed_labels": 240}}
    engine = {"name": name, "spark": MASTER}
    project.configure("globals.yml", {"root": "data/test", "traffic": traffic, "engine": engine})
    project.configure("parameters/topics.yml", {"topics": {"scoring": {"part_pages": 70, "batch_pages": 30}}})


def test_a_month_on_spark_ends_as_it_does_on_duckdb(spark, begun, tmp_path):
    states = {}
    for name in ("duckdb", "spark"):
        shutil.copytree(begun.path, tmp_path / name)
        project = Project(tmp_path / name)
        with_engine(project, name)
        project.run("monthly", cycle=NEXT)
        states[name] = project.state()
    assert len(project.head("topics", "scoring", NEXT).outputs) == 1 + 5
    assert states["spark"] == states["duckdb"]


def test_a_model_is_sent_to_workers_as_the_place_of_its_files(begun):
    champion = begun.load("topics.champion", NEXT)
    sent = pickle.dumps(ByChampion(champion))
    assert len(sent) < 1_000
    assert pickle.loads(sent).model.digest == champion.digest  # noqa: S301
