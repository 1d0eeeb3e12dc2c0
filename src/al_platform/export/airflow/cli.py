"""``kedro al export airflow``: the DAGs, and what they import."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from difflib import unified_diff
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from kedro.framework.cli.utils import env_option

HERE = Path(__file__).parent
TEMPLATE = HERE / "dag.py.j2"
LIBRARY = HERE / "al_airflow"
FOLDER = Path("airflow_dags")
# Where an environment's data lies does not show in a DAG, so that it need not be known to write one.
_PLACES = ("AL_S3_ROOT", "AL_UC_CATALOG")


@click.command()
@env_option
@click.option("--check", is_flag=True, help="Write nothing; show the difference and fail if there is any.")
def airflow(env: str | None, check: bool) -> None:
    """Write the DAGs, and for the plugins folder what they import, to airflow_dags."""
    from al_platform.project import project_folder

    if not check:
        click.echo(f"{write_dags(project_folder(), env)} files written to {FOLDER}.")
        return
    expected = generated(project_folder(), env)
    found = _found(project_folder() / FOLDER)
    if found != expected:
        click.echo("".join(_differences(found, expected)), nl=False)
        raise click.ClickException(f"{FOLDER} is not as it is generated. Run make dags and review the difference.")


def write_dags(project: Path, env: str | None) -> int:
    """Write the DAGs of an environment in place of those that are there; return the number of files."""
    folder, expected = project / FOLDER, generated(project, env)
    _write(folder, expected, _found(folder))
    return len(expected)


def _found(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in _present(folder)}


def generated(project: Path, env: str | None) -> dict[str, str]:
    """Return the content of every file, by its path below ``airflow_dags``.

    Raises:
        ConfigError: There is no such environment, its ``export.yml`` cannot be used, or kedro-airflow is missing.
    """
    library = {f"plugins/al_airflow/{file.name}": file.read_text() for file in LIBRARY.iterdir() if file.is_file()}
    with TemporaryDirectory() as folder:
        _create(project, env, Path(folder))
        return {**{file.name: file.read_text() for file in Path(folder).iterdir()}, **library}


def _create(project: Path, env: str | None, folder: Path) -> None:
    from kedro.framework.startup import bootstrap_project

    from al_platform.domain.errors import ConfigError
    from al_platform.export.airflow.dags import JOBS_OF

    try:
        from kedro_airflow.plugin import create
    except ModuleNotFoundError as error:
        raise ConfigError("Asked for DAGs, which kedro-airflow writes. Install it: pip install '.[export]'") from error
    arguments = ["--pipelines", ",".join(JOBS_OF), "--jinja-file", str(TEMPLATE), "--target-dir", str(folder)]
    metadata = bootstrap_project(project)
    # It tells where it writes, which is a temporary folder here.
    with redirect_stdout(StringIO()), _stand_ins():
        create.main([*arguments, *(["--env", env] if env else [])], standalone_mode=False, obj=metadata)


@contextmanager
def _stand_ins() -> Iterator[None]:
    unset = [name for name in _PLACES if name not in os.environ]
    os.environ.update({name: name for name in unset})
    try:
        yield
    finally:
        for name in unset:
            del os.environ[name]


def _present(folder: Path) -> Iterator[str]:
    for pattern in ("*_dag.py", "plugins/al_airflow/*"):
        yield from (str(file.relative_to(folder)) for file in sorted(folder.glob(pattern)) if file.is_file())


def _write(folder: Path, expected: Mapping[str, str], found: Mapping[str, str]) -> None:
    # DAGs of two environments have the same ids, and Airflow takes one of them only.
    for name in found.keys() - expected.keys():
        (folder / name).unlink()
    for name, content in expected.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def _differences(found: Mapping[str, str], expected: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*found, *expected}):
        here, wanted = found.get(name, ""), expected.get(name, "")
        yield from unified_diff(here.splitlines(True), wanted.splitlines(True), f"{name} here", f"{name} generated")
