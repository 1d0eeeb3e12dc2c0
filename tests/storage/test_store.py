import subprocess
from contextlib import contextmanager
from datetime import timedelta

import pytest
from store_contract import AtomicCreateContract, StoreContract

from al_platform.domain.errors import ConfigError, StoreError
from al_platform.storage.store import Cleanable, LocalStore, open_store


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "store")


class TestLocalStore(StoreContract, AtomicCreateContract):
    pass


def test_a_listing_leaves_half_written_files_out(tmp_path):
    store = LocalStore(tmp_path)
    store.write("x/a", b"")
    (tmp_path / "x" / ".c.123.part").write_bytes(b"half")
    assert store.list("x") == ["x/a"]


def test_a_half_written_file_is_a_leftover_that_can_be_removed(tmp_path):
    store = LocalStore(tmp_path)
    store.write("x/a", b"")
    (tmp_path / "x" / ".c.123.part").write_bytes(b"half")
    assert isinstance(store, Cleanable)
    assert [(leftover.path, leftover.size) for leftover in store.leftovers()] == [("x/.c.123.part", 4)]
    store.remove_leftovers(timedelta(0))
    assert list(store.leftovers()) == []
    assert store.list("x") == ["x/a"]


@pytest.mark.parametrize("root", ["dbfs:/mnt/data", "/dbfs/mnt/data", "dbfs:/FileStore", "dbfs://mnt/data"])
def test_dbfs_other_than_a_volume_is_refused_with_the_reason(root):
    with pytest.raises(ConfigError, match=r"retired.*/Volumes/CATALOG/SCHEMA/VOLUME"):
        open_store(root)


@pytest.mark.parametrize("root", ["gs://bucket/prefix", "https://host/path"])
def test_a_root_that_is_not_supported_is_refused_by_name(root):
    with pytest.raises(ConfigError, match=rf"{root}.*not supported"):
        open_store(root)


@contextmanager
def mounted(path, options):
    """A small file system of its own."""
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(path)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"mounting a file system needs rights that this user lacks: {done.stderr.decode().strip()}")
    try:
        if options:
            (path / "before").write_bytes(b"as it was")
            subprocess.run(["mount", "-o", f"remount,{options}", str(path)], check=True)
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


@pytest.mark.parametrize("operation", ["write", "create", "upload"])
def test_a_full_disk_is_named_and_what_was_there_stays(tmp_path, operation):
    source = tmp_path / "source"
    source.write_bytes(b"x" * 200_000)
    with mounted(tmp_path / "disk", options=None) as disk:
        store = LocalStore(disk)
        store.write("a/b", b"before")
        argument = (
            (source, "a/b") if operation == "upload" else ("a/b" if operation == "write" else "a/c", b"x" * 200_000)
        )
        with pytest.raises(StoreError, match=r"No space left.*Make room"):
            getattr(store, operation)(*argument)
        assert store.list("") == ["a/b"]
        assert store.read("a/b") == b"before"
        assert list(store.leftovers()) == []


@pytest.mark.parametrize("operation", ["write", "create"])
def test_a_read_only_disk_is_named(tmp_path, operation):
    with mounted(tmp_path / "disk", options="ro") as disk:
        store = LocalStore(disk)
        with pytest.raises(StoreError, match="read-only"):
            getattr(store, operation)("new", b"1")
        assert store.read("before") == b"as it was"


def test_an_error_that_is_no_state_of_the_store_keeps_its_own_name(tmp_path):
    store = LocalStore(tmp_path)
    store.write("file", b"")
    with pytest.raises(FileExistsError):
        store.write("file/below", b"")
