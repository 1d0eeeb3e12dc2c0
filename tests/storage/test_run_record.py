"""A run's record tells whether it is at work: by its process where that can be seen, and by its age elsewhere."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from al_platform.domain.errors import StoreError
from al_platform.storage import run_record
from al_platform.storage.run_record import (
    Heartbeat,
    RunJournal,
    is_at_work,
    is_young,
    record_end,
    record_start,
    start_of,
)
from al_platform.storage.store import LocalStore

RUN = "run-1"
DAY = timedelta(days=1)
NO_PATIENCE = timedelta(0)
ON_LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells this of a process")


@pytest.fixture
def logs(tmp_path):
    return LocalStore(tmp_path)


def begin(logs, **known):
    start = start_of(RUN, "test", ("monthly",), "2026-10").model_copy(update=known)
    record_start(logs, start)
    return start


def ago(hours):
    return (datetime.now(UTC) - timedelta(hours=hours)).isoformat()


@pytest.fixture
def gone():
    """The pid of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_living_process_is_at_work_however_old(logs):
    begin(logs, began_at=ago(100))
    assert is_at_work(logs, RUN, NO_PATIENCE)


def test_a_process_of_this_machine_that_was_killed_is_seen_at_once(logs, gone):
    begin(logs, pid=gone)
    assert not is_at_work(logs, RUN, DAY)


@ON_LINUX
def test_a_killed_process_that_its_parent_has_not_asked_for_is_not_at_work(logs):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    process.kill()
    try:
        waited = time.monotonic() + 10
        while run_record._process(process.pid).state != "Z" and time.monotonic() < waited:
            time.sleep(0.01)
        begin(logs, pid=process.pid, process_started=None)
        assert not is_at_work(logs, RUN, DAY)
    finally:
        process.wait()


@ON_LINUX
def test_another_process_with_the_pid_of_a_killed_one_is_not_taken_for_it(logs):
    start = begin(logs)
    begin(logs, process_started=start.process_started - 1)
    assert not is_at_work(logs, RUN, DAY)


@ON_LINUX
def test_where_the_start_of_the_process_was_not_recorded_its_pid_decides(logs):
    begin(logs, process_started=None)
    assert is_at_work(logs, RUN, NO_PATIENCE)


@pytest.mark.parametrize(("hours", "expected"), [(1, True), (30, False)], ids=["young", "old"])
@pytest.mark.parametrize("elsewhere", [{"host": "elsewhere"}, {"boot": "another"}, {"pid_namespace": "pid:[1]"}])
def test_a_run_that_cannot_be_looked_at_is_judged_by_its_age(logs, gone, elsewhere, hours, expected):
    begin(logs, pid=gone, began_at=ago(hours), **elsewhere)
    assert is_at_work(logs, RUN, DAY) is expected


def test_a_living_process_with_the_pid_of_one_in_another_container_says_nothing(logs):
    begin(logs, pid_namespace="pid:[1]", began_at=ago(30))
    assert not is_at_work(logs, RUN, DAY)


def test_an_old_run_elsewhere_that_goes_on_is_at_work(logs):
    begin(logs, host="elsewhere", began_at=ago(30))
    logs.write(f"runs/{RUN}/heartbeat.json", Heartbeat(run_id=RUN, at=ago(1)).model_dump_json().encode())
    assert is_at_work(logs, RUN, DAY)
    assert not is_at_work(logs, RUN, timedelta(minutes=30))


def test_a_clock_that_is_ahead_makes_nothing_be_at_work_for_who_has_no_patience(logs):
    begin(logs, host="elsewhere", began_at=ago(-1))
    assert is_at_work(logs, RUN, DAY)
    assert not is_at_work(logs, RUN, NO_PATIENCE)


def test_a_run_that_ended_is_not_at_work(logs):
    begin(logs)
    record_end(logs, RUN, None)
    assert not is_at_work(logs, RUN, DAY)


def test_where_no_process_can_be_asked_for_none_is_and_age_decides(logs, monkeypatch):
    def ends_it(pid, signal):
        raise AssertionError("os.kill ends a process on Windows")

    monkeypatch.setattr(run_record, "_CAN_PROBE", False)
    monkeypatch.setattr(os, "kill", ends_it)
    begin(logs)
    assert is_at_work(logs, RUN, DAY)
    assert not is_at_work(logs, RUN, NO_PATIENCE)


def test_a_record_of_before_the_namespace_was_recorded_is_still_read(logs):
    begin(logs)
    fields = {"pid_namespace", "process_started"}
    start = start_of(RUN, "test", ("monthly",), "2026-10").model_dump_json(exclude=fields)
    logs.write(f"runs/{RUN}/started.json", start.encode())
    assert is_at_work(logs, RUN, DAY)


@pytest.mark.parametrize(("hours", "expected"), [(1, True), (30, False)], ids=["young", "old"])
def test_without_a_readable_record_the_id_tells_the_age(logs, hours, expected):
    began_at = datetime.now(UTC) - timedelta(hours=hours)
    run_id = f"{began_at:%Y-%m-%dT%H.%M.%S}.123Z-abc123"
    assert is_at_work(logs, run_id, DAY) is expected
    logs.write(f"runs/{run_id}/started.json", b"{")
    assert is_at_work(logs, run_id, DAY) is expected


@pytest.mark.parametrize("run_id", ["run-1", "2026-13-45T99.38.12.982Z-abc123", ""])
def test_an_id_without_a_time_is_not_young(run_id):
    assert not is_young(run_id, DAY)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def journal(logs, clock):
    return RunJournal(logs, start_of(RUN, "test", ("monthly",), "2026-10"), clock)


def test_a_run_beats_at_most_once_a_minute(logs, journal, clock, monkeypatch):
    written = []
    monkeypatch.setattr(LocalStore, "write", lambda self, path, data: written.append((clock.now, path)))
    for clock.now in (0, 30, 61, 90, 122):
        journal.beat()
    assert written == [(61, f"runs/{RUN}/heartbeat.json"), (122, f"runs/{RUN}/heartbeat.json")]


@pytest.mark.parametrize("error", [StoreError("denied"), TimeoutError("no answer")])
def test_a_beat_that_cannot_be_written_does_not_fail_the_run(logs, journal, clock, monkeypatch, error):
    def fail(self, path, data):
        raise error

    monkeypatch.setattr(LocalStore, "write", fail)
    clock.now = 61
    journal.beat()
    assert not logs.exists(f"runs/{RUN}/heartbeat.json")
