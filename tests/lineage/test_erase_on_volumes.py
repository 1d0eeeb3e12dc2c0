"""The same in the environment that ships for Databricks: one volume for each class of data, in one schema."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from quarters import SECOND, data, files_with

from al_platform.cli import UserErrors
from al_platform.domain.errors import StoreError
from al_platform.lineage.cli import erase, lineage
from al_platform.lineage.erase import erase_page
from al_platform.lineage.stores import production_and_experiments
from al_platform.lineage.uses import page_uses
from al_platform.stages import DataClass
from al_platform.storage import volume_store
from al_platform.storage.volume_store import NoSuchVolumeError, VolumeStore
from al_platform.stores import CLASSES
from storage.fake_workspace import FakeWorkspace

SCHEMA = "/Volumes/main/al_platform"
NAMES: tuple[DataClass | str, ...] = (*CLASSES, "experiments")


class FakeSchema:
    """A workspace with several volumes; each one's files are in a folder of its name."""

    def __init__(self, folder: Path, *names: str):
        self.api_client = self
        self.volumes = {name: FakeWorkspace(folder / name, f"{SCHEMA}/{name}") for name in names}
        self._cfg = next(iter(self.volumes.values()))._cfg

    def do(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        words = path.replace(".", "/").split("/")
        found = next((self.volumes[word] for word in words if word in self.volumes), None)
        return (found or next(iter(self.volumes.values()))).do(method, path, **options)


@pytest.fixture
def workspace(own, monkeypatch):
    def connect(*names):
        found = FakeSchema(data(own), *names)
        monkeypatch.setattr(volume_store, "_client", lambda _: found)
        return found

    monkeypatch.setenv("AL_UC_CATALOG", "main")
    monkeypatch.delenv("AL_UC_SCHEMA", raising=False)
    monkeypatch.delenv("AL_AUDIT_ANCHOR", raising=False)
    own.env = "databricks"
    return connect


def call(own, monkeypatch, command, *arguments):
    monkeypatch.chdir(own.path)
    group = UserErrors(commands=[command])
    return CliRunner().invoke(group, [*arguments, "--env", "databricks"], catch_exceptions=False)


def test_a_page_is_found_and_erased_where_no_experiment_was_made_yet(own, workspace, pages, monkeypatch):
    workspace(*CLASSES)
    page_id = pages.annotated("train")
    shown = call(own, monkeypatch, lineage, "lineage", "--page", page_id)
    assert (shown.exit_code, f"{SCHEMA}/datasets/topics" in shown.output) == (0, True)
    done = call(own, monkeypatch, erase, "erase", page_id, "--reason", "ticket 17", "--yes")
    assert done.exit_code == 0, done.output
    assert not files_with(own, page_id)


def test_former_versions_are_said_to_be_the_buckets_own_business(own, workspace, pages, monkeypatch):
    workspace(*NAMES)
    done = call(own, monkeypatch, erase, "erase", pages.annotated("train"), "--reason", "ticket 17", "--yes")
    assert f"{SCHEMA}/labels" in done.output.partition("Former versions below")[2]
    assert "s3:// address" in done.output
    assert "Of 0 former versions" not in done.output


def test_experiments_lie_on_a_volume_of_their_own_and_are_erased_from(own, workspace, pages):
    workspace(*NAMES)
    page_id = pages.annotated("train")
    copy = data(own) / "experiments/probe/datasets/topics"
    shutil.copytree(data(own) / "datasets/topics" / SECOND, copy / SECOND)
    roots = {use.root for use in page_uses(own.loader, page_id)}
    assert f"{SCHEMA}/experiments/probe/datasets" in roots
    erase_page(own.loader, page_id, "ticket 17", "somebody")
    assert not files_with(own, page_id)


def test_experiments_that_may_not_be_seen_are_an_error_and_no_absence(own, workspace):
    volumes = workspace(*NAMES).volumes
    volumes["experiments"].denied = {"GET"}
    with pytest.raises(StoreError, match="READ VOLUME"):
        production_and_experiments(own.loader)


def test_a_missing_volume_is_told_from_one_that_the_workspace_does_not_speak_of(own, workspace):
    schema = workspace(*CLASSES)
    with pytest.raises(NoSuchVolumeError):
        VolumeStore(f"{SCHEMA}/experiments").list("")
    schema.volumes["traffic"].denied = {"GET volumes"}
    with pytest.raises(StoreError) as refused:
        VolumeStore(f"{SCHEMA}/experiments").list("")
    assert not isinstance(refused.value, NoSuchVolumeError)
