"""The command ``kedro al rebuild``. Everything heavy is imported inside, so that ``kedro --help`` stays quick."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from kedro.framework.cli.utils import env_option

if TYPE_CHECKING:
    pass


@click.command()
@click.argument("model")
@env_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    metavar="DIR",
    help="Write the rebuilt model's files into this empty or new folder.",
)
def rebuild(model: str, env: str | None, as_json: bool, keep: Path | None) -> None:
    """Make MODEL again from its record and compare.

    MODEL is a digest, the beginning of one, or a family's name for its newest trained model. Data, parameters and order
    are those of the record; nothing is written to the store. Ends with 1 where the result differs unexplained.
    """
    from rich.console import Console

    from al_platform.circumstances import code_revision, environment
    from al_platform.project import project_folder, project_loader
    from al_platform.rebuild.compare import circumstances_of
    from al_platform.rebuild.rebuild import rebuild_model
    from al_platform.rebuild.show import print_comparison

    progress = Console(stderr=True)
    comparison = rebuild_model(
        project_loader(env),
        model,
        circumstances_of(code_revision(project_folder()), environment()),
        lambda line: progress.print(line, highlight=False),
        keep,
    )
    if as_json:
        click.echo(comparison.model_dump_json(indent=2))
    else:
        print_comparison(comparison, Console())
    if comparison.outcome == "differs":
        raise click.exceptions.Exit(1)
