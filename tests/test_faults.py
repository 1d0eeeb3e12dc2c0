"""A run that fails or is killed anywhere, and is run again, ends where an undisturbed run ends."""

import shutil
import subprocess

import pytest
from kedro.framework.hooks import hook_impl

from al_platform.domain.errors import StoreError
from al_platform.pipeline_registry import instantiate
from al_platform.runner import RunFailedError
from al_platform.stages import STAGES
from killed_runs import KILLS, is_sound, run_killed
from temporary_project import make_project

NODES = [node.name for stage in STAGES for node in instantiate("topics", stage).nodes]


class FailAt:
    def __init__(self, name: str):
        self.name = name

    @hook_impl
    def before_node_run(self, node):
        if node.name == self.name:
            raise RuntimeError("injected")


@pytest.fixture(scope="module")
def month(tmp_path_factory):
    """A project whose monthly ran undisturbed."""
    project = make_project(tmp_path_factory.mktemp("month"))
    project.only("topics")
    project.run("monthly")
    return project


@pytest.fixture(scope="module")
def quarter(month, tmp_path_factory):
    """The same after an undisturbed quarterly."""
    project = copy_of(month, tmp_path_factory.mktemp("quarter") / "project")
    project.run("quarterly")
    return project


@pytest.fixture
def begun(month, tmp_path):
    """Returns a project in which everything before a pipeline has run."""

    def begin(pipeline):
        if pipeline == "quarterly":
            return copy_of(month, tmp_path / "begun")
        project = make_project(tmp_path / "begun")
        project.only("topics")
        return project

    return begin


def copy_of(project, path):
    shutil.copytree(project.path, path)
    return type(project)(path)


def job_of(node):
    return next(stage.cadence for stage in STAGES if node.startswith(f"topics.{stage.name}."))


@pytest.mark.parametrize("node", NODES)
def test_an_exception_in_any_node_is_repaired_by_running_again(begun, month, quarter, node):
    job = job_of(node)
    project = begun(job)
    with pytest.raises(RunFailedError, match="injected"):
        project.run(job, hooks=(FailAt(node),))
    project.run(job)
    assert project.state() == {"monthly": month, "quarterly": quarter}[job].state()
    assert is_sound(project)


def test_a_broken_family_does_not_keep_the_others_from_their_result(project):
    with pytest.raises(RunFailedError, match="injected"):
        project.run("monthly", hooks=(FailAt("sentiment.selection.seal_batch"),))
    assert project.head("topics", "preparation") is not None
    assert project.head("brand_safety", "preparation") is not None
    assert project.head("sentiment", "scoring") is not None
    assert project.head("sentiment", "selection") is None


@pytest.mark.parametrize("point", KILLS)
def test_a_killed_run_is_repaired_by_running_again(begun, month, quarter, point):
    kill = KILLS[point]
    project = begun("quarterly" if kill.is_repeated else kill.job)
    run_killed(project, kill, "al_platform.storage.store.LocalStore")
    project.run(kill.job)
    expected = {"monthly": month, "quarterly": quarter}[kill.job].state()
    assert project.state() == expected
    assert is_sound(project)
    assert project.state() == expected


def on_a_small_disk(project, path, size):
    """Let the project's store be a file system of its own; pytest.skip where that needs rights we lack."""
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting a file system needs rights that this user lacks: {mounted.stderr.decode().strip()}")
    traffic = {"source": "synthetic", "options": {"pages_per_month": 300, "seed_labels": 240}}
    project.configure("globals.yml", {"root": str(path), "traffic": traffic})


@pytest.mark.parametrize(("job", "size"), [("monthly", "300k"), ("quarterly", "900k")])
def test_a_disk_that_fills_up_under_a_run_loses_nothing(project, month, quarter, tmp_path, job, size):
    project.only("topics")
    disk = tmp_path / "disk"
    on_a_small_disk(project, disk, size)
    try:
        if job == "quarterly":
            project.run("monthly")
        committed = project.state()
        with pytest.raises((RunFailedError, StoreError), match=r"No space left.*Make room"):
            project.run(job)
        found = project.state()
        assert {name: found[name] for name in committed if "platform" not in name} == {
            name: outputs for name, outputs in committed.items() if "platform" not in name
        }
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        project.run(job)
        assert project.state() == {"monthly": month, "quarterly": quarter}[job].state()
        assert is_sound(project)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_store_that_became_read_only_says_so_and_reads(project, month, quarter, tmp_path):
    project.only("topics")
    disk = tmp_path / "disk"
    on_a_small_disk(project, disk, "64m")
    try:
        project.run("monthly")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(StoreError, match="read-only"):
            project.run("quarterly")
        assert project.state() == month.state()
        assert project.status()["splits"] == month.status()["splits"]
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        project.run("quarterly")
        assert project.state() == quarter.state()
        assert is_sound(project)
    finally:
        subprocess.run(["umount", disk], check=True)
