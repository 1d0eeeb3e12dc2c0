"""The command ``kedro al report``. What is heavy is imported inside it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from kedro.framework.cli.utils import env_option

if TYPE_CHECKING:
    from al_platform.storage.commit_log import Output
    from al_platform.storage.store import Store

_STAGE, _NAME = "evaluation", "challenger_report"


@click.command()
@click.option("--family", required=True, help="Model family.")
@click.option("--cycle", default=None, help="Month, YYYY-MM; by default the newest one that was evaluated.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), default=None, help="Write a copy to FILE as well."
)
@env_option
def report(family: str, cycle: str | None, output: Path | None, env: str | None) -> None:
    """Say where the report on a challenger lies: one HTML file that opens in any browser."""
    from al_platform.catalog.formats import format_named
    from al_platform.catalog.outputs import read_output
    from al_platform.domain.errors import ConfigError, known_names
    from al_platform.project import project_loader
    from al_platform.stages import STAGE
    from al_platform.storage.store import open_store

    loader = project_loader(env)
    if family not in loader.families:
        raise ConfigError(f"There is no family {family!r}. {known_names(family, loader.families)}")
    store = open_store(loader.root(STAGE[_STAGE].data_class))
    committed = _committed(store, family, cycle)
    document = read_output(store, committed, format_named("html"))
    if output is not None:
        format_named("html").dump(document, output)
    click.echo(output or f"{store.root}/{committed.path}")


def _committed(store: "Store", family: str, cycle: str | None) -> "Output":
    """Return the report of a family's cycle, its newest by default.

    Raises:
        ConfigError: ``cycle`` is none.
        NotReadyError: There is no report.
    """
    from al_platform.domain.cycles import parse_cycle
    from al_platform.domain.errors import NotReadyError
    from al_platform.storage.commit_log import StageKey, committed_cycles, head

    cycles = [parse_cycle(cycle)] if cycle else committed_cycles(store, family, _STAGE)
    manifest = head(store, StageKey(family, cycles[-1], _STAGE)) if cycles else None
    output = manifest.outputs.get(_NAME) if manifest else None
    if output is None:
        asked = f" of {cycle}" if cycle else ""
        raise NotReadyError(
            f"{family} has no report{asked}: it is written when a challenger is evaluated. "
            f"Run: kedro run --pipelines=quarterly{f' --params cycle={cycle}' if cycle else ''}"
        )
    return output
