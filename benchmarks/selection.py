"""Throughput of selection: the best pages by a stored column, uncertainty columns, and a diverse choice.

    python -m benchmarks.selection [--quick] [--full]     # or QUICK=1

Pools are written as Parquet first, in a temporary folder: one million pages, ten million with ``--full``. Every case
runs in a process of its own; figures are wall and CPU seconds of the best of three runs after a first one (so the files
are in the page cache), and the peak memory of the process, libraries included. Writes ``results/selection.json``.
"""

import argparse
import json
import multiprocessing
import os
import platform
import tempfile
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from benchmarks.timing import peak_mb, repeated

from al_platform.domain.selection.label_heads import label_heads
from al_platform.domain.selection.query import Query, StoredOrder
from al_platform.domain.selection.shortlist import fetch, shortlist
from al_platform.domain.selection.strategies import strategy_named
from al_platform.domain.selection.uncertainty import uncertainty_of_columns, uncertainty_scalars
from al_platform.domain.taxonomy import Taxonomy

RESULTS = Path(__file__).parent / "results" / "selection.json"
LABELS, DIMENSIONS = 30, 384
LIMIT, SHORTLIST, CHOICE = 10_000, 5_000, 1_000
KNOWN_SHARE = 0.1
DOMAIN_CAP = 50
BATCH = 500_000
EMBEDDED, PART = 200_000, 50_000
CLOSEST_FIRST = [("margin", "ascending"), ("page_id", "ascending")]
DIVERSE = ("margin", "weighted_kmeans", "badge", "cluster_margin", "k_center", "typiclust", "adaptive")
Case = tuple[str, int, Callable[..., Callable[[], Any]], tuple[Any, ...]]
"""Name, rows, what makes the run, and of what."""
NOBODY = pa.table({"page_id": pa.array([], pa.string())})


def write_pool(path: Path, n: int, *, has_probabilities: bool) -> None:
    """Write ``n`` scored pages: scalars of random probabilities, 1 % exact duplicates, a hundred pages a domain."""
    generator, writer = np.random.default_rng(0), None
    for start in range(0, n, BATCH):
        rows = np.arange(start, min(n, start + BATCH))
        margin = generator.beta(1, 3, len(rows)).astype(np.float32)
        columns = {
            "page_id": pa.array([f"{row:09d}" for row in rows]),
            "domain": pa.array([f"site-{site}.example" for site in generator.integers(0, n // 100, len(rows))]),
            "text_hash": pa.array([f"{text:016x}" for text in np.where(rows % 100 == 0, rows // 500, rows)]),
            "margin": pa.array(margin),
        }
        if has_probabilities:
            columns["probabilities"] = _lists(probabilities_of(len(rows), generator))
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=122_880)
    writer.close()


def read_column(path: Path) -> Callable[[], Any]:
    """Return a run that only reads the column: what nothing can beat."""
    return lambda: pq.read_table(path, columns=["margin"])


def top_k(path: Path) -> Callable[[], Any]:
    """Return a run that asks for the 10,000 closest calls."""
    table = ibis.duckdb.connect().read_parquet(str(path))
    return lambda: (
        table.select("page_id", "margin").order_by([table["margin"], table["page_id"]]).limit(LIMIT).to_pyarrow()
    )


def constrained(path: Path) -> Callable[[], Any]:
    """Return a run of the platform's shortlist: a tenth known, duplicates out, domains capped."""
    table = ibis.duckdb.connect().read_parquet(str(path))
    n = pq.read_metadata(path).num_rows
    known = pa.table({"page_id": [f"{row:09d}" for row in range(0, n, int(1 / KNOWN_SHARE))]})
    return lambda: shortlist(table, known, StoredOrder("margin"), limit=LIMIT, domain_cap=DOMAIN_CAP)


def heads(path: Path) -> Callable[[], Any]:
    """Return a run that finds the closest calls of each of 30 labels in a list column."""
    table = ibis.duckdb.connect().read_parquet(str(path))
    taxonomy = Taxonomy(task="single", labels=tuple(f"label {label}" for label in range(LABELS)))
    columns = ["page_id", "domain", "text_hash", "margin"]
    return lambda: label_heads(table, NOBODY, columns, taxonomy, "closeness", limit=CHOICE)


def scalars(n: int) -> Callable[[], Any]:
    """Return a run that computes the scalar columns of probabilities in memory."""
    probabilities = probabilities_of(n, np.random.default_rng(0))
    page_ids = [f"{row:09d}" for row in range(n)]
    return lambda: uncertainty_scalars(probabilities, page_ids, is_multi=False)


def scalars_of_columns(n: int) -> Callable[[], Any]:
    """Return a run that computes the scalar columns of a column a label in memory."""
    columns = [np.ascontiguousarray(column) for column in probabilities_of(n, np.random.default_rng(0)).T]
    page_ids = range(n)
    return lambda: uncertainty_of_columns(columns, page_ids, is_multi=False)


def write_embedded(folder: Path) -> None:
    """Write pages with an embedding each as scoring does: parts of 50,000, the closest calls of each first."""
    generator = np.random.default_rng(0)
    for start in range(0, EMBEDDED, PART):
        embeddings = generator.standard_normal((PART, DIMENSIONS), dtype=np.float32).astype(np.float16)
        table = pa.table(
            {
                "page_id": [f"{row:09d}" for row in range(start, start + PART)],
                "margin": generator.beta(1, 3, PART).astype(np.float32),
                "embedding": _lists(embeddings),
            }
        )
        path = folder / f"embedded-{start:09d}.parquet"
        pq.write_table(table.sort_by(CLOSEST_FIRST), path, compression="zstd", row_group_size=122_880)


def embeddings_of_shortlist(folder: Path, *, is_bounded: bool) -> Callable[[], Any]:
    """Return a run that reads the embeddings of the closest calls; DuckDB keeps nothing from run to run."""
    files = [str(file) for file in sorted(folder.glob("embedded-*.parquet"))]
    margins = pa.concat_tables(pq.read_table(file, columns=["page_id", "margin"]) for file in files)
    closest = margins.take(pc.select_k_unstable(margins, SHORTLIST, CLOSEST_FIRST))
    known = {"margin": closest["margin"]} if is_bounded else {}

    def run() -> Any:
        table = ibis.duckdb.connect().read_parquet(files)
        return fetch(table, closest["page_id"].to_pylist(), ["embedding"], "Predictions", known)

    return run


def choice(name: str) -> Callable[[], Any]:
    """Return a run in which a strategy chooses 1,000 of a shortlist of 5,000 pages of 300 kinds."""
    generator = np.random.default_rng(0)
    kinds = generator.normal(size=(300, DIMENSIONS))
    embeddings = kinds[generator.integers(0, 300, SHORTLIST)] + generator.normal(size=(SHORTLIST, DIMENSIONS))
    probabilities = probabilities_of(SHORTLIST, generator)
    page_ids = [f"{row:09d}" for row in range(SHORTLIST)]
    pool = uncertainty_scalars(probabilities, page_ids, is_multi=False).append_column("page_id", [page_ids])
    pool = pool.append_column("probabilities", _lists(probabilities))
    pool = pool.append_column("embedding", _lists(embeddings.astype(np.float32))).sort_by("margin")
    query = Query(CHOICE, label_shares=(1 / LABELS,) * LABELS)
    return lambda: strategy_named(name).choose(pool, query)


def in_own_process(function: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:
    """Return what a function returns in a process of its own."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, function, arguments))
    process.start()
    sender.close()
    found: dict[str, float] = receiver.recv()
    process.join()
    return found


def _send(sender: Connection, function: Callable[..., dict[str, float]], arguments: tuple[Any, ...]) -> None:
    sender.send(function(*arguments))


def measure(make: Callable[..., Callable[[], Any]], *arguments: Any) -> dict[str, float]:
    """Return what a run takes after a first one, and the peak memory before and after."""
    run = make(*arguments)
    before_mb, before_bytes = peak_mb(), _bytes_read()
    run()
    read_mb = (_bytes_read() - before_bytes) >> 20
    return {**repeated(run)[0], "peak_mb": peak_mb(), "before_mb": before_mb, "first_run_read_mb": read_mb}


def _bytes_read() -> int:
    (line,) = (line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("rchar"))
    return int(line.split()[1])


def probabilities_of(n: int, generator: np.random.Generator) -> np.ndarray[Any, Any]:
    """Return probabilities of 30 labels, most of them near zero, (n, 30)."""
    raw = generator.random((n, LABELS), dtype=np.float32) ** 8
    return raw / raw.sum(axis=1, keepdims=True)


def _lists(matrix: np.ndarray[Any, Any]) -> pa.Array:
    offsets = pa.array(np.arange(len(matrix) + 1) * matrix.shape[1], pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(matrix.ravel()))


def cases(folder: Path, n: int) -> list[Case]:
    """Return the cases of a pool of ``n`` pages: name, rows, what to run, and with what."""
    path, n_scored = folder / f"{n}.parquet", min(n, 1_000_000)
    write_pool(path, n, has_probabilities=False)
    scored = folder / f"{n_scored}-scored.parquet"
    if not scored.exists():
        write_pool(scored, n_scored, has_probabilities=True)
    return [
        ("read the margin column", n, read_column, (path,)),
        (f"top {LIMIT} by margin", n, top_k, (path,)),
        (f"top {LIMIT}, a tenth known, no duplicates, {DOMAIN_CAP} a domain", n, constrained, (path,)),
        (f"closest calls of {LABELS} labels, list column", n_scored, heads, (scored,)),
        (f"scalars of {LABELS} probabilities", n_scored, scalars, (n_scored,)),
        (f"scalars of {LABELS} columns of probabilities", n_scored, scalars_of_columns, (n_scored,)),
    ]


def embedding_cases(folder: Path) -> list[Case]:
    """Return the cases of reading the embeddings of a shortlist."""
    write_embedded(folder)
    what = f"embeddings of {SHORTLIST}"
    bounded, unbounded = (partial(embeddings_of_shortlist, is_bounded=is_bounded) for is_bounded in (True, False))
    return [
        (what, EMBEDDED, bounded, (folder,)),
        (f"{what}, without looking where they can be", EMBEDDED, unbounded, (folder,)),
    ]


def main() -> None:
    """Measure, print a table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", default=os.environ.get("QUICK") == "1")
    parser.add_argument("--full", action="store_true", help="ten million pages too")
    arguments = parser.parse_args()
    sizes = [100_000] if arguments.quick else [1_000_000, *([10_000_000] if arguments.full else [])]
    measured = []
    with tempfile.TemporaryDirectory() as name:
        todo = [case for n in sizes for case in cases(Path(name), n)]
        todo += embedding_cases(Path(name))
        todo += [(f"{CHOICE} of {SHORTLIST} x {DIMENSIONS}: {each}", SHORTLIST, choice, (each,)) for each in DIVERSE]
        for what, n, make, with_what in todo:
            row = {"case": what, "rows": n, **in_own_process(measure, make, *with_what)}
            measured.append({**row, "rows_per_s": round(n / max(row["wall_s"], 0.001))})
            print(*measured[-1].values(), sep="\t", flush=True)
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "platform": platform.machine()}
    RESULTS.parent.mkdir(exist_ok=True)
    found = {"machine": machine, "quick": arguments.quick, "load": os.getloadavg()[0], "measurements": measured}
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
