"""The command ``kedro al replay``. What is heavy is imported inside it."""

from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.utils import env_option


@click.command()
@click.option("--family", required=True, help="Name of the model family.")
@click.option(
    "--archive",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=None,
    metavar="FILE",
    help="Labelled pages (CSV, JSONL, Parquet; columns text and values), oldest first. Without it, the environment's "
    "own simulated source, another web for each seed.",
)
@click.option("--map", "mapping", multiple=True, metavar="OURS=THEIRS", help="Take our column from theirs.")
@click.option("--id", "id_rule", default="text", show_default=True, help="Column of page ids, or another to hash.")
@click.option("--separator", default=None, help="What stands between several labels in one string.")
@click.option("--time", default=None, metavar="COLUMN", help="Sort the archive by this column first.")
@click.option("--start-labels", type=click.IntRange(min=1), help="Labelled pages before the first month.")
@click.option("--first-cycle", default="2026-01", show_default=True, help="What the first month is called.")
@click.option("--cycles", default=12, show_default=True, type=click.IntRange(min=1), help="Months.")
@click.option("--strategies", default="margin,default,random", show_default=True, help="Separated by commas.")
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(min=1), help="Runs of each.")
@click.option("--budget", "budgets", default=None, metavar="N[,N]", help="Pages a month; more than one are compared.")
@click.option(
    "--cadence", "cadences", default="3", show_default=True, metavar="N[,N]", help="Months between trainings."
)
@click.option(
    "--first-training/--no-first-training",
    "is_first_trained",
    default=True,
    help="Train after the first month as well, so that there is a champion at once (default).",
)
@click.option(
    "--annotator-errors", "error_rates", default=None, metavar="BEST,WORST", help="Error rates, for instance 0.03,0.12."
)
@click.option("--answers-per-page", type=click.IntRange(min=1), help="Annotators who answer each page.")
@click.option(
    "--target", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Macro-F1 to count labels to."
)
@click.option("--measured-pages", default=2000, show_default=True, type=click.IntRange(min=10), help="A month.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes; by default one for each core.")
@click.option("--name", default=None, help="Of the replay; by default the family's.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@env_option
def replay(
    env: str | None,
    as_json: bool,
    mapping: tuple[str, ...],
    archive: Path | None,
    error_rates: str | None,
    **asked: Any,
) -> None:
    """Run months and quarters on a labelled archive, and say what each strategy would have brought.

    The real stages run, each (strategy, seed) in a store of its own below replays/NAME; production is not touched.
    Killed and called again, it goes on with what is missing; more seeds or strategies are added to what is there.
    """
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project
    from rich.console import Console

    from al_platform.project import project_folder
    from al_platform.replay.show import print_figures
    from al_platform.runner import FamilyRunner

    given = {name: value for name, value in asked.items() if value is not None}
    if error_rates is not None:
        given["error_rates"] = _numbers(error_rates)
    if archive is not None:
        given["archive"] = str(archive.absolute())
    options = {**given, "mapping": dict(map(_pair, mapping))}
    project = project_folder()
    bootstrap_project(project)
    with KedroSession.create(project, env=env, runtime_params={"replay": options}) as session:
        assert isinstance(session, KedroSession)
        session.run(pipeline_names=["replay"], runner=FamilyRunner())
        catalog = session.load_context().config_loader
        folder = f"{catalog.replays}/{options.get('name') or options['family']}"  # type: ignore[attr-defined]
    figures = _figures(folder)
    if as_json:
        click.echo(figures.model_dump_json(indent=2))
        return
    print_figures(figures, Console())
    click.echo(f"Report: {folder}/replay.html")


def _figures(folder: str) -> Any:
    from al_platform.domain.replay.figures import ReplayFigures
    from al_platform.storage.store import open_store

    return ReplayFigures.model_validate_json(open_store(folder).read("replay.json"))


def _pair(written: str) -> tuple[str, str]:
    ours, equals, theirs = written.partition("=")
    if not (ours and equals and theirs):
        raise click.BadParameter(f"{written!r} is not of the form OURS=THEIRS.", param_hint="--map")
    return ours, theirs


def _numbers(written: str) -> list[float]:
    try:
        best, worst = (float(part) for part in written.split(","))
    except ValueError as error:
        raise click.BadParameter(
            f"{written!r} is not two numbers, as in 0.03,0.12.", param_hint="--annotator-errors"
        ) from error
    return [best, worst]
