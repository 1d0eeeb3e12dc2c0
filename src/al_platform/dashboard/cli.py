"""The command ``kedro al dashboard``. What is heavy is imported inside it."""

from pathlib import Path

import click
from kedro.framework.cli.utils import env_option


@click.command()
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    metavar="FOLDER",
    help="Write a copy into FOLDER as well.",
)
@env_option
def dashboard(output: Path | None, env: str | None) -> None:
    """Put everything about every model on one page, dashboard/index.html in the store of the logs.

    The page opens in any browser and needs nothing else. It shows what was committed when the command ran: call it
    again after a run, which never waits for it.
    """
    from al_platform.dashboard.publish import publish
    from al_platform.project import project_loader

    for place in publish(project_loader(env), output):
        click.echo(place)
