"""Time and memory of the loop, with the share of Kedro, data and model.

    python benchmarks/loop.py [--quick]     # or QUICK=1

Runs ``kedro`` in child processes on a fresh store, as a user does, and writes ``benchmarks/results/loop.json``.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "loop.json"
KEDRO = [sys.executable, "-m", "kedro"]


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")))
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as folder:
        project = copy_project(Path(folder))
        results = {
            "registry_list": median([measure([*KEDRO, "registry", "list"], project) for _ in range(5)]),
            "monthly": measure([*KEDRO, "run", "--pipelines=monthly"], project),
            "monthly_again": measure([*KEDRO, "run", "--pipelines=monthly"], project),
            "quarterly": measure([*KEDRO, "run", "--pipelines=quarterly"], project),
        }
        results["monthly"]["shares"] = shares(project, "monthly")
        if not quick:
            results["loop"] = measure([*KEDRO, "al", "loop", "--env=synthetic"], project)
        elif RESULTS.exists():
            results["loop"] = json.loads(RESULTS.read_text())["loop"]  # of the last whole run
    for name, figures in results.items():
        print(f"{name:16} {figures['wall_s']:8.1f} s wall {figures['cpu_s']:8.1f} s CPU {figures['peak_mb']:7.0f} MB")
    print("shares of monthly:", results["monthly"]["shares"])
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


def copy_project(folder: Path) -> Path:
    """Return a folder with the project's configuration and an empty store."""
    shutil.copytree(ROOT / "conf", folder / "conf", ignore=shutil.ignore_patterns("archive_*"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "src").mkdir()  # Kedro asks for it; the package itself is the installed one
    return folder


def measure(command: list[str], project: Path) -> dict[str, Any]:
    """Run a command and return its wall and CPU seconds and peak memory in MB."""
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    error = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed:\n{error.decode()}")
    return {
        "wall_s": round(time.monotonic() - started, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss / (1 if sys.platform == "darwin" else 1024)),
    }


def median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the run with the median CPU time; the first also fills the disk cache."""
    return sorted(runs, key=lambda run: run["cpu_s"])[len(runs) // 2]


def shares(project: Path, pipeline: str) -> dict[str, float]:
    """Return the share of wall time in nodes that compute, in datasets, and in the rest (Kedro, imports, hooks)."""
    shutil.rmtree(project / "data", ignore_errors=True)
    command = [sys.executable, str(Path(__file__).with_name("loop_shares.py")), pipeline]
    output = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    return found


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
