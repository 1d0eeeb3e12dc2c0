"""Two quarters of one family, made once; tests that change it work on a copy."""

import shutil

import pytest
from quarters import FIRST, SECOND, THIRD, Pages

from al_platform import families
from temporary_project import Project, make_project


@pytest.fixture(scope="session")
def quarters(tmp_path_factory) -> Project:
    """Monthly in three months; a champion after the second, another training after the third."""
    project = make_project(tmp_path_factory.mktemp("quarters"))
    project.only("topics")
    # Three files a month, so that whatever follows a page has to find it in any of them.
    project.configure("parameters/topics.yml", {"topics": {"scoring": {"part_pages": 120, "batch_pages": 60}}})
    for pipeline, cycle in (
        ("monthly", FIRST),
        ("monthly", SECOND),
        ("quarterly", SECOND),
        ("monthly", THIRD),
        ("quarterly", THIRD),
    ):
        project.run(pipeline, cycle=cycle)
    families.configure([])
    return project


@pytest.fixture
def own(quarters, tmp_path) -> Project:
    """A copy to be changed."""
    shutil.copytree(quarters.path, tmp_path / "own")
    return Project(tmp_path / "own")


@pytest.fixture(scope="session")
def pages(quarters) -> Pages:
    return Pages(quarters)
