"""The store on a volume, with stand-ins for the workspace and for the mount; tests/real has it on a server."""

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, cast

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.clock import Clock
from databricks.sdk.config import Config
from databricks.sdk.errors import Aborted, Unauthenticated
from fake_workspace import VOLUME, FakeWorkspace, read_only
from store_contract import AtomicCreateContract, StoreContract

from al_platform.domain.errors import ConfigError, StoreError
from al_platform.storage.store import Store
from al_platform.storage.volume_store import MAX_FILE_BYTES, VolumeStore, volume_path

ROOT = f"{VOLUME}/production"


@pytest.fixture
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cloud")


@pytest.fixture
def workspace(cloud: Path) -> FakeWorkspace:
    return FakeWorkspace(cloud)


@pytest.fixture
def mount(cloud: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The volume as a cluster sees it: the same files by another name, which changes nothing."""
    mounted = tmp_path_factory.mktemp("machine") / "mount"
    mounted.symlink_to(cloud)
    with read_only(mounted):
        yield mounted


def open_volume(workspace: FakeWorkspace, mount: Path | None = None, root: str = ROOT) -> VolumeStore:
    return VolumeStore(root, cast(WorkspaceClient, workspace), mount or workspace.folder / "not mounted")


class TestAwayFromDatabricks(StoreContract, AtomicCreateContract):
    @pytest.fixture
    def store(self, workspace: FakeWorkspace) -> Store:
        return open_volume(workspace)


class TestOnACluster(StoreContract, AtomicCreateContract):
    @pytest.fixture
    def store(self, workspace: FakeWorkspace, mount: Path) -> Store:
        return open_volume(workspace, mount)


class TestAtTheTopOfAVolume(StoreContract, AtomicCreateContract):
    @pytest.fixture
    def store(self, workspace: FakeWorkspace, mount: Path) -> Store:
        return open_volume(workspace, mount, VOLUME)


def test_the_stand_in_for_a_mount_can_be_read_and_nothing_else(cloud: Path, mount: Path) -> None:
    (cloud / "a").write_bytes(b"1")
    assert (mount / "a").read_bytes() == b"1"
    changes = [
        lambda: (mount / "a").open("ab"),
        lambda: (mount / "a").open("r+b"),
        lambda: (mount / "b").write_bytes(b""),
        lambda: (cloud / "b").hardlink_to(mount / "a"),
        lambda: (mount / "a").rename(cloud / "b"),
        lambda: (mount / "a").unlink(),
        lambda: (mount / "b").mkdir(),
    ]
    for change in changes:
        with pytest.raises(PermissionError):
            change()


def test_what_others_wrote_is_read_through_the_mount(cloud: Path, workspace: FakeWorkspace, mount: Path) -> None:
    open_volume(FakeWorkspace(cloud)).write("a/b/c.parquet", b"1")
    store = open_volume(workspace, mount)
    assert store.local("a/b/c.parquet") == mount / "production" / "a" / "b" / "c.parquet"
    assert store.local("a") == mount / "production" / "a"
    assert workspace.downloads() == 0


def test_logs_are_read_through_the_api_even_on_a_cluster(cloud: Path, workspace: FakeWorkspace, tmp_path: Path) -> None:
    open_volume(FakeWorkspace(cloud)).create("log/000001.json", b"{}")
    store = open_volume(workspace, mount=tmp_path)
    assert store.list("log") == ["log/000001.json"]
    assert store.exists("log/000001.json")
    assert store.read("log/000001.json") == b"{}"


def test_a_mount_that_lags_behind_is_passed_over(cloud: Path, workspace: FakeWorkspace, tmp_path: Path) -> None:
    other = open_volume(FakeWorkspace(cloud))
    other.write("a/b", b"whole")
    other.write("a/c", b"also")
    (tmp_path / "production" / "a").mkdir(parents=True)
    (tmp_path / "production" / "a" / "b").write_bytes(b"who")
    store = open_volume(workspace, mount=tmp_path)
    assert store.local("a/b").read_bytes() == b"whole"
    (tmp_path / "production" / "a" / "b").write_bytes(b"whole")
    assert (store.local("a") / "c").read_bytes() == b"also"


def test_what_this_process_replaced_is_not_read_from_a_mount_that_lags(
    workspace: FakeWorkspace, tmp_path: Path
) -> None:
    (tmp_path / "production").mkdir()
    (tmp_path / "production" / "a").write_bytes(b"old")
    open_volume(workspace).write("a", b"new")
    assert open_volume(workspace, mount=tmp_path).local("a").read_bytes() == b"new"


def test_a_file_is_downloaded_once_for_all_stores_until_it_changes(cloud: Path, workspace: FakeWorkspace) -> None:
    other = open_volume(FakeWorkspace(cloud))
    other.write("a/b", b"1")
    store = open_volume(workspace)
    assert store.local("a/b") == open_volume(workspace, root=f"{ROOT}/a").local("b") == store.local("a") / "b"
    assert workspace.downloads() == 1
    other.write("a/b", b"longer")
    assert store.local("a/b").read_bytes() == b"longer"
    assert workspace.downloads() == 2


def test_a_copy_of_what_others_removed_is_gone(cloud: Path, workspace: FakeWorkspace) -> None:
    other, store = open_volume(FakeWorkspace(cloud)), open_volume(workspace)
    other.write("a/b", b"1")
    store.local("a/b")
    other.remove("a")
    assert not store.local("a/b").exists()


def test_a_download_that_breaks_off_is_an_error_and_leaves_no_copy(workspace: FakeWorkspace) -> None:
    store = open_volume(workspace)
    store.write("a", b"1234")
    workspace.cut = 1
    with pytest.raises(StoreError, match="3 of 4 bytes"):
        store.read("a")
    with pytest.raises(StoreError, match="3 of 4 bytes"):
        store.local("a")
    workspace.cut = 0
    assert store.local("a").read_bytes() == b"1234"


def test_remove_leaves_no_empty_folders(cloud: Path, workspace: FakeWorkspace) -> None:
    store = open_volume(workspace)
    store.write("a/b/c/d", b"1")
    store.remove("a")
    assert [found.name for found in cloud.rglob("*")] == ["production"]


def test_remove_at_the_top_empties_the_volume_and_keeps_it(cloud: Path, workspace: FakeWorkspace) -> None:
    store = open_volume(workspace, root=VOLUME)
    store.write("a/b", b"1")
    store.remove("")
    assert list(cloud.iterdir()) == []
    assert store.list("") == []
    assert f"DELETE directories{VOLUME}" not in workspace.requests


def test_of_a_create_whose_reply_is_lost_the_entry_can_be_read_back() -> None:
    with _server_that_loses_the_first_reply() as url:
        client = WorkspaceClient(config=Config(host=url, token="any", auth_type="pat", clock=_NoWaiting()))
        store = VolumeStore(ROOT, client)
        with pytest.raises(FileExistsError):
            store.create("log/000001.json", b"ours")
        assert store.read("log/000001.json") == b"ours"


@pytest.mark.parametrize("right", ["READ VOLUME", "USE SCHEMA on main.al", "USE CATALOG on main"])
def test_reading_without_the_right_says_which_is_missing(workspace: FakeWorkspace, right: str) -> None:
    workspace.denied = {"GET", "HEAD"}
    store = open_volume(workspace)
    for ask in [store.read, store.exists, store.list, store.local]:
        with pytest.raises(StoreError, match=right) as raised:
            ask("a/b")
        assert f"{ROOT}/a/b" in str(raised.value)


def test_writing_without_the_right_says_which_is_missing(workspace: FakeWorkspace, tmp_path: Path) -> None:
    store = open_volume(workspace)
    store.write("a/b", b"1")
    workspace.denied = {"PUT", "DELETE"}
    (tmp_path / "source").touch()
    asks = [
        lambda: store.write("a/b", b""),
        lambda: store.create("a/b", b""),
        lambda: store.upload(tmp_path / "source", "a/b"),
        lambda: store.remove("a"),
    ]
    for ask in asks:
        with pytest.raises(StoreError, match=r"WRITE VOLUME on main\.al\.data") as raised:
            ask()
        assert f"{ROOT}/a/b" in str(raised.value)


def test_a_volume_that_does_not_exist_is_an_error_and_not_empty(workspace: FakeWorkspace) -> None:
    store = open_volume(workspace, root="/Volumes/main/al/dtaa")
    asks = [store.read, store.exists, store.list, store.local, store.remove, lambda path: store.write(path, b"")]
    for ask in asks:
        with pytest.raises(StoreError, match=r"no such volume.*main\.al\.dtaa"):
            ask("a/b")


def test_an_empty_volume_is_empty_and_no_error(workspace: FakeWorkspace) -> None:
    store = open_volume(workspace, root=VOLUME)
    assert store.list("") == []
    assert not store.exists("a")


def test_the_catalog_is_asked_once_whether_there_is_the_volume(workspace: FakeWorkspace) -> None:
    store = open_volume(workspace)
    assert [store.exists(path) for path in "abc"] == [False] * 3
    assert workspace.requests.count("GET volumes/main.al.data") == 1


def test_a_file_too_large_for_one_request_is_refused_before_it_is_sent(
    workspace: FakeWorkspace, tmp_path: Path
) -> None:
    source = tmp_path / "weights"
    with source.open("wb") as handle:
        handle.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(StoreError, match=r"5\.0 GiB to .*/models/weights.*Split it"):
        open_volume(workspace).upload(source, "models/weights")
    assert workspace.requests == []


@pytest.mark.parametrize("failure", [Aborted("Try again."), Unauthenticated("Bad token."), TimeoutError("After 300 s")])
def test_a_create_that_failed_otherwise_is_not_taken_for_a_lost_race(
    workspace: FakeWorkspace, failure: Exception
) -> None:
    workspace.failure = failure
    with pytest.raises(StoreError, match=f"{ROOT}/log/000001.json"):
        open_volume(workspace).create("log/000001.json", b"")


@pytest.mark.parametrize(
    ("root", "path"),
    [
        ("/Volumes/c/s/v", "/Volumes/c/s/v"),
        ("/Volumes/c/s/v/", "/Volumes/c/s/v"),
        ("dbfs:/Volumes/c/s/v/a/b", "/Volumes/c/s/v/a/b"),
        ("dbfs:///Volumes/c/s/v", "/Volumes/c/s/v"),
    ],
)
def test_a_root_is_normalised(root: str, path: str) -> None:
    assert volume_path(root) == path
    assert VolumeStore(root).root == path


@pytest.mark.parametrize(
    ("root", "problem"),
    [
        ("/Volumes", "lacks catalog, schema, volume"),
        ("/Volumes/x", "lacks schema, volume"),
        ("/Volumes/c/s/", "lacks volume"),
        ("/Volumes//s/v", "lacks catalog"),
        ("dbfs:/Volumes/c/s", "lacks volume"),
        ("/Volumes/c/s/v/../w", "no path of a volume"),
        ("/Volumes/c/s/v//a", "no path of a volume"),
        ("dbfs:/mnt/data/x/y", "no path of a volume"),
        ("Volumes/c/s/v/a", "no path of a volume"),
    ],
)
def test_a_root_that_is_no_volume_is_refused_by_name(root: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as raised:
        VolumeStore(root)
    assert repr(root) in str(raised.value)


def test_without_a_workspace_configured_the_error_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("DATABRICKS_AUTH_TYPE", "pat")
    monkeypatch.delenv("DATABRICKS_HOST", raising=False)
    with pytest.raises(ConfigError, match="workspace and an identity"):
        VolumeStore(ROOT).read("a")


def test_without_the_sdk_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "databricks.sdk", None)
    monkeypatch.setenv("DATABRICKS_CONFIG_PROFILE", "of this test only")
    with pytest.raises(ConfigError, match=r"pip install 'al-platform\[databricks\]'"):
        VolumeStore(ROOT).read("a")


def test_the_sdk_is_imported_when_a_volume_is_used_and_not_before() -> None:
    code = f"""
import sys
from al_platform.storage.volume_store import VolumeStore
VolumeStore({ROOT!r})
assert not [name for name in sys.modules if name.split(".")[0] in ("databricks", "requests")]
"""
    subprocess.run([sys.executable, "-c", code], check=True)


class _NoWaiting(Clock):
    def time(self) -> float:
        return 0

    def sleep(self, seconds: float) -> None:
        pass


class _LosesTheFirstReply(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: ClassVar[dict[str, bytes]]

    def do_PUT(self) -> None:
        path = self.path.partition("?")[0]
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "/fs/directories/" in path:
            self._reply(204)
        elif path in self.files:
            self._reply(409, b'{"error_code": "ALREADY_EXISTS", "message": "The file already exists."}')
        else:
            self.files[path] = content
            self.close_connection = True

    def do_GET(self) -> None:
        content = self.files.get(self.path)
        self._reply(404 if content is None else 200, content or b"{}")

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _reply(self, status: int, content: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def _server_that_loses_the_first_reply() -> Iterator[str]:
    handler = type("Handler", (_LosesTheFirstReply,), {"files": {}})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
