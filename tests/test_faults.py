"""A run that fails or is killed anywhere, and is run again, ends where an undisturbed run ends."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest
from kedro.framework.hooks import hook_impl

from al_platform.pipeline_registry import instantiate
from al_platform.runner import RunFailedError
from al_platform.stages import STAGES
from temporary_project import CYCLE, make_project

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


KILLS = {
    "between the tasks and the receipt": ("monthly", "al_platform.annotation.simulated.SimulatedPlatform", "submit", 1),
    "between a manifest and its log entry": ("monthly", "al_platform.storage.commit_log", "append", 3),
    "between promotion and its report": ("quarterly", "al_platform.storage.commit_log", "append", 3),
}

SCRIPT = """
import importlib, os, signal, sys
from pathlib import Path
path, pipeline, target, function, when, cycle = sys.argv[1:]
try:
    owner = importlib.import_module(target)
except ModuleNotFoundError:
    module, _, name = target.rpartition(".")
    owner = getattr(importlib.import_module(module), name)
real, calls = getattr(owner, function), []
after = function == "submit"
def killing(*args, **kwargs):
    calls.append(1)
    if len(calls) == int(when) and not after:
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*args, **kwargs)
    if len(calls) == int(when) and after:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(owner, function, killing)
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from al_platform.runner import FamilyRunner
bootstrap_project(Path(path))
with KedroSession.create(Path(path), env="test", runtime_params={"cycle": cycle}) as session:
    session.run(pipeline_names=[pipeline], runner=FamilyRunner())
"""


@pytest.mark.parametrize("point", KILLS)
def test_a_killed_run_is_repaired_by_running_again(begun, month, quarter, point):
    job, target, function, when = KILLS[point]
    project = begun(job)
    arguments = [str(project.path), job, target, function, str(when), CYCLE]
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), *arguments],
        cwd=project.path,
        env={**os.environ, "DO_NOT_TRACK": "1"},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    project.run(job)
    assert project.state() == {"monthly": month, "quarterly": quarter}[job].state()
