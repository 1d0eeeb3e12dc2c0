"""A project of its own for every test that runs pipelines."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from al_platform import families

if TYPE_CHECKING:
    from temporary_project import Project

# One thread a process: the models of tests are tiny, workers share the cores, and threads that wait would only burn
# them. The libraries look at this when they are loaded, so that nothing above may import one of them.
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

# Tests of tracking switch it on in the configuration of their own project.
os.environ["AL_TRACKING"] = "none"

# The gate decides on the same examples each time; on a developer's machine every run tries others.
settings.register_profile("gate", derandomize=True)
settings.load_profile("gate" if os.environ.get("CI") else "default")


@pytest.fixture
def project(tmp_path: Path) -> "Project":
    from temporary_project import make_project

    return make_project(tmp_path)


@pytest.fixture(autouse=True)
def _no_leftover_families() -> Iterator[None]:
    yield
    families.configure([])
