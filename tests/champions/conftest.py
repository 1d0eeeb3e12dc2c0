"""Two quarters of one family: a champion by the gate, and a challenger about which it could not decide."""

import shutil

import pytest
from two_models import FIRST, SECOND

from al_platform import families
from temporary_project import Project, make_project


@pytest.fixture(scope="session")
def quarters(tmp_path_factory) -> Project:
    project = make_project(tmp_path_factory.mktemp("champions"))
    project.only("topics")
    for cycle in (FIRST, SECOND):
        project.run("monthly", cycle=cycle)
        project.run("quarterly", cycle=cycle)
    families.configure([])
    return project


@pytest.fixture
def own(quarters, tmp_path, monkeypatch) -> Project:
    """A copy to be changed, in which commands are called."""
    shutil.copytree(quarters.path, tmp_path / "own")
    monkeypatch.chdir(tmp_path / "own")
    monkeypatch.setenv("AL_ACTOR", "ada")
    return Project(tmp_path / "own")
