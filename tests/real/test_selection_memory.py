"""Selecting from partitions on S3 takes memory for the shortlist, not for the pool."""

import json
import os
import subprocess
import sys
from pathlib import Path

import ibis
import numpy as np
import pyarrow as pa
import pytest

from al_platform.catalog.engines import DuckDBEngine
from al_platform.catalog.partitions import PartitionedOutput, TableInParts
from al_platform.domain.selection.choose import PAGE_COLUMNS, choose_batch
from al_platform.domain.selection.eligible import Pool
from al_platform.domain.selection.options import SelectionOptions
from al_platform.domain.selection.uncertainty import SCALARS, uncertainty_scalars
from al_platform.domain.taxonomy import Taxonomy
from al_platform.pipelines.scoring.nodes import CLOSEST_FIRST
from al_platform.schemas import PREDICTIONS, conform
from al_platform.storage.commit_log import Manifest, commit
from al_platform.storage.run import Run

pytestmark = pytest.mark.real

PART, FEW, MANY, DIMENSIONS, CYCLE = 25_000, 25_000, 200_000, 384, "2026-10"
TAXONOMY = Taxonomy(task="single", labels=("a", "b", "c"))
MORE_MB = (MANY - FEW) * DIMENSIONS * 4 >> 20  # of embeddings, as float32 in memory


def lists(numbers, length):
    return pa.ListArray.from_arrays(pa.array(range(0, len(numbers) + 1, length), pa.int32()), pa.array(numbers))


def scored(start, stop):
    """Pages with consistent probabilities, and embeddings that cannot be compressed."""
    generator = np.random.default_rng(start)
    names = [f"{row:09d}" for row in range(start, stop)]
    probabilities = generator.dirichlet(np.full(3, 0.4), size=len(names)).astype(np.float32)
    scalars = uncertainty_scalars(probabilities, names, is_multi=False)
    bits = generator.integers(0, 0x3C00, len(names) * DIMENSIONS, dtype=np.uint16)  # of numbers from 0 to 1
    columns = {
        "page_id": names,
        "domain": [f"site-{row // 5}" for row in range(start, stop)],
        "text_hash": names,
        "model_digest": ["m"] * len(names),
        "probabilities": lists(probabilities.ravel(), 3),
        "embedding": lists(bits.view(np.float16), DIMENSIONS),
        **{name: scalars[name] for name in SCALARS},
    }
    return conform(pa.table(columns), PREDICTIONS, "predictions").select(PREDICTIONS.names)


def predictions_of(root, family):
    return PartitionedOutput(root=root, family=family, cycle=CYCLE, stage="scoring", name="predictions")


def commit_pool(root, family, rows):
    dataset = predictions_of(root, family)
    dataset.bind(Run(f"run-{family}", "r1"))
    dataset.save(TableInParts(scored, rows, PART, 5_000, PREDICTIONS, DuckDBEngine(), {}, "scoring", CLOSEST_FIRST))
    outputs = dataset.run.attempt(dataset.key, dataset.store).outputs
    key = {"family": family, "cycle": CYCLE, "stage": "scoring"}
    commit(dataset.store, Manifest(run_id=f"run-{family}", outputs=outputs, **key, started_at="", ended_at=""), 0)


def select(root, family):
    """Choose 200 pages, with the embeddings of the 2,000 closest calls; return how many came and the peak in MB."""
    predictions = predictions_of(root, family).load()
    pages = predictions.select("page_id").mutate(**dict.fromkeys(PAGE_COLUMNS, ibis.literal("words")))
    excluded = pa.table({"page_id": pa.array([], pa.string())})
    pool = Pool(predictions, pages, excluded, TAXONOMY, family, CYCLE)
    batch = choose_batch(pool, SelectionOptions(budget=200, strategy="weighted_kmeans")).batch
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return batch.num_rows, int(line.split()[1]) // 1024


def test_eight_times_the_pages_take_hardly_more_memory(bucket, on_s3):
    root = f"s3://{bucket}/datasets"
    for family, rows in {"few": FEW, "many": MANY}.items():
        commit_pool(root, family, rows)
    # One process for both, the small pool first: what libraries and one part take is in its peak.
    command = [sys.executable, __file__, root]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    (chosen_few, before_mb), (chosen_many, after_mb) = json.loads(done.stdout.splitlines()[-1])
    assert (chosen_few, chosen_many) == (200, 200)
    assert after_mb - before_mb < 0.4 * MORE_MB


if __name__ == "__main__":
    print(json.dumps([select(sys.argv[1], family) for family in ("few", "many")]))
