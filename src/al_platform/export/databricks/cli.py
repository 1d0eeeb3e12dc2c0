"""``kedro al export databricks``: the bundle, as files to review, to commit and to deploy."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
from kedro.framework.cli.utils import env_option

if TYPE_CHECKING:
    from al_platform.export.databricks.bundle import Bundle


@click.command()
@env_option
@click.option("--check", is_flag=True, help="Write nothing; show what differs, and fail if anything does.")
def databricks(env: str | None, check: bool) -> None:
    """Write a Databricks bundle: databricks.yml, databricks/ and notebooks/."""
    from al_platform.project import project_folder

    project = project_folder()
    if not check:
        click.echo(f"{write_bundle(project, env)} files written: databricks.yml, databricks/ and notebooks/.")
    elif different := difference(project, checked_bundle(project, env).files()):
        raise click.ClickException(
            f"{different}\nNot as they are generated. Run kedro al export databricks without --check, and review."
        )


def write_bundle(project: Path, env: str | None) -> int:
    """Write the bundle of an environment in place of what is there; return the number of files."""
    expected = checked_bundle(project, env).files()
    _write(project, expected)
    return len(expected)


def checked_bundle(project: Path, env: str | None) -> "Bundle":
    """Return the bundle of an environment of a project, after looking at all of it.

    Raises:
        ConfigError: The configuration cannot be exported, or the package's extra ``export`` is not installed.
    """
    from al_platform.domain.errors import ConfigError

    try:
        from al_platform.export.databricks.bundle import Bundle
    except ImportError as error:
        raise ConfigError("This needs databricks-bundles: pip install 'al-platform[export]'.") from error
    from al_platform.export.configuration import exported_loader
    from al_platform.export.databricks.check import require_sound

    bundle = Bundle.of(exported_loader(project, env))
    require_sound(bundle.rendered)
    return bundle


def difference(project: Path, expected: Mapping[str, str]) -> str:
    """Return how the project's files differ from those expected, as a unified diff; empty where they do not."""
    names = sorted({*expected, *_generated(project)})
    return "".join(line for name in names for line in _diff(name, _text(project / name), expected.get(name, "")))


def _generated(project: Path) -> list[str]:
    from al_platform.export.databricks.bundle import HEADER

    found = (file for file in project.glob("databricks/*.yml") if file.read_text().startswith(HEADER))
    return [file.relative_to(project).as_posix() for file in found]


def _write(project: Path, expected: Mapping[str, str]) -> None:
    for name in set(_generated(project)) - expected.keys():
        (project / name).unlink()
    for name, content in expected.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(content)


def _diff(name: str, found: str, expected: str) -> Iterable[str]:
    before, after = found.splitlines(keepends=True), expected.splitlines(keepends=True)
    return difflib.unified_diff(before, after, fromfile=name, tofile=f"{name} (generated)")


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""
