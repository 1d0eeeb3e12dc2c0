"""A run's record tells whether it is at work: by its process where that can be seen, and by its age elsewhere."""

import logging
import os
import subprocess
import sys
import threading
import time
import warnings
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


@pytest.fixture
def started(logs):
    """Returns a journal that has begun, with 10 ms between two signs of life."""
    begun = []

    def start(store=logs):
        begun.append(RunJournal(store, start_of(RUN, "test", ("monthly",), "2026-10"), beat_s=0.01))
        begun[-1].begin()
        return begun[-1]

    yield start
    for journal in begun:
        journal.end(None)


def eventually(is_so):
    waited = time.monotonic() + 10
    while not is_so() and time.monotonic() < waited:
        time.sleep(0.005)
    return is_so()


def last_beat(logs):
    path = f"runs/{RUN}/heartbeat.json"
    return Heartbeat.model_validate_json(logs.read(path)).at if logs.exists(path) else ""


def test_a_run_gives_signs_of_life_while_one_node_is_at_work(logs, started):
    started()
    assert eventually(lambda: last_beat(logs))
    first = last_beat(logs)
    assert eventually(lambda: last_beat(logs) > first)


def test_a_run_that_ended_gives_no_sign_of_life_any_more(logs, started):
    journal = started()
    assert eventually(lambda: last_beat(logs))
    journal.end(None)
    last = last_beat(logs)
    time.sleep(0.05)
    assert last_beat(logs) == last
    assert "heartbeat" not in {thread.name for thread in threading.enumerate()}


def test_a_run_that_nobody_ended_falls_silent_with_its_journal(logs):
    journal = RunJournal(logs, start_of(RUN, "test", ("monthly",), "2026-10"), beat_s=0.01)
    journal.begin()
    logging.getLogger().removeHandler(journal._handler)
    del journal
    assert eventually(lambda: "heartbeat" not in {thread.name for thread in threading.enumerate()})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only POSIX forks")
def test_a_forked_child_gives_no_sign_of_life_in_its_parents_name(logs, started):
    started()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on: of a fork beside threads
        child = os.fork()
    if child == 0:
        os._exit(sum(thread.name == "heartbeat" for thread in threading.enumerate()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class Unwritable(LocalStore):
    """A store that takes no sign of life."""

    error: Exception
    asked = 0

    def write(self, path, data):
        if path.endswith("heartbeat.json"):
            self.asked += 1
            raise self.error
        super().write(path, data)


@pytest.mark.parametrize("error", [StoreError("denied"), TimeoutError("no answer")])
def test_a_sign_of_life_that_cannot_be_written_is_tried_again_and_fails_no_run(tmp_path, started, error):
    store = Unwritable(tmp_path)
    store.error = error
    journal = started(store)
    assert eventually(lambda: store.asked > 1)
    journal.end(None)
    assert run_record.is_done(store, RUN)
