import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from al_platform.storage import scratch
from al_platform.storage.scratch import once, scratch_folder, temporary_folder

HOLD = """
import os, signal, sys
from al_platform.storage.scratch import scratch_folder
folder = scratch_folder("copies")
(folder / "page").write_text("a page")
print(folder, flush=True)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(scratch, "_process_folder", once(scratch._process_folder.__wrapped__))
    return tmp_path


def process(how, temporary):
    environment = {**os.environ, "TMPDIR": str(temporary)}
    command = [sys.executable, "-c", HOLD, how]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout.strip()


def test_what_a_process_held_ends_with_it(temporary):
    assert process("ended", temporary)
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next_one(temporary):
    left = process("killed", temporary)
    assert Path(left, "page").exists()
    scratch_folder("copies")
    assert not Path(left).exists()


def test_what_a_living_process_holds_is_left_alone(temporary):
    held = temporary / f"al-platform-{os.getppid()}-abcdefgh"
    held.mkdir()
    with temporary_folder():
        assert held.exists()


def test_threads_that_ask_at_once_get_the_same():
    made = []

    @once
    def folder(name):
        time.sleep(0.02)
        made.append(name)
        return object()

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(folder, ["a"] * 8))
    assert made == ["a"]
    assert len(found) == 1
