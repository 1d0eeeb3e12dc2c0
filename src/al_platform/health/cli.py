"""The commands ``kedro al doctor`` and ``kedro al audit``.

Everything heavy is imported inside the commands, so that ``kedro --help`` stays quick.
"""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from kedro.framework.cli.utils import env_option

if TYPE_CHECKING:
    from al_platform.config import FamilyConfigLoader

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@env_option
@click.option("--fix", is_flag=True, help="Remove what interrupted runs left. Damage is named, never removed.")
@click.option("--quick", is_flag=True, help="Look only whether outputs and models are there, and hash none of them.")
@click.option(
    "--older-than",
    default=24.0,
    show_default=True,
    metavar="HOURS",
    type=click.FloatRange(min=0),
    help="For this long a run elsewhere or without a record, or an unfinished write, is taken to be at work.",
)
@_JSON
def doctor(env: str | None, fix: bool, quick: bool, older_than: float, as_json: bool) -> None:
    """Find what interrupted runs left, and what is missing or was changed; exit 1 if there is any."""
    from datetime import timedelta

    from al_platform.health import doctor as health
    from al_platform.health.stores import TendedStores
    from al_platform.project import project_loader
    from al_platform.stores import open_audit_log

    loader = project_loader(env)
    stores, record = TendedStores.of(loader), open_audit_log(loader).record
    found = health.diagnose(stores, timedelta(hours=older_than), fix=fix, quick=quick, record=record)
    if as_json:
        _print_json(health.as_json(found))
    else:
        health.print_diagnosis(found)
    if not found.is_clean:
        raise click.exceptions.Exit(1)


@click.command()
@env_option
@click.option("--verify", is_flag=True, help="Check the chain, its anchors, and commits against lines.")
@click.option("--anchor", is_flag=True, help="Hold the newest line's digest outside; with --verify, only if sound.")
@click.option("--adopt", metavar="REASON", help="Vouch for commits that are older than the log: a line for each.")
@click.option("--last", default=20, show_default=True, type=click.IntRange(min=1), help="Lines to show.")
@_JSON
def audit(env: str | None, verify: bool, anchor: bool, adopt: str | None, last: int, as_json: bool) -> None:
    """Show who wrote what and when; with --verify, exit 1 if the log or a commit is not what it was."""
    from al_platform.health import audit as log
    from al_platform.project import project_loader

    loader = project_loader(env)
    if adopt is not None and (verify or anchor or not adopt.strip()):
        raise click.UsageError("Give --adopt alone, with a reason; look at what it says, then --verify.")
    if adopt is not None:
        adopted = log.adopt_commits(loader, adopt)
        if as_json:
            _print_json([asdict(entry) for entry in adopted])
        else:
            log.print_adopted(adopted)
    elif verify or anchor:
        _check(loader, verify, anchor, as_json)
    else:
        _show(loader, last, as_json)


def _show(loader: "FamilyConfigLoader", last: int, as_json: bool) -> None:
    from al_platform.health.audit import print_lines
    from al_platform.storage.audit_log import last_lines
    from al_platform.storage.store import open_store

    lines = last_lines(open_store(loader.root("logs")), last)
    if as_json:
        _print_json([line.model_dump(mode="json") for line in lines])
    else:
        print_lines(lines)


def _check(loader: "FamilyConfigLoader", verify: bool, anchor: bool, as_json: bool) -> None:
    from al_platform.health import audit as log
    from al_platform.stores import open_audit_log

    found = log.verify_environment(loader) if verify else None
    is_sound = found is None or not found.findings
    anchored = open_audit_log(loader).anchor_head() if anchor and is_sound else None
    if as_json:
        _print_json(log.check_as_json(found, anchored))
    else:
        log.print_check(found, anchored, is_asked_to_anchor=anchor)
    if not is_sound:
        raise click.exceptions.Exit(1)


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))
