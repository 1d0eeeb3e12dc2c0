import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from al_platform.dashboard.job_runs import newest_runs
from al_platform.storage.commit_log import to_json
from al_platform.storage.run_record import Heartbeat, RunJournal, record_end, record_start, start_of
from al_platform.storage.store import LocalStore

DAY = timedelta(days=1)


@pytest.fixture
def logs(tmp_path):
    return LocalStore(tmp_path)


def begin(logs, number, **changed):
    run_id = f"2026-11-23T03.00.{number:02d}.000Z-abcdef"
    start = start_of(run_id, "test", ("monthly",), "2026-10").model_copy(update=changed)
    record_start(logs, start)
    return run_id


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_runs_are_told_apart_newest_first(logs):
    done, failed = begin(logs, 1), begin(logs, 2)
    record_end(logs, done, None)
    record_end(logs, failed, "no room")
    begin(logs, 3)
    begin(logs, 4, pid=dead_process())
    found = newest_runs(logs, DAY)
    assert [run.state for run in found] == ["lost", "running", "failed", "done"]
    assert found[2].error == "no room"


def test_a_run_elsewhere_is_lost_once_it_is_silent_for_too_long(logs):
    now = datetime.now(UTC)
    old = (now - 3 * DAY).isoformat()
    silent = begin(logs, 1, host="elsewhere", began_at=old)
    beating = begin(logs, 2, host="elsewhere", began_at=old)
    heartbeat = Heartbeat(run_id=beating, at=(now - DAY / 2).isoformat())
    logs.write(f"runs/{beating}/heartbeat.json", to_json(heartbeat))
    states = {run.run_id: (run.state, run.last_sign) for run in newest_runs(logs, DAY)}
    assert states == {silent: ("lost", old), beating: ("running", heartbeat.at)}


def test_a_run_lasts_from_its_start_to_its_end_and_its_log_is_known(logs):
    run_id = "2026-11-23T03.00.00.000Z-abcdef"
    journal = RunJournal(logs, start_of(run_id, None, ("monthly",), "2026-10"))
    journal.begin()
    journal.end(None)
    run = newest_runs(logs, DAY)[0]
    assert run.seconds == pytest.approx(0, abs=5)
    assert run.has_log
    assert logs.read(run.log_path) is not None


def test_a_damaged_record_costs_one_line_and_a_run_without_a_start_none(logs):
    begin(logs, 1)
    damaged = begin(logs, 2)
    logs.write(f"runs/{damaged}/started.json", b"{")
    logs.write("runs/2026-11-23T04.00.00.000Z-abcdef/run.log", b"")
    assert [run.state for run in newest_runs(logs, DAY)] == ["unreadable", "running"]


def test_only_the_newest_are_read(logs):
    for number in range(5):
        begin(logs, number)
    assert [run.run_id[17:19] for run in newest_runs(logs, DAY, limit=2)] == ["04", "03"]
