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
    from al_platform.lineage.render import print_uses
    from al_platform.lineage.uses import page_uses

    uses = page_uses(loader, page_id)
    if as_json:
        click.echo(json.dumps([use.model_dump(mode="json") for use in uses], indent=2))
    elif uses:
        print_uses(uses)
    else:
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
    from al_platform.lineage.erase import erase_page, plan_erasure
    from al_platform.lineage.render import print_models, print_uses
    from al_platform.project import project_loader
    from al_platform.storage.audit_log import AuditLog
    from al_platform.storage.run_record import actor
    from al_platform.storage.store import open_store

    loader = project_loader(env)
    plan = plan_erasure(loader, page_id)
    if plan.uses:
        print_uses(plan.uses)
    print_models(plan.models)
    if dry_run:
        click.echo(f"Would take the page out of {len(plan.uses)} files. Nothing was changed.")
        return
    if plan.uses and not yes:
        click.confirm(f"Take the page out of {len(plan.uses)} files? This cannot be undone.", abort=True)
    audit = AuditLog(open_store(loader.root("logs")), actor())
    _say_what_was_done(erase_page(loader, page_id, reason, actor(), audit.record))


def _say_what_was_done(done: "Erasure") -> None:
    rows = sum(use.rows for use in done.uses)
    click.echo(f"Taken out of {len(done.uses)} files ({rows} rows), {done.versions} former versions removed.")
    click.echo(f"The page is known as {done.page_sha256} from now on; no import takes it again.")
    if done.leftovers:
        click.echo(
            f"{done.leftovers} interrupted writes are left on the stores and may hold the page: remove them when no "
            f"run is at work."
        )
