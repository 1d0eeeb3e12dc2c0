"""Small pools for the tests of selection."""

import ibis
import numpy as np
import pyarrow as pa

from al_platform.domain.selection.eligible import Pool
from al_platform.domain.selection.options import SelectionOptions
from al_platform.domain.selection.uncertainty import uncertainty_scalars
from al_platform.domain.taxonomy import Taxonomy
from al_platform.schemas import PREDICTIONS, conform


def predictions(n, **columns):
    """N scored pages p00, p01 ... of one domain each, the first with the smallest margin."""
    defaults = {
        "page_id": [f"p{row:02d}" for row in range(n)],
        "domain": [f"site-{row}" for row in range(n)],
        "text_hash": [f"hash-{row}" for row in range(n)],
        "margin": [row / 100 for row in range(n)],
    }
    table = conform(pa.table({**defaults, **columns}), PREDICTIONS, "Predictions")
    # DuckDB takes no float16 from memory; from Parquet it reads it as float.
    index = table.column_names.index("embedding")
    return table.set_column(index, "embedding", table["embedding"].cast(pa.list_(pa.float32())))


def scored(n, seed=0, labels=3):
    """N pages with consistent probabilities, scalars and embeddings, five pages a domain."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(labels, 0.4), size=n).astype(np.float32)
    page_ids = [f"p{row:04d}" for row in range(n)]
    scalars = uncertainty_scalars(probabilities, page_ids, is_multi=False)
    return predictions(
        n,
        page_id=page_ids,
        domain=[f"site-{row // 5}" for row in range(n)],
        probabilities=probabilities.tolist(),
        embedding=rng.normal(size=(n, 4)).astype(np.float32).tolist(),
        model_digest=["m1"] * n,
        **{name: scalars[name] for name in scalars.column_names},
    )


def with_samples(n, is_multi, seed=0):
    """N pages with predictions of three labels and draws from a posterior, five pages a domain."""
    rng = np.random.default_rng(seed)
    table = scored(n, seed)
    probabilities = rng.random((n, 3)) if is_multi else rng.dirichlet(np.full(3, 0.4), size=n)
    scalars = uncertainty_scalars(probabilities, table["page_id"].to_pylist(), is_multi=is_multi)
    columns = {name: scalars[name] for name in scalars.column_names}
    columns["probabilities"] = pa.array(probabilities.tolist(), pa.list_(pa.float32()))
    for name, column in columns.items():
        table = table.set_column(table.column_names.index(name), name, column)
    draws = np.clip(probabilities[:, None] + rng.normal(0, 0.05, size=(n, 4, 3)), 0, 1)
    return table.append_column("samples", pa.array(draws.tolist(), pa.list_(pa.list_(pa.float32()))))


def in_duckdb(table, name="predictions", connection=None, threads=2):
    connection = connection or ibis.duckdb.connect(threads=threads)
    connection.con.register(name, table)
    return connection.table(name)


def page_ids(*names):
    return pa.table({"page_id": pa.array(names, type=pa.string())})


def pages_of(table, texts=None):
    ids = table["page_id"].to_pylist()
    return pa.table(
        {
            "page_id": ids,
            "url": [f"https://example.org/{page_id}" for page_id in ids],
            "domain": table["domain"],
            "title": [f"Title of {page_id}" for page_id in ids],
            "text": texts or [f"Text of {page_id}" for page_id in ids],
            "language": ["en"] * len(ids),
        }
    )


def pool_of(table, excluded=(), texts=None, threads=2, task="single"):
    return Pool(
        predictions=in_duckdb(table, threads=threads),
        pages=pages_of(table, texts),
        excluded=page_ids(*excluded),
        taxonomy=Taxonomy(task=task, labels=("a", "b", "c")),
        family="topics",
        cycle="2026-11",
    )


def only_strategy(budget, **options):
    """Options without random draws, so that every page is a pick."""
    return SelectionOptions(
        **{"budget": budget, "audit_share": 0, "exploration_share": 0, "strategy": "margin", **options}
    )
