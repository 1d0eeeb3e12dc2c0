"""Replays in real processes: killed and called again, and on S3, they end as undisturbed ones on a local disk."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from al_platform.storage.store import open_store
from temporary_project import make_project

pytestmark = pytest.mark.real

CALL = [sys.executable, "-m", "kedro", "al", "replay", "--env=test", "--family=topics", "--workers=2"]
SIZE = ["--cycles=2", "--seeds=1", "--strategies=margin,random", "--cadence=2", "--measured-pages=200"]
RUNS = ("margin-budget-own-every-2-seed-0", "random-budget-own-every-2-seed-0")
MONTHS = ("2026-01", "2026-02", "2026-03")
CLOCK = {"cpu_s", "wall_s", "stages_cpu_s", "cost"}
PATIENCE_S = 240


def begin(project, log):
    with log.open("ab") as out:
        return subprocess.Popen(
            [*CALL, *SIZE], cwd=project.path, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )


def finish(project, log):
    running = begin(project, log)
    assert running.wait(PATIENCE_S) == 0, log.read_text()[-3_000:]


def points(store):
    """What was measured of every month of every run, without the clock."""
    found = {
        f"{run}/{month}": json.loads(store.read(f"runs/{run}/points/{month}.json")) for run in RUNS for month in MONTHS
    }
    return {place: without_clock(point) for place, point in found.items()}


def without_clock(value):
    if isinstance(value, dict):
        return {name: without_clock(part) for name, part in value.items() if name not in CLOCK}
    return [without_clock(part) for part in value] if isinstance(value, list) else value


def n_played(folder):
    return len(list(folder.glob("runs/*/points/*.json")))


def wait_for(holds, running):
    until = time.monotonic() + PATIENCE_S
    while not holds():
        assert running.poll() is None, "the replay ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.02)


def workers_of(running):
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What an undisturbed replay by two processes measured."""
    folder = tmp_path_factory.mktemp("undisturbed")
    project = make_project(folder / "project")
    finish(project, folder / "log")
    return points(open_store(str(project.path / "data/test/replays/topics")))


def test_a_replay_that_was_killed_twice_ends_as_an_undisturbed_one(tmp_path, undisturbed):
    project, log = make_project(tmp_path / "project"), tmp_path / "log"
    folder = project.path / "data/test/replays/topics"

    one_worker_killed = begin(project, log)
    wait_for(lambda: n_played(folder) >= 1, one_worker_killed)
    os.kill(workers_of(one_worker_killed)[0], signal.SIGKILL)
    assert one_worker_killed.wait(PATIENCE_S) == 1
    told = " ".join(log.read_text().split())
    assert "1 of 2 runs failed" in told
    assert "its process was killed" in told
    before = n_played(folder)
    assert len(MONTHS) <= before < len(MONTHS) * len(RUNS), "the other run goes on to its end"

    all_killed = begin(project, log)
    wait_for(lambda: any(folder.glob("runs/*/logs/runs/*")) and n_played(folder) >= before, all_killed)
    wait_for(lambda: workers_of(all_killed), all_killed)
    time.sleep(3)  # into a month: where exactly must not matter
    os.killpg(all_killed.pid, signal.SIGKILL)
    assert all_killed.wait(PATIENCE_S) == -signal.SIGKILL

    finish(project, log)
    assert points(open_store(str(folder))) == undisturbed


def test_a_replay_on_s3_measures_what_one_on_a_local_disk_does(tmp_path, on_s3, bucket, undisturbed, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    project = make_project(tmp_path / "project")
    traffic = {"source": "synthetic", "options": {"pages_per_month": 300, "seed_labels": 240}}
    project.configure("globals.yml", {"root": f"s3://{bucket}/al", "traffic": traffic})
    finish(project, tmp_path / "log")
    store = open_store(f"s3://{bucket}/al/replays/topics")
    assert points(store) == undisturbed
    assert store.read("replay.html").startswith(b"<!doctype html>")
    assert not (project.path / "data" / "test").exists()
