"""The command ``kedro al query``.

Everything heavy is imported inside the command, so that ``kedro --help`` stays quick.
"""

import json
from typing import TYPE_CHECKING

import click
from kedro.framework.cli.utils import env_option

if TYPE_CHECKING:
    import pyarrow as pa

    from al_platform.config import FamilyConfigLoader
    from al_platform.records.query import Wanted


@click.command()
@click.option("--family", default=None, help="Only this family.")
@click.option("--stage", default=None, help="Only this stage.")
@click.option("--cycle", default=None, help="Only this month, YYYY-MM.")
@click.option("--model", default=None, metavar="DIGEST", help="Only runs that made or used this model.")
@click.option("--dataset", default=None, metavar="DIGEST", help="Only runs that made or used this data set.")
@click.option("--run", default=None, metavar="ID", help="Only stages of this Kedro run.")
@click.option("--superseded", is_flag=True, help="Also runs that a later one of the same stage and month replaced.")
@click.option("--last", default=50, show_default=True, type=click.IntRange(min=0), help="At most so many; 0 for all.")
@click.option("--figure", "figures", multiple=True, metavar="NAME", help="Show this figure; repeat for more.")
@click.option(
    "--from",
    "source",
    type=click.Choice(["manifests", "tracker"]),
    default="manifests",
    show_default=True,
    help="Whom to ask: what was committed, or the tracker of tracking.yml.",
)
@click.option("--sql", default=None, help="Answer this query over the table runs instead.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every figure, input and parameter.")
@env_option
def query(
    family: str | None,
    stage: str | None,
    cycle: str | None,
    model: str | None,
    dataset: str | None,
    run: str | None,
    superseded: bool,
    last: int,
    figures: tuple[str, ...],
    source: str,
    sql: str | None,
    as_json: bool,
    env: str | None,
) -> None:
    """Show which runs, with which data, gave which figures.

    Manifests are asked by default; a tracker answers with what it was told, in the same table.
    """
    from al_platform.project import project_loader
    from al_platform.records import query as runs

    wanted = runs.Wanted(family, stage, cycle, model, dataset, run, superseded, last)
    if sql and wanted != runs.Wanted(last=last):
        raise click.UsageError("Give --sql or options that choose runs, not both: a query chooses by itself.")
    table = _runs_of(source, project_loader(env), wanted)
    if sql:
        answer = runs.query_runs(table, sql)
        if as_json:
            click.echo(json.dumps(answer.to_pylist(), indent=2, default=str))
        else:
            runs.print_answer(answer)
        return
    found = runs.find_runs(table, wanted)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        runs.print_runs(found, figures)


def _runs_of(source: str, loader: "FamilyConfigLoader", wanted: "Wanted") -> "pa.Table":
    from al_platform.records import tracked
    from al_platform.records.run_index import RunIndex, index_folder
    from al_platform.stores import Stores

    if source == "tracker":
        why = tracked.why_not_asked(loader.tracking)
        if why is None:
            return tracked.tracked_runs(loader.tracking, loader.project, wanted)
        click.echo(f"Answered from manifests, which hold the same: {why}.", err=True)
    return RunIndex(Stores.of_environment(loader), index_folder()).refresh()
