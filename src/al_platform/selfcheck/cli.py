"""The command ``kedro al selfcheck``. What is heavy is imported inside it."""

import json

import click
from kedro.framework.cli.utils import env_option


@click.command()
@env_option
@click.option(
    "--at-least",
    default=None,
    metavar="SCORE",
    type=click.FloatRange(0, 7),
    help="End with exit code 1 where the score is lower.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def selfcheck(env: str | None, at_least: float | None, as_json: bool) -> None:
    """Grade the 28 checks of the ML Test Score by what lies in the stores, and say what is missing."""
    from datetime import UTC, datetime

    from al_platform.project import project_loader
    from al_platform.selfcheck import show
    from al_platform.selfcheck.checks import grade_all
    from al_platform.selfcheck.evidence import PlatformEvidence

    score = grade_all(PlatformEvidence.of(project_loader(env), datetime.now(UTC)))
    if as_json:
        click.echo(json.dumps(show.as_json(score), indent=2))
    else:
        show.print_score(score)
    if at_least is not None and score.value < at_least:
        click.echo(f"The score is {score.value:g}, asked for {at_least:g}.", err=True)
        raise click.exceptions.Exit(1)
