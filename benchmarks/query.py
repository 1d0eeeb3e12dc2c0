"""``kedro al query`` over many runs on a local disk: made once, then with nothing new, then with one run more.

    python -m benchmarks.query [--quick]     # or QUICK=1

Runs are committed as the platform does it, each with a line in the audit log; wall seconds. Writes
``benchmarks/results/query.json``.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.loop import KEDRO, copy_project, measure, median

from al_platform.config import FamilyConfigLoader
from al_platform.domain.cycles import shift_cycle
from al_platform.progress import progress
from al_platform.records.query import Wanted, find_runs, query_runs
from al_platform.records.run_index import RunIndex, index_folder
from al_platform.settings import CONFIG_LOADER_ARGS
from al_platform.storage.audit_log import AuditLog, commit_subject
from al_platform.storage.commit_log import Entry, Manifest, Output, StageKey, commit, to_json
from al_platform.stores import Stores

RESULTS = Path(__file__).parent / "results" / "query.json"
RUNS, QUICK_RUNS = 10_000, 500
REPEATS = 5
FAMILIES, CYCLES = 3, 200
PARAMETERS = {"cleaning": {"min_words": 3}, "labels": [f"label {number}" for number in range(30)]}
SQL = "select family, max((figures->>'splits.train')::int) from runs group by family"


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")))
    is_quick = parser.parse_args().quick
    found = measured(QUICK_RUNS if is_quick else RUNS)
    print(json.dumps(found, indent=2))
    if not is_quick:
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")


def measured(n_runs: int) -> dict[str, Any]:
    """Return the wall seconds of the index and of questions to it, and what the command takes as a whole."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project = copy_project(folder)
        loader = FamilyConfigLoader(conf_source=str(project / "conf"), **CONFIG_LOADER_ARGS)
        stores = Stores.of_environment(loader)
        audit = AuditLog(stores.by_class["logs"], "bench")
        for batch in progress(([number] for number in range(n_runs)), total=n_runs, what="committing runs"):
            commit_run(stores, audit, batch[0])
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        index = RunIndex(stores, index_folder())
        found: dict[str, Any] = {
            "runs": n_runs,
            "made_once_s": seconds(index.refresh),
            "nothing_new_s": seconds(index.refresh),
        }
        commit_run(stores, audit, n_runs)
        found["one_run_more_s"] = seconds(index.refresh)
        runs = index.refresh()
        found["newest_50_s"] = seconds(lambda: find_runs(runs, Wanted(last=50)))
        found["sql_s"] = seconds(lambda: query_runs(runs, SQL))
        commands = {"command": ["al", "query"], "start_of_kedro": ["al", "--help"]}
        found |= {
            what: median([measure([*KEDRO, *words], project) for _ in range(5)]) for what, words in commands.items()
        }
    return found


def commit_run(stores: Stores, audit: AuditLog, number: int) -> None:
    """Commit a run of a stage with a small report."""
    store = stores.of_stage("preparation")
    cycle = shift_cycle("2010-01", number // FAMILIES % CYCLES)
    key, run_id = StageKey(f"family{number % FAMILIES}", cycle, "preparation"), f"2026-11-23T06.29-{number:06d}"
    path = f"{key.attempt(run_id)}/preparation_report.json"
    report = to_json({"pages": number, "splits": {"train": number, "golden": 100}})
    store.write(path, report)
    manifest = Manifest(
        family=key.family,
        cycle=cycle,
        stage=key.stage,
        run_id=run_id,
        outputs={"preparation_report": Output(path=path, sha256=sha256(report).hexdigest(), size=len(report))},
        parameters=PARAMETERS,
        started_at="2026-11-23T06:29:00+00:00",
        ended_at="2026-11-23T06:30:00+00:00",
    )

    def announce(key: StageKey, entry: Entry) -> None:
        audit.record("commit", commit_subject("datasets", key, entry))

    commit(store, manifest, number // (FAMILIES * CYCLES), announce)


def seconds(call: Callable[[], object]) -> float:
    """Return what a call takes."""
    began = time.perf_counter()
    call()
    return round(time.perf_counter() - began, 3)


if __name__ == "__main__":
    main()
