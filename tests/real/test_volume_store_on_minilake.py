"""The store on a volume against a server, and against a workspace where there is one.

What minilake does not show: rights, pages of a listing, the limit of 5 GiB, uploads in parts, a kill in an upload, and
races. It looks whether the file is there before it has read the request, so several of eight creators at once can win.
A workspace alone can show that there is one winner: give a volume to write to as AL_TEST_VOLUME, and the identity as
for every use of Databricks' SDK.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from servers.minilake import MinilakeServer

from al_platform.domain.errors import StoreError
from al_platform.storage.store import Store
from al_platform.storage.volume_store import VolumeStore
from storage.store_contract import WRITERS, AtomicCreateContract, StoreContract, race

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def minilake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinilakeServer]:
    with MinilakeServer(tmp_path_factory.mktemp("minilake")) as server:
        yield server


@pytest.fixture
def volume(minilake: MinilakeServer) -> str:
    return minilake.make_volume("al_dev", "al_platform", f"test_{uuid4().hex[:12]}")


@pytest.fixture
def store(minilake: MinilakeServer, volume: str) -> Store:
    return VolumeStore(f"dbfs:{volume}/production", minilake.client())


class TestOnMinilake(StoreContract):
    pass


class TestOnAWorkspace(StoreContract, AtomicCreateContract):
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        if "AL_TEST_VOLUME" not in os.environ:
            pytest.skip("runs where AL_TEST_VOLUME names a volume of a workspace")
        store = VolumeStore(f"{os.environ['AL_TEST_VOLUME']}/test_{uuid4().hex[:12]}")
        yield store
        store.remove("")


def test_of_eight_creators_at_once_the_file_is_a_winners(store: Store) -> None:
    """minilake can let several win, so that the count is printed only (pytest -rP): the contract asks for one."""
    won = race(store, "log/000001.json")
    print(f"{len(won)} of {WRITERS} creators were told that they had created the file")
    assert store.read("log/000001.json") in won


def test_stores_of_different_volumes_share_nothing(minilake: MinilakeServer, store: Store) -> None:
    other = VolumeStore(minilake.make_volume("al_dev", "al_platform", f"test_{uuid4().hex[:12]}"), minilake.client())
    store.write("a", b"1")
    assert other.list("") == []


def test_a_volume_that_was_never_made_is_an_error(minilake: MinilakeServer) -> None:
    with pytest.raises(StoreError, match="no such volume"):
        VolumeStore("/Volumes/al_dev/al_platform/never_made", minilake.client()).read("a")


def test_the_client_is_made_from_the_environment(
    minilake: MinilakeServer, volume: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("DATABRICKS_HOST", minilake.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", minilake.token)
    store = VolumeStore(volume)
    store.write("a", b"1")
    assert store.read("a") == b"1"
