"""The command ``kedro al sync``. What is heavy is imported inside it."""

from pathlib import Path

import click
from kedro.framework.cli.utils import env_option


@click.command()
@click.option(
    "--to",
    "into",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    metavar="FOLDER",
    help="Write W&B's offline files into FOLDER instead, to carry to where 'wandb sync' reaches a server.",
)
@env_option
def sync(into: Path | None, env: str | None) -> None:
    """Tell the tracker of every committed run that it does not know yet, oldest first.

    Stopped or killed, call it again: it goes on where it was, and nothing arrives twice. tracking.yml names the
    tracker; docs/tracking.md tells what is sent.
    """
    from al_platform.project import project_loader
    from al_platform.publishing.sync import Sync

    loader = project_loader(env)
    if loader.tracking.backend == "none":
        click.echo("There is no tracker: backend is none in tracking.yml.")
        return
    found = Sync(loader, loader.tracking, into.absolute() if into else None).run()
    for what, why in found.skipped.items():
        click.echo(f"{what} is left out: {why}", err=True)
    if found.problem:
        raise click.ClickException(f"{found.sent} runs were sent, {found.left} are kept: {found.problem}")
    click.echo(f"{found.sent} runs were sent.")
