"""Selection beside baal, modAL, small-text and scikit-activeml: the same arrays, the same run.

    python -m benchmarks.peers [--quick]     # or QUICK=1

The peers have an environment of their own (``servers/peers.lock``, installed at the first run). Each case has a process
of its own, at most 12 GiB and ``--limit-s`` CPU seconds. Everybody gets probabilities (N, 30) and embeddings (N, 384)
in memory and returns 1,000 rows; no model is run. The platform's side is what a month uses: scoring's uncertainty
columns, the shortlist by one of them, and the strategy; it is the best of three runs after a first one, the peers have
one run after a small one. Writes ``results/peers.json``.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from benchmarks.selection import measure, probabilities_of
from servers.environments import environment

from al_platform.domain.selection.query import Query
from al_platform.domain.selection.strategies import strategy_named
from al_platform.domain.selection.uncertainty import uncertainty_scalars

RESULTS = Path(__file__).parent / "results" / "peers.json"
CASES = Path(__file__).parent / "peer_cases.py"
LABELS, DIMENSIONS, KINDS, SIZE = 30, 384, 300, 1_000
OVERFETCH = 10  # as selection.overfetch
SIZES = (10_000, 100_000, 1_000_000)
LIMIT_S = 150  # CPU seconds
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
    embeddings = generator.normal(size=(n, DIMENSIONS), scale=1).astype(np.float32)
    embeddings += kinds[generator.integers(0, KINDS, n)]
    np.save(folder / "probabilities.npy", probabilities_of(n, generator))
    np.save(folder / "embeddings.npy", embeddings)


def ours(folder: Path, strategy: str | None) -> Callable[[], Any]:
    """Return a run of the platform's own: margin alone, or a strategy on a margin shortlist."""
    probabilities, embeddings = (np.load(folder / f"{each}.npy") for each in ("probabilities", "embeddings"))
    page_ids = pa.array([f"{row:09d}" for row in range(len(probabilities))])
    best_first = [("margin", "ascending"), ("page_id", "ascending")]

    def closest(size: int) -> tuple[pa.Table, pa.Array]:
        scalars = uncertainty_scalars(probabilities, page_ids, is_multi=False).append_column("page_id", page_ids)
        rows = pc.select_k_unstable(scalars, min(size, len(page_ids)), best_first)
        return scalars.take(rows), rows

    def choose() -> Any:
        shortlist, rows = closest(OVERFETCH * SIZE)
        found = pa.FixedSizeListArray.from_arrays(pa.array(embeddings[rows.to_numpy()].ravel()), DIMENSIONS)
        candidates = shortlist.append_column("embedding", found.cast(pa.list_(pa.float32())))
        return strategy_named(str(strategy)).choose(candidates, Query(SIZE)).rows

    return choose if strategy else lambda: closest(SIZE)


def theirs(python: Path, name: str, folder: Path, limit_s: int) -> dict[str, Any]:
    """Return what a peer's process found, or why it found nothing."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s + 5))

    command = [str(python), str(CASES), name, str(folder), str(SIZE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limited)
    if done.returncode == 0:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        found.pop("rows")
        return found
    if done.returncode < 0:
        return {"failed": f"more than {limit_s} CPU s"}
    reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"ended with {done.returncode}"
    return {"failed": "more than 12 GiB" if "allocate" in reason or "MemoryError" in reason else reason[:200]}


def main() -> None:
    """Measure, print a table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", default=os.environ.get("QUICK") == "1")
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), help="pages")
    parser.add_argument("--limit-s", type=int, default=LIMIT_S, help="CPU seconds that a case may take")
    arguments = parser.parse_args()
    is_quick, limit_s = arguments.quick, arguments.limit_s
    python = environment("peers") / "bin" / "python"
    rows: list[dict[str, Any]] = []

    def note(what: str, n: int, found: dict[str, Any]) -> None:
        rows.append({"case": what, "rows": n, **found, "load": round(os.getloadavg()[0], 1)})
        print(*rows[-1].values(), sep="\t", flush=True)

    failed: set[str] = set()
    for n in arguments.sizes[:1] if is_quick else arguments.sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_arrays(folder, n)
            note("margin", n, measure(ours, folder, None))
            for peer in MARGIN:
                note(peer, n, theirs(python, peer, folder, limit_s))
            note("margin, then weighted k-means", n, measure(ours, folder, "weighted_kmeans"))
            # What failed on a tenth of the rows is not tried again.
            for peer in (peer for peer in DIVERSE if peer not in failed):
                found = theirs(python, peer, folder, limit_s)
                failed |= {peer} if "failed" in found else set()
                note(peer, n, found)
    show = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    versions = subprocess.run([str(python), "-c", show, *PACKAGES], capture_output=True, text=True, check=True)
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "platform": platform.machine()}
    packages = dict(zip(PACKAGES, versions.stdout.split(), strict=True))
    document = {"machine": machine, "packages": packages, "quick": is_quick, "limit_s": limit_s, "measurements": rows}
    RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
