"""A month and a quarter on an S3 server and on volumes: the same results as on a local disk, and nothing elsewhere.

minilake stands in for a workspace's Files API; ``test_volume_store_on_minilake.py`` says what it does not prove.
"""

from uuid import uuid4

import pytest
from servers.minilake import MinilakeServer

from al_platform.stages import STAGES
from al_platform.storage.store import open_store
from temporary_project import make_project

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("local") / "p")
    run_twice(project)
    return project


@pytest.fixture
def s3_root(on_s3, bucket):
    return f"s3://{bucket}/some/prefix"


@pytest.fixture
def volume_root(tmp_path_factory, monkeypatch):
    schema = f"al_{uuid4().hex[:8]}"
    with MinilakeServer(tmp_path_factory.mktemp("minilake")) as server:
        for volume in ("traffic", "labels", "datasets", "models", "champion", "logs"):
            server.make_volume("al_dev", schema, volume)
        monkeypatch.setenv("DATABRICKS_HOST", server.url)
        monkeypatch.setenv("DATABRICKS_TOKEN", server.token)
        yield f"dbfs:/Volumes/al_dev/{schema}"


def run_twice(project):
    for job in ("monthly", "monthly", "quarterly", "quarterly"):
        project.run(job)


def on(root, path):
    project = make_project(path)
    traffic = {"source": "synthetic", "options": {"pages_per_month": 300, "seed_labels": 240}}
    project.configure("globals.yml", {"root": root, "traffic": traffic})
    return project


def check_same_as_local(project, local, tmp_path):
    run_twice(project)
    assert project.state() == local.state()
    for family in project.loader.families:
        assert [project.head(family, stage.name) is not None for stage in STAGES] == [True] * len(STAGES)
    logs = open_store(project.loader.root("logs"))
    assert len([path for path in logs.list("runs") if path.endswith("run.log")]) == 4
    assert not (project.path / "data").exists()
    assert not (project.path / "dbfs:").exists()
    second = on(project.loader.validated_globals.root, tmp_path / "second")
    assert second.status() == project.status()
    assert second.status()["champion"] == local.status()["champion"]
    assert second.load("topics.dataset").equals(local.load("topics.dataset"))


def test_a_loop_on_s3_ends_as_on_a_local_disk_and_is_seen_by_a_second_checkout(local, s3_root, tmp_path):
    check_same_as_local(on(s3_root, tmp_path / "p"), local, tmp_path)


def test_a_loop_on_volumes_ends_as_on_a_local_disk_and_is_seen_by_a_second_checkout(local, volume_root, tmp_path):
    check_same_as_local(on(volume_root, tmp_path / "p"), local, tmp_path)


def test_an_experiment_on_s3_needs_no_right_to_write_anywhere_else(s3_root, bucket, s3_server, tmp_path):
    project = on(s3_root, tmp_path / "p")
    project.only("topics")
    project.run("monthly")
    project.run("quarterly")
    before = project.state()
    objects = {found["Key"] for found in s3_server.client().list_objects_v2(Bucket=bucket)["Contents"]}
    project.run("quarterly", parameters={"experiment": "seven", "topics": {"training": {"seed": 7}}})
    after = {found["Key"] for found in s3_server.client().list_objects_v2(Bucket=bucket)["Contents"]}
    assert project.state() == before
    assert {key.startswith("some/prefix/experiments/seven/") for key in after - objects} == {True}
