"""What a month reads and takes when ten times the labels are there already.

    python benchmarks/growth.py [--quick] [--before REVISION]     # or QUICK=1

Half of the labels were imported, half are three annotators' answers to the first month's batch. Then follow months with
a batch of the usual size. *Pull* is the annotation platform reading its own files, *comparing texts* the search for
near-duplicates; seconds are of CPU. With ``--before`` the same is measured with the code of another revision. Writes
``benchmarks/results/growth.json``; needs Linux, which tells how many bytes a process has read.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from al_platform.annotation import AnnotationOptions, PlatformConnection
from al_platform.catalog.labels import labels_folder
from al_platform.catalog.traffic import add_table, truth_of
from al_platform.domain.taxonomy import Taxonomy
from al_platform.schemas import BATCH, conform
from al_platform.sources.synthetic import SyntheticSource
from al_platform.storage.store import LocalStore

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "growth.json"
FAMILY = "topics"
ENVIRONMENT = "bench"
CYCLES = ("2026-01", "2026-02", "2026-03")
FOLLOWING_BATCH = 500
SIZES, QUICK_SIZES = (5_000, 50_000), (500, 5_000)
TRAFFIC = {"source": "synthetic", "options": {}}


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")))
    parser.add_argument("--before", metavar="REVISION", help="also measure the code of this revision")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for labels in QUICK_SIZES if options.quick else SIZES:
        with tempfile.TemporaryDirectory() as folder:
            store = Path(folder) / "data"
            make_store(store, labels)
            results[str(labels)] = {"after": months(ROOT, store, Path(folder) / "after")}
            if options.before:
                code = checkout(options.before, Path(folder) / "code")
                results[str(labels)]["before"] = months(code, store, Path(folder) / "before")
    for row in rows(results):
        print(row)
    if not options.quick:
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")


def make_store(root: Path, labels: int) -> None:
    """Make a store with imported labels, and in each month a batch that was sent and answered."""
    store, traffic = LocalStore(root / "labels"), LocalStore(root / "traffic")
    sizes = dict.fromkeys(CYCLES, FOLLOWING_BATCH) | {CYCLES[0]: labels // 2}
    imported = SyntheticSource(seed=0, seed_labels=labels - labels // 2).seed_labels(FAMILY)
    add_table(store, labels_folder(FAMILY), imported)
    for cycle, size in sizes.items():
        pages = SyntheticSource(seed=0, pages_per_month=size).pages(cycle)
        add_table(traffic, f"{cycle}/pages", pages)
        send(store, traffic, cycle, pages)


def send(store: LocalStore, traffic: LocalStore, cycle: str, pages: pa.Table) -> None:
    """Seal a batch of all pages of a month, and have simulated annotators answer it."""
    shown = pages.select(["page_id", "url", "domain", "title", "text", "language"])
    columns = {"batch_id": f"{FAMILY}-{cycle}", "reason": "strategy"}
    for name, value in columns.items():
        shown = shown.append_column(name, pa.array([value] * shown.num_rows))
    batch = conform(shown.append_column("rank", pa.array(range(shown.num_rows))), BATCH, "batch").select(BATCH.names)
    path = Path(store.root) / f"{FAMILY}/{cycle}/selection/sealed/batch.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(batch, path, compression="zstd")
    truth = PlatformConnection(
        store=store,
        prefix=f"{FAMILY}/platform",
        family=FAMILY,
        truth=lambda column, page_ids: truth_of(traffic, cycle, TRAFFIC, column, page_ids),
    )
    truth.open(taxonomy(), AnnotationOptions(backend="simulated")).submit(batch)


def taxonomy() -> Taxonomy:
    """Return the family's labels."""
    parameters = yaml.safe_load((ROOT / f"conf/base/parameters/{FAMILY}.yml").read_text())
    return Taxonomy.model_validate(parameters[FAMILY]["taxonomy"])


def checkout(revision: str, folder: Path) -> Path:
    """Return a folder with the files of a revision."""
    if not folder.exists():
        folder.mkdir()
        archive = subprocess.run(
            ["git", "archive", revision, "src", "conf", "pyproject.toml"], cwd=ROOT, check=True, capture_output=True
        )
        subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def months(code: Path, store: Path, project: Path) -> list[dict[str, Any]]:
    """Return what ingest and preparation of each month take, in a project of its own on a copy of the store."""
    shutil.copytree(code / "conf", project / "conf", ignore=shutil.ignore_patterns("local"))
    (project / "conf" / "local").mkdir()
    shutil.copy(code / "pyproject.toml", project)
    (project / "src").mkdir()  # Kedro asks for it
    (project / "conf" / ENVIRONMENT).mkdir()
    for name, content in (("families", {"families": [FAMILY]}), ("globals", {"traffic": TRAFFIC})):
        (project / "conf" / ENVIRONMENT / f"{name}.yml").write_text(yaml.safe_dump(content))
    shutil.copytree(store, project / "data")
    return [measure(code, project, cycle) for cycle in CYCLES]


def measure(code: Path, project: Path, cycle: str) -> dict[str, Any]:
    """Return seconds and megabytes by stage."""
    command = [sys.executable, str(Path(__file__).with_name("growth_stages.py")), ENVIRONMENT, cycle]
    environment = {**os.environ, "PYTHONPATH": str(code / "src"), "DO_NOT_TRACK": "1"}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def rows(results: dict[str, Any]) -> list[str]:
    """Return the results as a table in Markdown."""
    heads = ["labels", "code", "month", "pull s", "MB", "ingest s", "MB", "preparation s", "MB", "comparing texts s"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for labels, codes in results.items():
        for code, found in sorted(codes.items(), reverse=True):
            for month, stages in enumerate(found, start=1):
                parts = (stages[name] for name in ("platform", "annotation_ingest", "preparation"))
                figures = [part[name] for part in parts for name in ("s", "read_mb")]
                cells = [labels, code, month, *figures, stages["preparation"]["comparing_s"]]
                lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


if __name__ == "__main__":
    main()
