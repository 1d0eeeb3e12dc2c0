"""The months of many runs, side by side in processes of one thread each; what was played is not played again."""

import contextlib
import io
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from kedro.framework.startup import bootstrap_project

from al_platform.domain.errors import AlPlatformError
from al_platform.domain.replay.plan import RunSpec
from al_platform.domain.replay.points import PlayedRun, Point
from al_platform.models.kept_counts import kept_counts
from al_platform.progress import progress
from al_platform.replay.month import Replayed, play_month

KEPT_BYTES = 2**29  # of n-gram counts, in each process: some 45,000 pages
_OF_THE_PROCESS = contextlib.ExitStack()
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
    due = [_Step(spec, 1) for spec in specs]
    running: dict[Future[Point], tuple[_Worker, _Step]] = {}
    with _workers_for(workers, replay.project) as idle:
        while due or running:
            while due and idle:
                worker = idle.pop()
                step = _next(due, worker, [other for other, _ in running.values()], replay)
                due.remove(step)
                running[worker.play(replay, step)] = worker, step
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                worker, step = running.pop(future)
                idle.append(worker)
                try:
                    point = future.result()
                except BrokenExecutor:
                    failed[step.spec] = ReplayFailedError("its process was killed, perhaps for want of memory.")
                    worker.begin_anew()
                    continue
                # Whatever stops one run must not stop the others; all of it is raised at the end.
                except Exception as error:  # noqa: BLE001
                    failed[step.spec] = error
                    continue
                if step.number <= replay.options.cycles:
                    due.append(_Step(step.spec, step.number + 1))
                yield [(step, point)]


def _next(due: Sequence[_Step], worker: "_Worker", others: Sequence["_Worker"], replay: Replayed) -> _Step:
    """Return the step that a worker takes: one on the pages it has at hand, else one on pages that no other has.

    Of these the earliest month, so that all runs go on together.
    """
    taken = [other.pages for other in others]

    def order(step: _Step) -> tuple[bool, bool, int]:
        pages = _pages_of(step, replay)
        return pages != worker.pages, pages in taken, step.number

    return min(due, key=order)


def _pages_of(step: _Step, replay: Replayed) -> tuple[str, int]:
    return replay.world.traffic_root(step.spec.seed), step.number


class _Worker:
    """A process that plays one month at a time, and the pages that it read last."""

    def __init__(self, open_executor: Callable[[], Executor]):
        self._open = open_executor
        self.executor = open_executor()
        self.pages: tuple[str, int] | None = None

    def play(self, replay: Replayed, step: _Step) -> "Future[Point]":
        try:
            played = self.executor.submit(play_month, replay, step.spec, step.number)
        except BrokenExecutor:  # killed while it had nothing to do, which costs nothing
            self.begin_anew()
            played = self.executor.submit(play_month, replay, step.spec, step.number)
        self.pages = _pages_of(step, replay)
        return played

    def begin_anew(self) -> None:
        self.executor.shutdown(wait=False)
        self.executor, self.pages = self._open(), None


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
def _workers_for(number: int, project: Path) -> Iterator[list[_Worker]]:
    if number == 1:
        with kept_counts(KEPT_BYTES):
            yield [_Worker(_Here)]
        return
    before = {name: os.environ.get(name) for name in _THREADS}
    # Libraries read these when they are loaded, which in a new process is before anything else.
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    context = multiprocessing.get_context("spawn")
    # One pool a process: a pool of several would choose itself which of them takes a month.
    workers = [
        _Worker(lambda: ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(project,)))
        for _ in range(number)
    ]
    try:
        yield [*workers]
    finally:
        for worker in workers:
            worker.executor.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.executor.shutdown()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _begin(project: Path) -> None:
    """Send what a worker prints nowhere, as each run's log is in its store, and tell Kedro of the project."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
    bootstrap_project(project)
    _OF_THE_PROCESS.enter_context(kept_counts(KEPT_BYTES))
