"""The commands ``kedro al promote``, ``kedro al rollback`` and ``kedro al champions``.

Everything heavy is imported inside the commands, so that ``kedro --help`` stays quick.
"""

import json
from typing import TYPE_CHECKING

import click
from kedro.framework.cli.utils import env_option

if TYPE_CHECKING:
    from al_platform.champions.promote import Change

_FAMILY = click.option("--family", required=True, help="Name of the model family.")
_REASON = click.option("--reason", required=True, help="Why; it is kept in the champion log.")


@click.command()
@click.argument("model")
@_FAMILY
@_REASON
@env_option
def promote(model: str, family: str, reason: str, env: str | None) -> None:
    """Make MODEL the champion by hand, from the next month on.

    MODEL is the digest of a trained model, or the beginning of one. What the gate said of it is recorded.
    """
    from al_platform.champions.promote import promote_by_hand
    from al_platform.project import project_loader

    _say(promote_by_hand(project_loader(env), family, model, reason))


@click.command()
@_FAMILY
@_REASON
@click.option("--to", default=None, metavar="DIGEST", help="A former champion; by default the one before today's.")
@env_option
def rollback(family: str, reason: str, to: str | None, env: str | None) -> None:
    """Make a former champion the champion again, from the next month on; nothing is deleted."""
    from al_platform.champions.promote import roll_back
    from al_platform.project import project_loader

    _say(roll_back(project_loader(env), family, reason, to))


@click.command()
@_FAMILY
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@env_option
def champions(family: str, as_json: bool, env: str | None) -> None:
    """List who was champion of a family, since when, and why; the last one is the champion."""
    from al_platform.champions.promote import champion_history
    from al_platform.champions.show import print_history
    from al_platform.project import project_loader

    entries = champion_history(project_loader(env), family)
    if as_json:
        click.echo(json.dumps([entry.model_dump(mode="json") for entry in entries], indent=2))
    else:
        print_history(entries)


def _say(change: "Change") -> None:
    entry = change.entry
    for warning in change.warnings:
        click.echo(f"Warning: {warning}", err=True)
    instead = f" instead of {entry.previous[:12]}" if entry.previous else ""
    click.echo(
        f"Model {entry.model_digest[:12]} is the champion of {entry.family}{instead} for cycles after {entry.cycle}: "
        f"entry {entry.number} of its log. Runs of {entry.cycle} and before read what they read."
    )
