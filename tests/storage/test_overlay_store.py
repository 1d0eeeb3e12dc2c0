import pytest

from al_platform.storage.overlay_store import OverlayStore
from al_platform.storage.store import LocalStore, open_store


@pytest.fixture
def base(tmp_path):
    store = LocalStore(tmp_path / "base")
    store.write("log/000001.json", b"production")
    store.write("log/000002.json", b"production")
    return store


@pytest.fixture
def overlay(base, tmp_path):
    return OverlayStore(base, LocalStore(tmp_path / "own"))


def test_an_experiment_reads_production(overlay):
    assert overlay.read("log/000001.json") == b"production"
    assert overlay.exists("log/000002.json")
    assert overlay.local("log/000001.json").read_bytes() == b"production"


def test_what_an_experiment_writes_comes_before_what_production_has(overlay, base):
    overlay.write("log/000002.json", b"experiment")
    assert overlay.read("log/000002.json") == overlay.local("log/000002.json").read_bytes() == b"experiment"
    assert base.read("log/000002.json") == b"production"


def test_production_and_experiment_are_listed_as_one(overlay, base):
    overlay.create("log/000003.json", b"experiment")
    assert overlay.list("log") == [f"log/00000{number}.json" for number in (1, 2, 3)]
    assert base.list("log") == [f"log/00000{number}.json" for number in (1, 2)]


def test_what_production_has_cannot_be_created_again(overlay):
    with pytest.raises(FileExistsError):
        overlay.create("log/000001.json", b"experiment")


def test_removing_takes_nothing_from_production(overlay, base):
    overlay.write("log/000004.json", b"experiment")
    overlay.remove("log")
    assert overlay.list("log") == base.list("log") == ["log/000001.json", "log/000002.json"]


def test_an_upload_of_an_experiment_is_its_own(overlay, base, tmp_path):
    (tmp_path / "file").write_bytes(b"weights")
    overlay.upload(tmp_path / "file", "model/weights")
    assert (overlay.local("model") / "weights").read_bytes() == b"weights"
    assert not base.exists("model/weights")


def test_a_root_of_two_places_opens_as_an_experiment(tmp_path, base):
    store = open_store({"base": str(tmp_path / "base"), "own": str(tmp_path / "own")})
    assert store.read("log/000001.json") == b"production"
    assert store.root == str(tmp_path / "own")


def test_a_log_that_an_experiment_has_gone_on_with_stays_its_own(overlay, base):
    overlay.create("topics/log/000003.json", b"experiment")
    for number in (1, 2, 3, 4):
        base.write(f"topics/log/00000{number}.json", b"production")
    assert overlay.list("topics/log") == [f"topics/log/00000{number}.json" for number in (1, 2, 3)]
    overlay.create("topics/log/000004.json", b"experiment")
    assert overlay.read("topics/log/000004.json") == b"experiment"
    assert base.read("topics/log/000004.json") == b"production"
