"""The commands ``kedro al lineage`` and ``kedro al erase``. What is heavy is imported inside them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from kedro.framework.cli.utils import env_option

if TYPE_CHECKING:
    from al_platform.config import FamilyConfigLoader
    from al_platform.lineage.erase import Erasure


@click.command()
@click.argument("model", required=False)
@click.option("--page", "page_id", default=None, help="Show where this page was used instead.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--picture", type=click.Path(dir_okay=False, path_type=Path), default=None, help="Write a picture (SVG) to FILE."
)
@env_option
def lineage(model: str | None, page_id: str | None, as_json: bool, picture: Path | None, env: str | None) -> None:
    """Show what MODEL came from, or where a page was used.

    MODEL is a digest, the beginning of one, or a family's name for its newest. Ends with 1 where a file on the way is
    missing or was altered.
    """
    from al_platform.project import project_loader

    if (model is None) == (page_id is None):
        raise click.UsageError("Give a MODEL, or a page with --page, and not both.")
    if picture and (page_id or picture.suffix != ".svg"):
        raise click.BadParameter("A picture is of a model, in a file that ends in .svg.", param_hint="--picture")
    loader = project_loader(env)
    if page_id is not None:
        _show_uses(loader, page_id, as_json)
    elif model is not None:
        _show_lineage(loader, model, as_json, picture)


def _show_lineage(loader: "FamilyConfigLoader", model: str, as_json: bool, picture: Path | None) -> None:
    from al_platform.lineage.picture import lineage_svg
    from al_platform.lineage.render import print_lineage
    from al_platform.lineage.trace import model_lineage

    found = model_lineage(loader, model)
    if picture:
        picture.write_text(lineage_svg(found), encoding="utf-8")
    if as_json:
        click.echo(found.model_dump_json(indent=2))
    else:
        print_lineage(found)
    if found.damaged:
        raise click.exceptions.Exit(1)


def _show_uses(loader: "FamilyConfigLoader", page_id: str, as_json: bool) -> None:
    from al_platform.lineage.render import print_erasures, print_uses
    from al_platform.lineage.uses import page_erasures, page_uses

    uses = page_uses(loader, page_id)
    _say_if_short(page_id)
    if as_json:
        click.echo(json.dumps([use.model_dump(mode="json") for use in uses], indent=2))
        return
    print_erasures(page_erasures(loader, page_id))
    print_uses(uses)
    if all(use.is_of_model for use in uses):
        click.echo("No file names this page.")


@click.command()
@click.argument("page_id")
@click.option("--reason", required=True, help="Why, for instance a ticket number; it is kept, so leave the page out.")
@click.option("--dry-run", is_flag=True, help="List what would change, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@env_option
def erase(page_id: str, reason: str, dry_run: bool, yes: bool, env: str | None) -> None:
    """Take a page out of every file: a privacy request. No run should be at work meanwhile.

    Models are not changed; those that saw the page are named.
    """
    from al_platform.lineage.erase import carry_out, plan_erasure
    from al_platform.lineage.render import print_models, print_uses
    from al_platform.project import project_loader
    from al_platform.storage.audit_log import anchor_quietly
    from al_platform.storage.run_record import actor
    from al_platform.stores import open_audit_log

    loader = project_loader(env)
    plan = plan_erasure(loader, page_id, reason)
    if plan.uses:
        print_uses(plan.uses)
    print_models(plan.models)
    _say_if_short(page_id)
    what = f"the page out of {len(plan.uses)} files and {len(plan.former)} former versions"
    if dry_run:
        click.echo(f"Would take {what}. Nothing was changed.")
        return
    if not plan.is_empty and not yes:
        click.confirm(f"Take {what}? This cannot be undone.", abort=True)
    audit = open_audit_log(loader)
    done = carry_out(plan, actor(), audit.record)
    anchor_quietly(audit)
    _say_what_was_done(done)


def _say_what_was_done(done: "Erasure") -> None:
    rows = sum(use.rows for use in done.uses)
    click.echo(f"Taken out of {len(done.uses)} files ({rows} rows).")
    _say_what_became_of_versions(done)
    click.echo(f"The page is known as {done.page_sha256} from now on; no import takes it again.")
    if done.leftovers:
        click.echo(
            f"{done.leftovers} interrupted writes are left on the stores and may hold the page: remove them when no "
            f"run is at work, with kedro al doctor --fix."
        )
    if done.unasked:
        click.echo(
            f"Warning: interrupted writes may hold the page and were not looked for. {done.unasked[0]}", err=True
        )


def _say_what_became_of_versions(done: "Erasure") -> None:
    if done.versions_searched or not done.unanswered:
        click.echo(f"Of {done.versions_searched} former versions, {done.versions} held the page and are removed.")
    if done.unanswered:
        click.echo(
            f"Former versions below {', '.join(done.unanswered)} cannot be seen from here: they are the bucket's own "
            f"business. If it keeps versions, erase again in an environment whose root is the s3:// address of the "
            f"same place, or wait until the bucket's lifecycle has ended them."
        )


def _say_if_short(page_id: str) -> None:
    from al_platform.lineage.mentions import SHORTEST_MENTION, PageId

    if PageId(page_id).is_word:
        click.echo(
            f"An id shorter than {SHORTEST_MENTION} characters is not looked for in prose: logs of runs, details of "
            f"quarantines, and files of unknown endings. Search them by hand.",
            err=True,
        )
