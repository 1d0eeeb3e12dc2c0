"""The months of many runs, side by side in processes of one thread each; what was played is not played again."""

import contextlib
import heapq
import io
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from kedro.framework.startup import bootstrap_project

from al_platform.domain.errors import AlPlatformError
from al_platform.domain.replay.plan import RunSpec
from al_platform.domain.replay.points import PlayedRun, Point
from al_platform.progress import progress
from al_platform.replay.month import Replayed, play_month

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class ReplayFailedError(AlPlatformError):
    """Some runs failed; the message names each with its error."""


@dataclass(frozen=True)
class _Step:
    spec: RunSpec
    number: int


def play_all(replay: Replayed, specs: Sequence[RunSpec], workers: int) -> list[PlayedRun]:
    """Play every month of every run and return them, in the order given.

    All runs go month by month together, so that those which share a month's pages read them while they are at hand. A
    run that fails stops alone; the others go on to their end.

    Raises:
        ReplayFailedError: A run failed; called again, the replay goes on with what is missing.
    """
    months = replay.options.cycles + 1
    points: dict[RunSpec, list[Point]] = {spec: [] for spec in specs}
    failed: dict[RunSpec, Exception] = {}
    steps = _steps(replay, specs, workers, failed)
    for (step, point), *_ in progress(steps, total=months * len(specs), what="replaying months"):
        points[step.spec].append(point)
    if failed:
        lines = [f"{spec.name}: {type(error).__name__}: {error}" for spec, error in failed.items()]
        raise ReplayFailedError(
            f"{len(failed)} of {len(specs)} runs failed. The others are kept; call again to go on.\n" + "\n".join(lines)
        )
    return [PlayedRun(spec=spec, points=tuple(played)) for spec, played in points.items()]


def _steps(
    replay: Replayed, specs: Sequence[RunSpec], workers: int, failed: dict[RunSpec, Exception]
) -> Iterator[list[tuple[_Step, Point]]]:
    """Yield each month when it is played, alone in a list; runs that fail are left in ``failed``."""
    due = [(1, place) for place in range(len(specs))]
    running: dict[Future[Point], tuple[int, int]] = {}
    with _executor(workers, replay.project) as executor:
        while due or running:
            while due and len(running) < workers:
                number, place = heapq.heappop(due)
                running[executor.submit(play_month, replay, specs[place], number)] = (number, place)
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                number, place = running.pop(future)
                try:
                    point = future.result()
                # Whatever stops one run must not stop the others; all of it is raised at the end.
                except Exception as error:  # noqa: BLE001
                    failed[specs[place]] = error
                    continue
                if number <= replay.options.cycles:
                    heapq.heappush(due, (number + 1, place))
                yield [(_Step(specs[place], number), point)]


class _Here(Executor):
    """Runs what is submitted at once, in this process, without what it prints."""

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        future: Future[Point] = Future()
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                future.set_result(fn(*args, **kwargs))
        # As executors do: the caller of ``result`` gets it.
        except Exception as error:  # noqa: BLE001
            future.set_exception(error)
        return future


@contextlib.contextmanager
def _executor(workers: int, project: Path) -> Iterator[Executor]:
    if workers == 1:
        yield _Here()
        return
    before = {name: os.environ.get(name) for name in _THREADS}
    # Libraries read these when they are loaded, which in a new process is before anything else.
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(project,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _begin(project: Path) -> None:
    """Send what a worker prints nowhere, as each run's log is in its store, and tell Kedro of the project."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
    bootstrap_project(project)
