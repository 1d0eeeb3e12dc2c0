"""A project of its own for every test that runs pipelines."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from al_platform import families
from temporary_project import Project, make_project

# Tests of tracking switch it on in the configuration of their own project.
os.environ["AL_TRACKING"] = "none"

# The gate decides on the same examples each time; on a developer's machine every run tries others.
settings.register_profile("gate", derandomize=True)
settings.load_profile("gate" if os.environ.get("CI") else "default")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


@pytest.fixture(autouse=True)
def _no_leftover_families() -> Iterator[None]:
    yield
    families.configure([])
