"""How long a run takes, what its process takes of memory, and what it chose; imported by peers' environments too."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RUNS, ENOUGH_S, MOST_RUNS, LONG_S = 3, 0.5, 50, 10


def repeated(run: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Return what a run takes, and what the last one returned.

    Args:
        run: Is repeated three times, more often until half a second is measured, and only once where it takes more
            than ten seconds.

    Returns:
        ``wall_s`` of the shortest run, ``cpu_s`` on average (the system counts processor time in steps of milliseconds)
        and the number of ``runs``.
    """
    walls: list[float] = []
    before_s = time.process_time()
    while True:
        start_s = time.perf_counter()
        found = run()
        walls.append(time.perf_counter() - start_s)
        is_enough = len(walls) >= RUNS and sum(walls) >= ENOUGH_S
        if is_enough or walls[0] > LONG_S or len(walls) == MOST_RUNS:
            cpu_s = time.process_time() - before_s
            return {"wall_s": round(min(walls), 4), "cpu_s": round(cpu_s / len(walls), 4), "runs": len(walls)}, found


def peak_mb() -> int:
    """Return the peak of this process alone; getrusage counts what its parent had when it was started."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024


def mean_margin(probabilities: Any) -> float:
    """Return the mean difference of the two largest probabilities, (n, C): equal where the same rows were chosen."""
    second, first = np.partition(probabilities, (-2, -1), axis=1)[:, -2:].T
    return round(float((first - second).mean()), 6)
