"""The command ``kedro al report``. What is heavy is imported inside it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from kedro.framework.cli.utils import env_option

if TYPE_CHECKING:
    from collections.abc import Mapping

    from al_platform.storage.commit_log import Output
    from al_platform.storage.store import Store

_STAGE, _NAME = "evaluation", "challenger_report"


@click.command()
@click.option("--family", required=True, help="Model family.")
@click.option("--cycle", default=None, help="Month, YYYY-MM; by default the newest one that was evaluated.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Write a copy to FILE as well, with what the training took in seconds and money.",
)
@env_option
def report(family: str, cycle: str | None, output: Path | None, env: str | None) -> None:
    """Say where the report on a challenger lies: one HTML file that opens in any browser."""
    from al_platform.catalog.champion import training_record
    from al_platform.catalog.formats import format_named
    from al_platform.catalog.outputs import read_output
    from al_platform.domain.errors import ConfigError, known_names
    from al_platform.project import project_loader
    from al_platform.reports.cost import with_cost
    from al_platform.stages import STAGE
    from al_platform.storage.store import open_store

    loader = project_loader(env)
    if family not in loader.families:
        raise ConfigError(f"There is no family {family!r}. {known_names(family, loader.families)}")
    store = open_store(loader.root(STAGE[_STAGE].data_class))
    committed = _committed(store, family, cycle)
    document = read_output(store, committed[_NAME], format_named("html"))
    if output is not None:
        verdict = read_output(store, committed["verdict"], format_named("json"))
        record = training_record(store, family, verdict["challenger_digest"])
        format_named("html").dump(with_cost(document, record), output)
    click.echo(output or f"{store.root}/{committed[_NAME].path}")


def _committed(store: "Store", family: str, cycle: str | None) -> "Mapping[str, Output]":
    """Return the outputs of a family's evaluation with its report: of a cycle, the newest by default.

    Raises:
        ConfigError: ``cycle`` is none.
        NotReadyError: There is no report.
    """
    from al_platform.domain.cycles import parse_cycle
    from al_platform.domain.errors import NotReadyError
    from al_platform.storage.commit_log import StageKey, committed_cycles, head

    cycles = [parse_cycle(cycle)] if cycle else committed_cycles(store, family, _STAGE)
    manifest = head(store, StageKey(family, cycles[-1], _STAGE)) if cycles else None
    if manifest is None or _NAME not in manifest.outputs:
        asked = f" of {cycle}" if cycle else ""
        raise NotReadyError(
            f"{family} has no report{asked}: it is written when a challenger is evaluated. "
            f"Run: kedro run --pipelines=quarterly{f' --params cycle={cycle}' if cycle else ''}"
        )
    return manifest.outputs
