"""A project of its own for every test that runs pipelines."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from al_platform import families
from temporary_project import Project, make_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


@pytest.fixture(autouse=True)
def _no_leftover_families() -> Iterator[None]:
    yield
    families.configure([])
