"""Commands: Kedro's ``run`` with the project's runner, and ``kedro al``.

Everything heavy is imported inside the commands, so that ``kedro --help`` stays quick.
"""

import copy
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import env_option

from al_platform.budget.cli import plan_budget
from al_platform.champions.cli import champions, promote, rollback
from al_platform.dashboard.cli import dashboard
from al_platform.domain.errors import AlPlatformError
from al_platform.export.cli import export
from al_platform.export.package import package_command
from al_platform.governance.cli import governance
from al_platform.health.cli import audit, doctor
from al_platform.lineage.cli import erase, lineage
from al_platform.monitoring.cli import monitor
from al_platform.onboarding.cli import new_family
from al_platform.publishing.cli import sync
from al_platform.rebuild.cli import rebuild
from al_platform.records.cli import query
from al_platform.replay.cli import replay
from al_platform.reports.cli import report
from al_platform.selfcheck.cli import selfcheck
from al_platform.storage.redaction import redact

if TYPE_CHECKING:
    import pyarrow as pa

    from al_platform.config import FamilyConfigLoader
    from al_platform.importing import Imported, ImportedFile
    from al_platform.stages import DataClass
    from al_platform.storage.audit_log import AuditLog
    from al_platform.storage.erasures import ErasedPages
    from al_platform.storage.store import Store


class UserErrors(click.Group):
    """A group whose commands print errors that a user can act on without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except AlPlatformError as error:
            raise click.ClickException(redact(str(error))) from error


@click.group(name="al-platform")
def cli() -> None:
    """Commands of al-platform."""


def _run_command() -> click.Command:
    """Return Kedro's ``run`` with the runner that lets a family fail alone."""
    command = copy.copy(kedro_run)
    command.params = [copy.copy(parameter) for parameter in kedro_run.params]
    runner = next(parameter for parameter in command.params if parameter.name == "runner")
    runner.default = "al_platform.runner.FamilyRunner"
    command.callback = _without_traceback(kedro_run.callback)
    return command


def _without_traceback(callback: Any) -> Any:
    @functools.wraps(callback)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return callback(*args, **kwargs)
        except AlPlatformError as error:
            raise click.ClickException(redact(str(error))) from error

    return call


cli.add_command(_run_command())
cli.add_command(package_command())


@cli.group(name="al", cls=UserErrors)
@click.option("--experiment", default=None, metavar="NAME", help="Look at this experiment instead of production.")
@click.pass_context
def al(context: click.Context, experiment: str | None) -> None:
    """See where the loop stands, bring your own data in, and answer for what is stored."""
    from al_platform.project import EXPERIMENT

    context.meta[EXPERIMENT] = experiment


for command in (
    *(audit, champions, dashboard, doctor, erase, export, governance),
    *(lineage, plan_budget, monitor, new_family, promote, query, rebuild, replay, report, rollback, selfcheck, sync),
):
    al.add_command(command)


@al.command()
@env_option
@click.option("--cycle", default=None, help="Month, YYYY-MM; by default the newest one with any result.")
@click.option("--growth", "is_growth", is_flag=True, help="Show what each cycle took: bytes, time, answers, cost.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(env: str | None, cycle: str | None, is_growth: bool, as_json: bool) -> None:
    """Show where every family stands."""
    from al_platform.domain.cycles import parse_cycle
    from al_platform.project import project_loader
    from al_platform.status import print_status, public_status, read_status

    if is_growth:
        _show_growth(project_loader(env), as_json)
        return
    found = read_status(project_loader(env), parse_cycle(cycle) if cycle else None)
    if as_json:
        click.echo(json.dumps(public_status(found), indent=2))
    else:
        print_status(found)


def _show_growth(loader: "FamilyConfigLoader", as_json: bool) -> None:
    from al_platform import growth

    found = growth.all_growth(loader)
    if as_json:
        click.echo(json.dumps(growth.as_json(found), indent=2))
    else:
        growth.print_growth(found)


_FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
_CYCLE = click.option("--cycle", required=True, help="Month of the traffic, YYYY-MM.")
_FAMILY = click.option("--family", required=True, help="Name of the model family.")
_MAP = click.option(
    "--map", "mapping", multiple=True, metavar="OURS=THEIRS", help="Take our column from theirs; repeat for more."
)
_ID = click.option(
    "--id",
    "id_rule",
    default="page_id",
    show_default=True,
    help="Where page ids come from: a column of ids, or another column (url, text) to hash.",
)


_SEPARATOR = click.option(
    "--separator", default=None, help="What stands between several labels in one string, for instance '|'."
)


@al.command("import-pages")
@_FILE
@_CYCLE
@_MAP
@_ID
@_SEPARATOR
@env_option
def import_pages(
    file: Path, cycle: str, mapping: tuple[str, ...], id_rule: str, separator: str | None, env: str | None
) -> None:
    """Bring in a month's pages from FILE (CSV, JSONL or Parquet).

    A column truth_FAMILY holds true answers; only simulated annotators read it, --separator divides its labels.
    """
    from al_platform import importing
    from al_platform.catalog.formats import read_parquet
    from al_platform.domain.cycles import parse_cycle

    target = _Target.of(env, "traffic", f"{parse_cycle(cycle)}/pages", f"pages of {cycle}")
    table = _read(file, mapping, id_rule)
    digest = importing.table_digest(table, separator)
    if target.has(digest, file):
        return
    known = [
        page_id
        for stored in target.store.list(target.folder)
        for page_id in read_parquet(target.store.local(stored)).column("page_id").to_pylist()
    ]
    imported = importing.check_pages(table, known, separator, target.erased)
    target.add(imported, digest)
    for family in target.loader.families:
        if unusable := importing.unusable_truth(imported.table, family, _taxonomy(target.loader, family)):
            click.echo(f"{unusable:,} pages have no valid answer in truth_{family}; simulated annotators leave them.")


@al.command("import-labels")
@_FILE
@_FAMILY
@_MAP
@_ID
@_SEPARATOR
@env_option
def import_labels(
    file: Path, family: str, mapping: tuple[str, ...], id_rule: str, separator: str | None, env: str | None
) -> None:
    """Bring in labelled pages of a family from FILE (CSV, JSONL or Parquet; columns text and values)."""
    from al_platform import importing
    from al_platform.catalog.labels import labels_folder

    target = _Target.of(env, "labels", labels_folder(family), f"labels of {family}")
    taxonomy = _taxonomy(target.loader, family)
    table = _read(file, mapping, id_rule)
    digest = importing.table_digest(table, separator, taxonomy)
    if not target.has(digest, file):
        target.add(importing.check_labels(table, taxonomy, separator, target.erased), digest)


@al.command("import-predictions")
@_FILE
@_FAMILY
@_CYCLE
@_MAP
@_ID
@click.option("--label-order", default=None, help="Labels that the probabilities stand for, separated by commas.")
@click.option("--model-version", required=True, help="Name of the model that made the log.")
@env_option
def import_predictions(
    file: Path,
    family: str,
    cycle: str,
    mapping: tuple[str, ...],
    id_rule: str,
    label_order: str | None,
    model_version: str,
    env: str | None,
) -> None:
    """Bring in the log of a production model: its predictions take the champion's place in scoring."""
    from al_platform import importing
    from al_platform.catalog.traffic import predictions_folder
    from al_platform.domain.cycles import parse_cycle
    from al_platform.progress import progress
    from al_platform.storage.scratch import temporary_folder

    folder = predictions_folder(family, parse_cycle(cycle))
    target = _Target.of(env, "traffic", folder, f"predictions of {family} {cycle}")
    taxonomy = _taxonomy(target.loader, family)
    order = [label.strip() for label in label_order.split(",")] if label_order else None
    names = _names(mapping)
    digest = importing.file_digest(file, sorted(names.items()), id_rule, order, model_version, taxonomy)
    if target.has(digest, file):
        return
    read = (importing.with_page_ids(table, id_rule) for table in importing.read_batches(file, names, id_rule))
    tables = progress(read, total=None, what="checking predictions")
    with temporary_folder() as scratch:
        log = Path(scratch) / "predictions.parquet"
        target.add(importing.check_log(tables, taxonomy, order, model_version, target.erased, log), digest)


@al.command()
@click.option("--env", "-e", default="synthetic", show_default=True, help="Kedro configuration environment.")
@click.option("--start", default="2026-01", show_default=True, help="First cycle, YYYY-MM.")
@click.option("--max-quarters", default=4, show_default=True, type=click.IntRange(min=1), help="Give up after these.")
def loop(env: str, start: str, max_quarters: int) -> None:
    """Run months and quarters until a second-generation champion chooses the next batch."""
    from al_platform.loop import run_loop
    from al_platform.project import project_folder

    if not run_loop(project_folder(), env, start, max_quarters):
        raise click.exceptions.Exit(1)


def _taxonomy(loader: "FamilyConfigLoader", family: str) -> Any:
    from al_platform.domain.errors import ConfigError, known_names
    from al_platform.domain.taxonomy import Taxonomy

    parameters = loader["parameters"]
    if family not in loader.families:
        raise ConfigError(f"There is no family {family!r}. {known_names(family, loader.families)}")
    return Taxonomy.model_validate(parameters[family]["taxonomy"])


def _read(file: Path, mapping: tuple[str, ...], id_rule: str) -> "pa.Table":
    from al_platform import importing

    return importing.with_page_ids(importing.read_file(file, _names(mapping), id_rule), id_rule)


def _names(mapping: tuple[str, ...]) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in mapping]
    for ours, equals, theirs in pairs:
        if not (ours and equals and theirs):
            raise click.BadParameter(f"{ours + equals + theirs!r} is not of the form OURS=THEIRS.", param_hint="--map")
    return {ours: theirs for ours, _, theirs in pairs}


@dataclass(frozen=True)
class _Target:
    """Where imported rows go, and what they are called."""

    loader: "FamilyConfigLoader"
    store: "Store"
    folder: str
    what: str
    audit: "AuditLog"

    @classmethod
    def of(cls, env: str | None, data_class: "DataClass", folder: str, what: str) -> "_Target":
        from al_platform.catalog.traffic import IMPORTED
        from al_platform.domain.errors import ConfigError
        from al_platform.project import project_loader
        from al_platform.storage.store import open_store
        from al_platform.stores import open_audit_log

        loader = project_loader(env)
        if (source := loader.validated_globals.traffic.source) != IMPORTED:
            raise ConfigError(
                f"The environment {env or 'local'!r} takes its traffic from {source!r}, and your data must not mix "
                f"with it. Make an environment with 'traffic: {{source: imported}}' and a root of its own, as "
                f"docs/own-data.md shows, and give its name with --env."
            )
        return cls(loader, open_store(loader.root(data_class)), folder, what, open_audit_log(loader))

    @property
    def erased(self) -> "ErasedPages":
        from al_platform.storage.erasures import ErasedPages

        return ErasedPages.of(self.store)

    def has(self, digest: str, file: Path) -> bool:
        from al_platform.catalog.traffic import has_table

        is_there = has_table(self.store, self.folder, digest)
        if is_there:
            click.echo(f"{file.name} is imported already; nothing was added to the {self.what}.")
        return is_there

    def add(self, imported: "Imported | ImportedFile", digest: str) -> None:
        from al_platform import importing
        from al_platform.storage.audit_log import anchor_quietly

        self.audit.record("import", {"what": self.what, "folder": self.folder, "rows": imported.rows})
        quarantine = importing.store_imported(self.store, self.folder, imported, digest)
        anchor_quietly(self.audit)
        click.echo(f"{imported.rows:,} {self.what} taken.")
        if quarantine:
            reasons = ", ".join(f"{count} {reason}" for reason, count in imported.reasons.items())
            click.echo(f"{imported.quarantine.num_rows:,} rows set aside ({reasons}): {quarantine}")
