"""What a local disk holds after a loss of power: of files and folders only what was synced, each as it was then."""

import os
import stat
from pathlib import Path

import pytest

from al_platform.storage.commit_log import Manifest, Output, StageKey, commit, head
from al_platform.storage.store import LocalStore


class Disk:
    """Remembers files by content and folders by names as they were at their last sync."""

    def __init__(self, root: Path):
        self._root = root.stat().st_ino
        self._files: dict[int, bytes] = {}
        self._folders: dict[int, dict[str, int]] = {self._root: names_in(root)}

    def sync(self, handle: int) -> None:
        found, path = os.fstat(handle), Path(f"/proc/self/fd/{handle}").readlink()
        if stat.S_ISDIR(found.st_mode):
            self._folders[found.st_ino] = names_in(path)
        else:
            self._files[found.st_ino] = path.read_bytes()

    def after_power_loss(self, folder: Path) -> LocalStore:
        """Write what is left into an empty folder, and return it as a store."""
        self._restore(self._root, folder)
        return LocalStore(folder)

    def _restore(self, inode: int, to: Path) -> None:
        if inode in self._folders:
            to.mkdir()
            for name, below in self._folders[inode].items():
                self._restore(below, to / name)
        elif inode in self._files:
            to.write_bytes(self._files[inode])


def names_in(folder: Path) -> dict[str, int]:
    return {entry.name: entry.inode() for entry in os.scandir(folder)}


@pytest.fixture
def disk(tmp_path, monkeypatch):
    if not Path("/proc/self/fd").exists():
        pytest.skip("only Linux tells the path of an open file")
    (tmp_path / "disk").mkdir()
    disk = Disk(tmp_path / "disk")
    monkeypatch.setattr(os, "fsync", disk.sync)
    return disk


@pytest.fixture
def store(disk, tmp_path):
    return LocalStore(tmp_path / "disk" / "new" / "root")


@pytest.fixture
def left(disk, tmp_path):
    return lambda: LocalStore(disk.after_power_loss(tmp_path / "left").local("new/root"))


def test_a_file_that_was_created_outlasts_a_loss_of_power(store, left):
    store.create("topics/log/000001.json", b"entry")
    assert left().read("topics/log/000001.json") == b"entry"


def test_a_file_that_was_written_again_is_the_new_one(store, left):
    store.write("a/b/c", b"old")
    store.write("a/b/c", b"new")
    assert left().read("a/b/c") == b"new"


def test_a_file_that_was_uploaded_outlasts_a_loss_of_power(store, left, tmp_path):
    (tmp_path / "source").write_bytes(b"table")
    store.upload(tmp_path / "source", "a/table.parquet")
    assert left().read("a/table.parquet") == b"table"


def test_a_folder_that_was_removed_stays_away(store, left):
    store.write("attempts/run/page.json", b"private")
    store.remove("attempts/run")
    assert left().list("") == []


def test_a_commit_outlasts_a_loss_of_power_with_all_that_it_points_to(store, left, tmp_path):
    key = StageKey("topics", "2026-10", "scoring")
    (tmp_path / "predictions").write_bytes(b"rows")
    path = f"{key.attempt('run')}/predictions"
    store.upload(tmp_path / "predictions", path)
    manifest = Manifest(
        family=key.family,
        cycle=key.cycle,
        stage=key.stage,
        run_id="run",
        outputs={"predictions": Output(path=path, sha256="0" * 64, size=4)},
        started_at="",
        ended_at="",
    )
    commit(store, manifest, 0)
    survived = left()
    assert head(survived, key) == manifest
    assert survived.read(path) == b"rows"


def test_a_file_system_that_cannot_sync_folders_is_written_to_all_the_same(tmp_path, monkeypatch):
    real = os.fsync

    def only_files(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(22, "Invalid argument")
        real(handle)

    monkeypatch.setattr(os, "fsync", only_files)
    store = LocalStore(tmp_path)
    store.create("a/b", b"there")
    assert store.read("a/b") == b"there"
