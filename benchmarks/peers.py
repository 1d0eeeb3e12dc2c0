"""Selection beside baal, modAL, small-text and scikit-activeml: the same arrays, the same run.

    python -m benchmarks.peers [--quick]     # or QUICK=1

The peers have an environment of their own (``servers/peers.lock``, installed at the first run). Each case, ours too,
has a process of its own; peers have 10 GiB of address space, ``--limit-s`` CPU seconds and some more wall seconds, and
what exceeds them is a result too. Everybody gets probabilities (N, 30) and embeddings (N, 384) in memory and returns
1,000 rows; no model is run. Both sides are timed by ``timing.repeated`` after a first run (a small one for peers).
Writes ``results/peers.json`` after each case.
"""

import argparse
import json
import os
import platform
import resource
import signal
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from benchmarks.selection import in_own_process, probabilities_of
from benchmarks.timing import mean_margin, peak_mb, repeated
from servers.environments import environment

from al_platform.domain.selection.query import Query
from al_platform.domain.selection.strategies import strategy_named
from al_platform.domain.selection.uncertainty import CHUNK_ROWS, top_two, uncertainty_scalars

RESULTS = Path(__file__).parent / "results" / "peers.json"
ROOT = Path(__file__).parent.parent
LABELS, DIMENSIONS, KINDS, SIZE = 30, 384, 300, 1_000
OVERFETCH = 10  # as selection.overfetch
SIZES = (10_000, 100_000, 1_000_000)
LIMIT_S = 60  # CPU seconds
WALL_FACTOR = 6  # a case that hangs uses no CPU
MARGIN = ("baal: margin", "modAL: margin", "small-text: breaking ties", "scikit-activeml: margin")
DIVERSE = (
    "scikit-activeml: Falcun",
    "scikit-activeml: Clue",
    "scikit-activeml: BADGE",
    "modAL: ranked batch",
    "scikit-activeml: CoreSet",
    "small-text: lightweight coreset",
    "small-text: embedding k-means",
)
PACKAGES = ("baal", "modAL-python", "small-text", "scikit-activeml")


def write_arrays(folder: Path, n: int) -> None:
    """Write what everybody is given: probabilities, and embeddings of pages of 300 kinds."""
    generator = np.random.default_rng(0)
    kinds = generator.normal(size=(KINDS, DIMENSIONS)).astype(np.float32)
    embeddings = generator.standard_normal((n, DIMENSIONS), dtype=np.float32)
    embeddings += kinds[generator.integers(0, KINDS, n)]
    np.save(folder / "probabilities.npy", probabilities_of(n, generator))
    np.save(folder / "embeddings.npy", embeddings)


def margin_alone(probabilities: Any, embeddings: Any) -> Any:
    """Return the rows of the smallest margins, without scoring's other columns and without an order of ties."""
    margins = np.empty(len(probabilities), dtype=np.float32)
    for start in range(0, len(margins), CHUNK_ROWS):
        chunk = np.ascontiguousarray(probabilities[start : start + CHUNK_ROWS].T)
        np.subtract(*top_two(chunk), out=margins[start : start + CHUNK_ROWS])
    closest = np.argpartition(margins, SIZE)[:SIZE]
    return closest[np.argsort(margins[closest], kind="stable")]


def margin_scored(probabilities: Any, embeddings: Any) -> Any:
    """Return the rows of the smallest margins after all that scoring computes, ties by page_id."""
    return _shortlist(probabilities, SIZE)[1].to_numpy()


def margin_kmeans(probabilities: Any, embeddings: Any) -> Any:
    """Return the rows that weighted k-means chooses of ten times as many closest calls."""
    shortlist, rows = _shortlist(probabilities, OVERFETCH * SIZE)
    found = pa.FixedSizeListArray.from_arrays(pa.array(embeddings[rows.to_numpy()].ravel()), DIMENSIONS)
    candidates = shortlist.append_column("embedding", found.cast(pa.list_(pa.float32())))
    return rows.to_numpy()[strategy_named("weighted_kmeans").choose(candidates, Query(SIZE)).rows]


def _shortlist(probabilities: Any, size: int) -> tuple[pa.Table, pa.Array]:
    page_ids = _page_ids(len(probabilities))
    scalars = uncertainty_scalars(probabilities, page_ids, is_multi=False).append_column("page_id", page_ids)
    best_first = [("margin", "ascending"), ("page_id", "ascending")]
    rows = pc.select_k_unstable(scalars, min(size, len(page_ids)), best_first)
    return scalars.take(rows), rows


@cache
def _page_ids(n: int) -> pa.Array:
    return pa.array([f"{row:09d}" for row in range(n)])


def timed(folder: Path, choose: Callable[[Any, Any], Any]) -> dict[str, float]:
    """Return what a choice of the platform's takes, as ``peer_cases.main`` does of a peer's."""
    probabilities, embeddings = (np.load(folder / f"{each}.npy") for each in ("probabilities", "embeddings"))
    choose(probabilities, embeddings)
    times, rows = repeated(lambda: choose(probabilities, embeddings))
    return {**times, "peak_mb": peak_mb(), "mean_margin": mean_margin(probabilities[rows])}


def theirs(python: Path, name: str, folder: Path, limit_s: int) -> dict[str, Any]:
    """Return what a peer's process found, or why it found nothing."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s + 5))

    command = [str(python), "-m", "benchmarks.peer_cases", name, str(folder), str(SIZE)]
    how = {"cwd": ROOT, "timeout": WALL_FACTOR * limit_s, "preexec_fn": limited}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, **how)
    except subprocess.TimeoutExpired:
        return {"failed": f"over {WALL_FACTOR * limit_s} s"}
    if done.returncode == 0:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return {"failed": f"over {limit_s} CPU s"}
    reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"ended with {done.returncode}"
    is_memory = any(word in reason for word in ("allocate", "MemoryError", "bad_alloc"))
    return {"failed": "out of memory (10 GiB)" if is_memory else reason[:200]}


def main() -> None:
    """Measure, print a table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", default=os.environ.get("QUICK") == "1")
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), help="pages")
    parser.add_argument("--limit-s", type=int, default=LIMIT_S, help="CPU seconds that a case may take")
    arguments = parser.parse_args()
    python = environment("peers") / "bin" / "python"
    about = {**_circumstances(python), "quick": arguments.quick, "limit_s": arguments.limit_s}
    rows: list[dict[str, Any]] = []
    failed: set[str] = set()

    def note(what: str, n: int, found: dict[str, Any]) -> None:
        rows.append({"case": what, "rows": n, **found, "load": round(os.getloadavg()[0], 1)})
        print(*rows[-1].values(), sep="\t", flush=True)
        RESULTS.write_text(json.dumps({**about, "measurements": rows}, indent=2) + "\n", encoding="utf-8")

    for n in arguments.sizes[:1] if arguments.quick else arguments.sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_arrays(folder, n)
            for what, choose in OURS.items():
                note(what, n, in_own_process(timed, folder, choose))
            for peer in (*MARGIN, *DIVERSE):
                # What failed on a tenth of the rows is not tried again.
                found = SKIPPED if peer in failed else theirs(python, peer, folder, arguments.limit_s)
                failed |= {peer} if "failed" in found else set()
                note(peer, n, found)


def _circumstances(python: Path) -> dict[str, Any]:
    """Return the machine, and the peers' versions."""
    show = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    versions = subprocess.run([str(python), "-c", show, *PACKAGES], capture_output=True, text=True, check=True)
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "platform": platform.machine()}
    return {"machine": machine, "packages": dict(zip(PACKAGES, versions.stdout.split(), strict=True))}


OURS = {
    "margin": margin_alone,
    "margin with scoring's other columns, ties by id": margin_scored,
    "margin, then weighted k-means": margin_kmeans,
}
SKIPPED = {"failed": "not tried: failed on fewer rows"}

if __name__ == "__main__":
    main()
