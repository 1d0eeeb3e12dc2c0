"""The store: a month on an S3 server beside a local disk, what a commit costs, and races for one log entry.

    python -m benchmarks.storage [--quick]     # or QUICK=1

The server is SeaweedFS on this machine, so that both cores are shared with it. Writes ``results/storage.json``.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.loop import KEDRO, ROOT, copy_project, measure
from servers.s3 import S3Server

from al_platform.domain.errors import CommitConflictError
from al_platform.storage.commit_log import Manifest, Output, StageKey, commit, head
from al_platform.storage.store import open_store

RESULTS = ROOT / "benchmarks" / "results" / "storage.json"
KEY = StageKey("topics", "2026-10", "training")
WRITERS = 6
JOBS = ("monthly", "quarterly")


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")))
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as name, s3_server(Path(name) / "s3") as bucket:
        folder = Path(name)
        results: dict[str, Any] = {"runs": runs(folder, bucket, repeats=1 if quick else 3)}
        results["commit_s"] = commit_times(folder)
        results["races"] = {
            "local": races(str(folder / "races"), 50 if quick else 1_000),
            "s3": races(f"s3://{bucket}/races", 10 if quick else 100),
        }
    for job in JOBS:
        local, s3 = (results["runs"][where][job]["wall_s"] for where in ("local", "s3"))
        print(f"{job:10} local {local:6.1f} s, S3 {s3:6.1f} s: {s3 / local:.2f} times")
    print("commit of a stage, local disk:", results["commit_s"])
    print("races:", results["races"])
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


@contextmanager
def s3_server(data: Path) -> Iterator[str]:
    """Start a server, let this process and its children find it, and yield the name of a bucket."""
    with S3Server(data) as server:
        server.client().create_bucket(Bucket="bench")
        access, secret = server.credentials()
        keys = {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": "us-east-1"}
        os.environ.update({**keys, "AWS_ENDPOINT_URL": server.endpoint})
        yield "bench"


def runs(folder: Path, bucket: str, repeats: int) -> dict[str, Any]:
    """Time the embedded default on both stores in turns, each time on an empty one; the fastest of each counts."""
    times: dict[str, dict[str, list[dict[str, Any]]]] = {where: {job: [] for job in JOBS} for where in ("local", "s3")}
    for repeat in range(repeats):
        os.environ["AL_S3_ROOT"] = f"s3://{bucket}/run-{repeat}"
        for where, env in (("local", []), ("s3", ["--env", "s3"])):
            path = folder / f"{where}-{repeat}"
            path.mkdir()
            project = copy_project(path)
            for job in JOBS:
                times[where][job].append(measure([*KEDRO, "run", f"--pipelines={job}", *env], project))
    return {
        where: {job: min(found, key=lambda run: run["wall_s"]) for job, found in jobs.items()}
        for where, jobs in times.items()
    }


_COMMITS = """
import json, sys, time
from pathlib import Path
from al_platform.storage.run import Run
real, times = Run.commit, []
def timed(self, *arguments):
    started = time.perf_counter()
    try:
        return real(self, *arguments)
    finally:
        times.append(time.perf_counter() - started)
Run.commit = timed
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from al_platform.runner import FamilyRunner
bootstrap_project(Path.cwd())
with KedroSession.create(Path.cwd()) as session:
    session.run(pipeline_names=["monthly"], runner=FamilyRunner())
print(json.dumps(times))
"""


def commit_times(folder: Path) -> dict[str, float]:
    """Return the median and the longest time of a stage's commit with its line in the audit log, in seconds."""
    path = folder / "commits"
    path.mkdir()
    project = copy_project(path)
    ended = subprocess.run([sys.executable, "-c", _COMMITS], cwd=project, check=True, capture_output=True, text=True)
    times = json.loads(ended.stdout.splitlines()[-1])
    return {"median": round(statistics.median(times), 4), "longest": round(max(times), 4), "n": len(times)}


def races(root: str, rounds: int) -> dict[str, Any]:
    """Let processes race for each entry of one log; return in how many rounds how many were told that they won."""
    barrier = multiprocessing.get_context("spawn").Barrier(WRITERS)
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    writers = [context.Process(target=_race, args=(root, rounds, writer, barrier, queue)) for writer in range(WRITERS)]
    started = time.monotonic()
    for writer in writers:
        writer.start()
    won = [entry for _ in writers for entry in queue.get()]
    for writer in writers:
        writer.join()
    winners = Counter(Counter(won)[number] for number in range(1, rounds + 1))
    newest = head(open_store(root), KEY)
    return {
        "rounds": rounds,
        "rounds_with_one_winner": winners[1],
        "winners_per_round": dict(winners),
        "wall_s": round(time.monotonic() - started, 1),
        "head_is_whole": newest is not None,
    }


def _race(root: str, rounds: int, writer: int, barrier: Any, queue: Any) -> None:
    store, won = open_store(root), []
    for base in range(rounds):
        name = f"{base}-{writer}"
        outputs = {"challenger": Output(path=f"{KEY.attempt(name)}/challenger.json", sha256=name, size=1)}
        manifest = Manifest(
            family=KEY.family,
            cycle=KEY.cycle,
            stage=KEY.stage,
            run_id=name,
            outputs=outputs,
            started_at="",
            ended_at="",
        )
        barrier.wait()
        try:
            entry = commit(store, manifest, base)
        except CommitConflictError:
            continue
        finally:
            barrier.wait()
        if entry:
            won.append(entry.number)
    queue.put(won)


if __name__ == "__main__":
    main()
