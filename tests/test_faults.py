"""A run that fails or is killed anywhere, and is run again, ends where an undisturbed run ends."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest
from kedro.framework.hooks import hook_impl

from al_platform.pipeline_registry import instantiate
from al_platform.runner import RunFailedError
from al_platform.stages import STAGES
from conftest import CYCLE, make_project

NODES = [node.name for stage in STAGES for node in instantiate("topics", stage).nodes]


class FailAt:
    def __init__(self, name: str):
        self.name = name

    @hook_impl
    def before_node_run(self, node):
        if node.name == self.name:
            raise RuntimeError("injected")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("undisturbed"))
    project.only("topics")
    project.run("monthly")
    project.run("quarterly")
    return project.state()


@pytest.mark.parametrize("node", NODES)
def test_an_exception_in_any_node_is_repaired_by_running_again(project, undisturbed, node):
    project.only("topics")
    monthly = any(node.startswith(f"topics.{stage.name}.") for stage in STAGES if stage.job == "monthly")
    if not monthly:
        project.run("monthly")
    with pytest.raises(RunFailedError, match="injected"):
        project.run("monthly" if monthly else "quarterly", hooks=(FailAt(node),))
    if monthly:
        project.run("monthly")
    project.run("quarterly")
    assert project.state() == undisturbed


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
def test_a_killed_run_is_repaired_by_running_again(project, undisturbed, point):
    project.only("topics")
    pipeline, target, function, when = KILLS[point]
    if pipeline == "quarterly":
        project.run("monthly")
    arguments = [str(project.path), pipeline, target, function, str(when), CYCLE]
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), *arguments],
        cwd=project.path,
        env={**os.environ, "DO_NOT_TRACK": "1"},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    if pipeline == "monthly":
        project.run("monthly")
    project.run("quarterly")
    assert project.state() == undisturbed
