"""A run that fails or is killed anywhere, and is run again, ends where an undisturbed run ends."""

import shutil

import pytest
from kedro.framework.hooks import hook_impl

from al_platform.pipeline_registry import instantiate
from al_platform.runner import RunFailedError
from al_platform.stages import STAGES
from killed_runs import KILLS, run_killed
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
    return next(stage.job for stage in STAGES if node.startswith(f"topics.{stage.name}."))


@pytest.mark.parametrize("node", NODES)
def test_an_exception_in_any_node_is_repaired_by_running_again(begun, month, quarter, node):
    job = job_of(node)
    project = begun(job)
    with pytest.raises(RunFailedError, match="injected"):
        project.run(job, hooks=(FailAt(node),))
    project.run(job)
    assert project.state() == {"monthly": month, "quarterly": quarter}[job].state()


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
    assert project.state() == {"monthly": month, "quarterly": quarter}[kill.job].state()
