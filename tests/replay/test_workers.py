"""Which process plays which month."""

from concurrent.futures import BrokenExecutor
from pathlib import Path

from al_platform.domain.replay.plan import plan_runs
from al_platform.pipelines.replay.options import ReplayOptions
from al_platform.replay import workers
from al_platform.replay.month import Replayed
from al_platform.replay.workers import _Here, _next, _Step, _Worker
from al_platform.replay.world import World

SPECS = plan_runs(("margin", "random"), 2, (), (3,))  # seed 0 of both, then seed 1 of both
REPLAY = Replayed(Path(), None, ReplayOptions(family="topics"), World("/r", {"source": "synthetic", "options": {}}))


def worker(spec=None, number=1):
    made = _Worker(_Here)
    made.pages = spec and (f"/r/web-{spec.seed}", number)
    return made


def due(*months):
    return [_Step(spec, number) for spec, number in zip(SPECS, months, strict=True) if number]


def test_a_worker_stays_with_the_pages_it_has_at_hand():
    assert _next(due(2, 2, 1, 1), worker(SPECS[0], 2), [], REPLAY) == _Step(SPECS[0], 2)
    assert _next(due(0, 2, 1, 1), worker(SPECS[0], 2), [], REPLAY) == _Step(SPECS[1], 2)


def test_a_worker_leaves_pages_that_another_has_at_hand_to_it():
    assert _next(due(0, 1, 1, 1), worker(), [worker(SPECS[0])], REPLAY) == _Step(SPECS[2], 1)


def test_the_earliest_month_comes_first():
    assert _next(due(3, 2, 4, 4), worker(), [], REPLAY) == _Step(SPECS[1], 2)


def test_no_worker_waits_while_a_month_is_due():
    assert _next(due(0, 1, 0, 0), worker(), [worker(SPECS[0])], REPLAY) == _Step(SPECS[1], 1)


class Killed(_Here):
    def submit(self, *asked):
        raise BrokenExecutor


def test_a_worker_that_was_killed_while_idle_begins_anew(monkeypatch):
    monkeypatch.setattr(workers, "play_month", lambda replay, spec, number: number)
    executors = iter([Killed(), _Here()])
    killed = _Worker(lambda: next(executors))
    assert killed.play(REPLAY, _Step(SPECS[0], 4)).result() == 4
    assert killed.pages == ("/r/web-0", 4)
