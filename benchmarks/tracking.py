"""What tracking costs: the loop without a tracker and with W&B offline; the dashboard; questions to many runs.

    python -m benchmarks.tracking [--quick]     # or QUICK=1

The loop is that of ``make loop``, cut: fewer pages a month, one quarter, three families. It runs in pairs, the order
turned each time, and CPU seconds count, of all processes that it starts, W&B's own among them. Writes
``benchmarks/results/tracking.json``.
"""

import argparse
import ctypes
import json
import os
import resource
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from benchmarks import dashboard, query
from benchmarks.loop import KEDRO, ROOT, copy_project

RESULTS = ROOT / "benchmarks" / "results" / "tracking.json"
PAGES, QUICK_PAGES = 4_000, 500
PAIRS, QUICK_PAIRS = 5, 1
BACKENDS = ("none", "wandb")
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")))
    parser.add_argument("--only", choices=("loop", "looks"), help="Keep the last results of the other part.")
    arguments = parser.parse_args()
    is_quick = arguments.quick
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if arguments.only != "looks":
        found |= overhead(*((QUICK_PAGES, QUICK_PAIRS) if is_quick else (PAGES, PAIRS)))
    if arguments.only != "loop":
        found["dashboard"] = dashboard.measured(dashboard.QUICK_MONTHS if is_quick else dashboard.MONTHS)
        found["query"] = query.measured(query.QUICK_RUNS if is_quick else query.RUNS)
    print(json.dumps(found, indent=2))
    if not is_quick:
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")


def overhead(pages: int, pairs: int) -> dict[str, Any]:
    """Return CPU seconds of the loop by backend and pair, and of handing its runs to W&B's offline files."""
    adopt_orphans()
    seconds: dict[str, list[float]] = {backend: [] for backend in BACKENDS}
    handed: list[float] = []
    for pair in range(pairs):
        for backend in BACKENDS if pair % 2 else reversed(BACKENDS):
            with tempfile.TemporaryDirectory() as name:
                project = cut_loop(Path(name), pages)
                seconds[backend].append(cpu_seconds(LOOP, project, backend))
                if backend == "wandb":
                    handed.append(cpu_seconds([*KEDRO, "al", "sync", "--to", "out", ENV], project, backend))
        print({backend: taken[-1] for backend, taken in seconds.items()}, "handed over", handed[-1], flush=True)
    ratios = [with_it / without for without, with_it in zip(*seconds.values(), strict=True)]
    return {
        "pages_per_month": pages,
        "families": 3,
        "quarters": 1,
        "cpu_s": seconds,
        "ratios": [round(ratio, 4) for ratio in ratios],
        "ratio_of_sums": round(sum(seconds["wandb"]) / sum(seconds["none"]), 4),
        "sync_to_files_cpu_s": handed,
    }


ENV = "--env=synthetic"
LOOP = [*KEDRO, "al", "loop", ENV, "--max-quarters=1"]


def cut_loop(folder: Path, pages: int) -> Path:
    """Return a project whose synthetic web has fewer pages a month."""
    project = copy_project(folder)
    shutil.rmtree(project / "conf" / "local", ignore_errors=True)
    (project / "conf" / "local").mkdir()
    file = project / "conf" / "synthetic" / "globals.yml"
    content = yaml.safe_load(file.read_text())
    content["traffic"]["options"]["pages_per_month"] = pages
    file.write_text(yaml.safe_dump(content))
    return project


def cpu_seconds(command: list[str], project: Path, backend: str) -> float:
    """Return the CPU seconds of a command and of everything that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "AL_TRACKING": backend, "XDG_CACHE_HOME": str(project / "cache")}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    # The cut loop may end with 1, to tell that it has no second champion.
    if done.returncode and "no family has a second-generation champion" not in " ".join(done.stdout.split()):
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    with suppress(ChildProcessError):
        while True:
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2)


def adopt_orphans() -> None:
    """Become the parent of what outlives its own, so that its CPU time is counted; Linux alone knows that."""
    if ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "Processes that outlive their parent cannot be counted on this system.")


if __name__ == "__main__":
    main()
