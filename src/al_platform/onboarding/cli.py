"""The command ``kedro al new-family``. What is heavy is imported inside it."""

from pathlib import Path

import click


@click.command("new-family")
@click.argument("name")
@click.option("--labels", default=None, metavar="A,B,C", help="Its labels, separated by commas.")
@click.option("--task", type=click.Choice(["single", "multi"]), default="single", show_default=True)
@click.option("--env", "-e", default="base", show_default=True, help="Environment with the list of families.")
@click.option("--export-env", default="databricks", show_default=True, help="Environment that DAGs and bundle are of.")
@click.option("--remove", "is_removed", is_flag=True, help="Remove the family's files; its data in the store stays.")
def new_family(name: str, labels: str | None, task: str, env: str, export_env: str, is_removed: bool) -> None:
    """Add the model family NAME: a file with its labels, tests, and its name in the list.

    Pipelines, labelling configuration, dashboard, rights and Kedro-Viz follow from these; DAGs and bundle, where the
    project holds them, are written again.
    """
    from al_platform.domain.errors import ConfigError
    from al_platform.onboarding.family import FamilyFiles, taxonomy_of
    from al_platform.project import project_folder

    files = FamilyFiles(project_folder(), name, env)
    if is_removed:
        changed = files.remove()
    elif labels is None:
        raise ConfigError("Which labels does it have? Give them: --labels a,b,c")
    else:
        changed = files.add(taxonomy_of(task, labels))
    for file in changed:
        click.echo(file.relative_to(files.project).as_posix())
    _export_again(files.project, export_env)
    if not is_removed:
        _tell_next(name, env)


def _export_again(project: Path, env: str) -> None:
    from al_platform.export.airflow.cli import FOLDER, write_dags
    from al_platform.export.databricks.cli import write_bundle

    if (project / FOLDER).is_dir():
        click.echo(f"{FOLDER}: {write_dags(project, env)} files written again")
    if (project / "databricks.yml").exists():
        click.echo(f"databricks.yml, databricks/, notebooks/: {write_bundle(project, env)} files written again")


def _tell_next(name: str, env: str) -> None:
    from al_platform.catalog.traffic import IMPORTED
    from al_platform.project import project_loader
    from al_platform.sources import FAMILY_LABELS

    source = project_loader(None if env == "base" else env).validated_globals.traffic.source
    if source != IMPORTED and name not in FAMILY_LABELS:
        click.echo(
            f"\nThe {source} source of this environment has no answers of {name}. Bring your own pages and labels into "
            f"an environment with 'traffic: {{source: imported}}', as docs/own-data.md shows, and run there."
        )
    click.echo(f"Next: kedro al import-labels FILE --family {name}, then a month: kedro run --pipelines=monthly")
