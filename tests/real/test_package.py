"""The wheel and the configuration archive of ``kedro package``, run where nothing else is."""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from packaging.requirements import Requirement

from al_platform.catalog.champion import champion_log
from al_platform.storage.commit_log import history
from al_platform.storage.store import open_store
from temporary_project import ROOT

pytestmark = pytest.mark.real

SOURCES = ("src", "conf", "pyproject.toml", "setup.py", "README.md", ".gitignore")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean checkout of what is packaged, with secrets beside it and a stale build."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            left_out = shutil.ignore_patterns("__pycache__", "*.egg-info", "local")
            shutil.copytree(source, folder / name, ignore=left_out)
        else:
            shutil.copy(source, folder)
    (folder / "conf" / "test" / "families.yml").write_text(yaml.safe_dump({"families": ["topics"]}))
    for arguments in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    (folder / "conf" / "local").mkdir()
    (folder / "conf" / "local" / "credentials.yml").write_text("key: secret")
    stale = folder / "build" / "lib" / "al_platform" / "removed.py"
    stale.parent.mkdir(parents=True)
    stale.touch()
    return folder


@pytest.fixture(scope="module")
def dist(checkout: Path) -> Path:
    _run([sys.executable, "-m", "kedro", "package"], checkout)
    return checkout / "dist"


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    return next(dist.glob("al_platform-*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel and what the wheel requires, extras left out."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=False)
    interpreter = folder / "bin" / "python"
    site = next(folder.glob("lib/python*/site-packages"))
    for found in _required("al-platform"):
        for name in {file.parts[0] for file in found.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            if not (site / name).exists():
                (site / name).symlink_to(found.locate_file(name))
    pip = [sys.executable, "-m", "pip", "--python", str(interpreter)]
    _run([*pip, "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", str(wheel)], folder)
    return interpreter


def test_the_wheel_holds_every_file_of_the_package(checkout: Path, wheel: Path) -> None:
    source = checkout / "src"
    expected = {str(file.relative_to(source)) for file in (source / "al_platform").rglob("*") if file.is_file()}
    found = {name for name in ZipFile(wheel).namelist() if name.startswith("al_platform/")}
    assert found == expected | {"al_platform/revision.txt"}


def test_the_archive_holds_the_configuration_and_no_secrets(checkout: Path, dist: Path) -> None:
    with tarfile.open(dist / "conf-al_platform.tar.gz") as archive:
        names = {member.name for member in archive.getmembers() if member.isfile()}
    secret = checkout / "conf" / "local" / "credentials.yml"
    expected = {str(file.relative_to(checkout)) for file in (checkout / "conf").rglob("*") if file.is_file()}
    assert names == expected - {str(secret.relative_to(checkout))}


def test_a_month_and_a_quarter_run_from_the_archive(python: Path, dist: Path, checkout: Path, tmp_path: Path) -> None:
    """The store lies below the working directory, and says which revision made it."""
    archive = dist / "conf-al_platform.tar.gz"
    for name in ("monthly", "quarterly"):
        options = [f"--pipelines={name}", "--env=test", "--params=cycle=2026-10"]
        _run([str(python), "-m", "al_platform", f"--conf-source={archive}", *options], tmp_path)
    champions = champion_log(open_store(str(tmp_path / "data" / "test" / "champion")), "topics")
    evaluated = history(open_store(str(tmp_path / "data" / "test" / "models")), "topics", "evaluation")["2026-10"]
    head = _run(["git", "rev-parse", "HEAD"], checkout).strip()
    assert [entry.cycle for entry in champions] == ["2026-10"]
    assert evaluated.code_revision == head
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_configuration_folder_serves_too_and_a_family_fails_alone(
    python: Path, dist: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, conf = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("configuration")
    with tarfile.open(dist / "conf-al_platform.tar.gz") as archive:
        archive.extractall(conf, filter="data")
    families = conf / "conf" / "test" / "families.yml"
    families.write_text(yaml.safe_dump({"families": ["sentiment", "topics"]}))
    (folder / "data" / "test" / "datasets").mkdir(parents=True)
    (folder / "data" / "test" / "datasets" / "sentiment").touch()  # where a folder should be
    options = [f"--conf-source={conf / 'conf'}", "--env=test", "--pipelines=scoring", "--params=cycle=2026-10"]
    with pytest.raises(AssertionError, match="sentiment"):
        _run([str(python), "-m", "al_platform", *options], folder)
    store = open_store(str(folder / "data" / "test" / "datasets"))
    assert [*history(store, "topics", "scoring")] == ["2026-10"]


def test_help_needs_no_configuration(python: Path, tmp_path: Path) -> None:
    assert "--conf-source" in _run([str(python), "-m", "al_platform", "--help"], tmp_path)


def _run(command: list[str], folder: Path) -> str:
    variables = {**os.environ, "DO_NOT_TRACK": "1", "COLUMNS": "200"}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _required(name: str) -> Iterator[Distribution]:
    """What a distribution requires, directly and further on, of what is installed here."""
    seen: set[str] = set()
    waiting = [*_requirements(distribution(name))]
    while waiting:
        wanted = waiting.pop()
        try:
            found = distribution(wanted.name)
        except PackageNotFoundError:  # the lock leaves out what torch's wheel for CUDA names
            continue
        if str(wanted) not in seen:
            seen.add(str(wanted))
            yield found
            waiting += _requirements(found, *wanted.extras)


def _requirements(found: Distribution, *extras: str) -> Iterator[Requirement]:
    for wanted in map(Requirement, found.requires or []):
        if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield wanted
