"""Time and size of ``kedro al dashboard`` on three families and 36 cycles.

    python -m benchmarks.dashboard [--quick]     # or QUICK=1

The store is written by real commits of made-up figures. Writes ``results/dashboard.json``.
"""

import argparse
import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.dashboard_store import write_store
from benchmarks.loop import KEDRO, ROOT, copy_project, measure, median

from al_platform.config import FamilyConfigLoader
from al_platform.domain.cycles import last_complete_month
from al_platform.settings import CONFIG_LOADER_ARGS
from al_platform.stores import Stores

RESULTS = ROOT / "benchmarks" / "results" / "dashboard.json"
MONTHS, QUICK_MONTHS = 36, 6
REPEATS = 5


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")))
    results = measured(QUICK_MONTHS if parser.parse_args().quick else MONTHS)
    print(json.dumps(results, indent=2))
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


def measured(months: int) -> dict[str, Any]:
    """Return the time of the command, the first time and again, and the size of its page."""
    with tempfile.TemporaryDirectory() as name:
        project = copy_project(Path(name))
        loader = FamilyConfigLoader(conf_source=str(project / "conf"), **CONFIG_LOADER_ARGS)
        write_store(loader, last_complete_month(datetime.now(UTC)), months)
        os.environ["XDG_CACHE_HOME"] = str(Path(name) / "cache")
        command = [*KEDRO, "al", "dashboard"]
        first = measure(command, project)
        again = median([measure(command, project) for _ in range(REPEATS)])
        logs = Stores.of_environment(loader).by_class["logs"]
        size = len(logs.read("dashboard/index.html"))
    return {"months": months, "first": first, "again": again, "page_bytes": size}


if __name__ == "__main__":
    main()
