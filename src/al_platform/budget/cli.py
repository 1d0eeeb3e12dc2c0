"""The command ``kedro al plan-budget``.

Everything heavy is imported inside the command, so that ``kedro --help`` stays quick.
"""

from functools import partial

import click
from kedro.framework.cli.utils import env_option

_POINTS = 100


def _weights(context: click.Context, option: click.Parameter, pairs: tuple[str, ...]) -> dict[str, float]:
    weights = {}
    for pair in pairs:
        family, _, weight = pair.partition("=")
        try:
            weights[family] = float(weight)
        except ValueError as error:
            raise click.BadParameter(f"{pair!r} is not of the form FAMILY=NUMBER.") from error
        if not 0 < weights[family] < float("inf"):
            raise click.BadParameter(f"The weight of {family} must be above 0, found {weight}.")
    return weights


@click.command("plan-budget")
@click.option("--family", "families", multiple=True, help="Only this family; repeat for more.")
@click.option("--labels", type=click.IntRange(min=1), help="The next labels; by default a month's budget.")
@click.option("--target", type=click.FloatRange(0, 1, min_open=True), help="Macro-F1 to reach.")
@click.option("--total", type=click.IntRange(min=1), help="Answers of annotators that the families share.")
@click.option(
    "--weight",
    "weights",
    multiple=True,
    callback=_weights,
    metavar="FAMILY=W",
    help="What a point counts; by default 1.",
)
@click.option(
    "--worth",
    default=0.1,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Points of macro-F1 a month must bring.",
)
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(min=2), help="Random subsets of each size.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every point and curve.")
@env_option
def plan_budget(
    families: tuple[str, ...],
    labels: int | None,
    target: float | None,
    total: int | None,
    weights: dict[str, float],
    worth: float,
    seeds: int,
    as_json: bool,
    env: str | None,
) -> None:
    """Say what the next labels would bring, where to spend a common budget, and when to stop.

    Labels are pages with an answer; some of them are held out. Nothing is written.
    """
    from al_platform.budget import plan as budget
    from al_platform.budget.show import print_plan
    from al_platform.budget.subsets import train_on_subsets
    from al_platform.project import project_loader

    question = budget.Question(labels, target, worth / _POINTS, total, weights, seeds)
    # Where no terminal shows a bar, progress goes to the log, which must not stand among the JSON.
    train = partial(train_on_subsets, show_progress=not as_json)
    plan = budget.plan_budget(project_loader(env), families, question, train)
    if as_json:
        click.echo(plan.model_dump_json(indent=2))
    else:
        print_plan(plan)
