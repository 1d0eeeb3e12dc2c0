"""Builds the wheel; what it is made of stands in pyproject.toml.

A wheel runs where there is no checkout to ask, so it carries the Git revision it was built from.
"""

import shutil
import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithRevision(build_py):
    """Copies the package, and writes ``revision.txt`` into it."""

    def run(self) -> None:
        """Build from nothing: modules of an earlier build that are gone must not stay in the wheel."""
        if self.editable_mode:
            super().run()
            return
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()
        (Path(self.build_lib) / "al_platform" / "revision.txt").write_text(_revision())


def _revision() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (FileNotFoundError, subprocess.CalledProcessError):
        return ""


setup(cmdclass={"build_py": BuildWithRevision})
