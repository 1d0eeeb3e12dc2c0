"""The wheel installs beside a Databricks runtime for machine learning, and leaves the runtime's torch in place."""

from importlib.metadata import metadata, requires

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

# What 17.3 LTS ML brings, as its release notes list it.
PYTHON = "3.12.3"
BROUGHT = {"torch": "2.7.0"}


def ranges(name):
    found = [Requirement(text) for text in requires("al-platform") or []]
    return [requirement.specifier for requirement in found if requirement.name == name]


def test_the_wheel_runs_on_the_runtimes_python():
    assert PYTHON in SpecifierSet(metadata("al-platform")["Requires-Python"])


@pytest.mark.parametrize("name", BROUGHT)
def test_what_the_runtime_brings_fits_so_that_pip_keeps_it(name):
    assert ranges(name)
    assert all(BROUGHT[name] in specifier for specifier in ranges(name))
