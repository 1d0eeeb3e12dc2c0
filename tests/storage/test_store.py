import threading

import pytest

from al_platform.domain.errors import ConfigError
from al_platform.storage.store import LocalStore, open_store


def test_what_is_written_is_read_back(tmp_path):
    store = LocalStore(tmp_path)
    store.write("a/b.json", b"1")
    assert store.read("a/b.json") == b"1"


def test_create_refuses_to_replace(tmp_path):
    store = LocalStore(tmp_path)
    store.create("log/000001.json", b"first")
    with pytest.raises(FileExistsError):
        store.create("log/000001.json", b"second")
    assert store.read("log/000001.json") == b"first"


def test_of_many_creators_of_one_file_exactly_one_wins(tmp_path):
    store = LocalStore(tmp_path)
    won: list[int] = []

    def attempt(writer: int) -> None:
        try:
            store.create("log/000001.json", str(writer).encode())
            won.append(writer)
        except FileExistsError:
            pass

    for _ in range(20):
        won.clear()
        store.remove("log")
        threads = [threading.Thread(target=attempt, args=(writer,)) for writer in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [str(writer).encode() for writer in won] == [store.read("log/000001.json")]


def test_a_listing_is_sorted_and_leaves_half_written_files_out(tmp_path):
    store = LocalStore(tmp_path)
    store.write("x/b", b"")
    store.write("x/a", b"")
    (tmp_path / "x" / ".c.123.part").write_bytes(b"half")
    assert store.list("x") == ["x/a", "x/b"]


def test_listing_and_removing_a_folder_that_does_not_exist_is_fine(tmp_path):
    store = LocalStore(tmp_path)
    store.remove("nothing")
    assert store.list("nothing") == []


@pytest.mark.parametrize("root", ["s3://bucket/prefix", "dbfs:/mnt/data"])
def test_a_root_that_is_not_supported_is_refused_by_name(root):
    with pytest.raises(ConfigError, match="not supported"):
        open_store(root)
