"""What every store promises. A test class inherits these and provides the fixture ``store``, an empty store."""

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest

from al_platform.storage.store import Store

WRITERS = 8
ODD_NAMES = ["räksmörgås 日本.json", "two words.json", "100% a#b?c&d+e=f;g.json", "don't.json", ".hidden"]


def race(store: Store, path: str) -> list[bytes]:
    """Return the contents of the writers, all creating ``path`` at once, who were told that they had created it."""

    def create(content: bytes) -> bytes | None:
        try:
            store.create(path, content)
        except FileExistsError:
            return None
        return content

    contents = [bytes([ord("a") + writer]) * 10_000 for writer in range(WRITERS)]
    with ThreadPoolExecutor(WRITERS) as writers:
        return [content for content in writers.map(create, contents) if content is not None]


class StoreContract:
    """For every store."""

    def test_what_is_written_is_read_back(self, store: Store) -> None:
        store.write("a/b.json", b"1")
        assert store.read("a/b.json") == b"1"
        assert store.exists("a/b.json")

    def test_write_replaces(self, store: Store) -> None:
        store.write("a/b.json", b"the first, and longer")
        store.write("a/b.json", b"second")
        assert store.read("a/b.json") == b"second"

    def test_an_empty_file_is_a_file(self, store: Store) -> None:
        store.write("a/empty", b"")
        store.create("a/created", b"")
        assert store.read("a/empty") == store.read("a/created") == b""
        assert store.list("a") == ["a/created", "a/empty"]
        assert store.local("a/empty").read_bytes() == b""

    def test_what_was_never_written_is_not_found(self, store: Store) -> None:
        store.write("a/b.json", b"1")
        assert not store.exists("a/c.json")
        with pytest.raises(FileNotFoundError):
            store.read("a/c.json")
        assert not store.local("a/c.json").exists()

    def test_a_folder_is_no_file(self, store: Store) -> None:
        store.write("a/b/c.json", b"1")
        assert not store.exists("a/b")
        assert not store.exists("a")

    def test_a_file_is_no_folder(self, store: Store) -> None:
        store.write("a/b.json", b"1")
        assert store.list("a/b.json") == []

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_any_name_comes_back_as_it_was_given(self, store: Store, tmp_path: Path, name: str) -> None:
        source = tmp_path / "source"
        source.write_bytes(b"uploaded")
        store.write(f"ä b/{name}", b"written")
        store.upload(source, f"ä b/uploaded {name}")
        assert store.list("ä b") == sorted([f"ä b/{name}", f"ä b/uploaded {name}"])
        assert store.read(f"ä b/{name}") == b"written"
        assert store.local(f"ä b/uploaded {name}").read_bytes() == b"uploaded"

    def test_create_refuses_to_replace(self, store: Store) -> None:
        store.create("log/000001.json", b"first")
        with pytest.raises(FileExistsError):
            store.create("log/000001.json", b"second")
        assert store.read("log/000001.json") == b"first"

    def test_create_refuses_to_replace_what_was_written(self, store: Store) -> None:
        store.write("log/000001.json", b"first")
        with pytest.raises(FileExistsError):
            store.create("log/000001.json", b"second")
        assert store.read("log/000001.json") == b"first"

    def test_what_was_removed_can_be_created_again(self, store: Store) -> None:
        store.create("log/000001.json", b"first")
        store.remove("log")
        store.create("log/000001.json", b"second")
        assert store.read("log/000001.json") == b"second"

    def test_a_listing_has_all_files_below_the_folder_sorted_and_nothing_else(self, store: Store) -> None:
        for path in ["x/b", "x/a", "x/deep/er/c", "x/a.d", "xy/a", "y"]:
            store.write(path, b"1")
        assert store.list("x") == ["x/a", "x/a.d", "x/b", "x/deep/er/c"]
        assert store.list("x/deep") == ["x/deep/er/c"]

    def test_a_folder_that_does_not_exist_lists_as_empty(self, store: Store) -> None:
        assert store.list("nothing") == []

    def test_remove_takes_the_folder_and_nothing_beside_it(self, store: Store) -> None:
        for path in ["x/a", "x/deep/er/b", "xy/a", "y/x/a"]:
            store.write(path, b"1")
        store.remove("x")
        assert not store.exists("x/a")
        assert store.list("x") == []
        assert store.list("xy") + store.list("y") == ["xy/a", "y/x/a"]

    def test_removing_a_folder_that_does_not_exist_is_fine(self, store: Store) -> None:
        store.remove("nothing/at/all")

    def test_upload_puts_the_local_file_and_replaces(self, store: Store, tmp_path: Path) -> None:
        source = tmp_path / "pages.parquet"
        for content in [b"first and longer", b"second"]:
            source.write_bytes(content)
            store.upload(source, "a/pages.parquet")
            assert store.read("a/pages.parquet") == content
        assert source.read_bytes() == b"second"

    def test_a_file_of_20_mb_comes_back_whole(self, store: Store, tmp_path: Path) -> None:
        content = Random(0).randbytes(20_000_000)
        source = tmp_path / "weights"
        source.write_bytes(content)
        store.upload(source, "models/weights")
        assert sha256(store.local("models/weights").read_bytes()).digest() == sha256(content).digest()
        assert sha256(store.read("models/weights")).digest() == sha256(content).digest()

    def test_a_local_folder_holds_all_files_below_it(self, store: Store) -> None:
        store.write("model/config.json", b"{}")
        store.write("model/weights/1", b"w")
        folder = store.local("model")
        assert (folder / "config.json").read_bytes() == b"{}"
        assert (folder / "weights" / "1").read_bytes() == b"w"

    def test_a_local_file_is_what_was_written_last(self, store: Store) -> None:
        for content in [b"old", b"new"]:
            store.write("a/b.json", content)
            assert store.local("a/b.json").read_bytes() == content
            assert (store.local("a") / "b.json").read_bytes() == content

    def test_folders_that_threads_ask_for_at_once_are_whole(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = [f"{folder}/{file}" for folder in range(8) for file in "abc"]
        for name in names:
            store.write(name, name.encode())
        make = tempfile.mkdtemp

        def slowly(*arguments: Any, **options: Any) -> str:
            time.sleep(0.02)
            return make(*arguments, **options)

        monkeypatch.setattr(tempfile, "mkdtemp", slowly)
        with ThreadPoolExecutor(8) as pool:
            folders = list(pool.map(lambda folder: store.local(str(folder)), range(8)))
        found = [(folder / file).read_bytes().decode() for folder in folders for file in "abc"]
        assert found == names

    def test_a_local_folder_follows_additions_and_removals(self, store: Store) -> None:
        store.write("a/kept", b"1")
        store.write("a/b/removed", b"1")
        store.local("a")
        store.remove("a/b")
        store.write("a/added", b"1")
        folder = store.local("a")
        assert sorted(found.name for found in folder.rglob("*") if found.is_file()) == ["added", "kept"]


class AtomicCreateContract:
    """For every store whose server decides a race, as a commit log needs it."""

    def test_of_many_creators_of_one_file_exactly_one_wins(self, store: Store) -> None:
        for entry in range(10):
            won = race(store, f"log/{entry:06d}.json")
            assert won == [store.read(f"log/{entry:06d}.json")]
