"""Months and quarters on a source that knows the truth: what the loop does to accuracy on traffic, cycle by cycle.

It runs and measures as a replay does, but in the environment's own store, and until a second champion has chosen.
"""

import logging
from pathlib import Path
from typing import NamedTuple

from kedro.framework.startup import bootstrap_project
from rich.console import Console
from rich.table import Table

from al_platform.catalog.champion import champion_before
from al_platform.config import FamilyConfigLoader
from al_platform.domain.cycles import MONTHS_PER_QUARTER, parse_cycle, shift_cycle
from al_platform.domain.estimators import Estimate
from al_platform.replay.measure import Models, first_champion, sample_of
from al_platform.replay.stages import Loop
from al_platform.storage.store import open_store

LOG = logging.getLogger("al_platform")
MEASURED_PAGES = 2_000  # of a month's traffic: macro-F1 within about two points


class Standing(NamedTuple):
    """Macro-F1 on a month's traffic, of the champion in use and of the first champion left as it was."""

    cycle: str
    family: str
    generation: int
    champion: Estimate
    frozen: Estimate


def run_loop(project: Path, env: str, start: str, max_quarters: int) -> bool:
    """Run month after month, and a quarter after each third, until a second-generation champion has chosen a batch.

    Every run is a Kedro run of its own; one that has been committed is not done again.

    Returns:
        Whether a second-generation champion chose a batch before ``max_quarters`` quarters were over.
    """
    bootstrap_project(project)
    loop, console = Loop(project, env), Console()
    cycle = parse_cycle(start)
    standings: list[Standing] = []
    for month in range(max_quarters * MONTHS_PER_QUARTER + 1):
        LOG.info("monthly %s", cycle)
        loader = loop.run("monthly", cycle)
        found = (_standing(loader, family, cycle) for family in loader.families)
        standings += [standing for standing in found if standing is not None]
        _print_standings(standings, console)
        second = [standing.family for standing in standings if standing.generation > 1]
        if second:
            console.print(f"A second-generation champion of {', '.join(second)} chose the batch of {cycle}.")
            return True
        if month < max_quarters * MONTHS_PER_QUARTER and month % MONTHS_PER_QUARTER == MONTHS_PER_QUARTER - 1:
            LOG.info("quarterly %s", cycle)
            loop.run("quarterly", cycle)
        cycle = shift_cycle(cycle, 1)
    console.print(
        f"After {max_quarters} quarters no family has a second-generation champion. The verdicts above say why; "
        f"more quarters (--max-quarters) or a larger selection.budget give the gate more rows."
    )
    return False


def _standing(loader: FamilyConfigLoader, family: str, cycle: str) -> Standing | None:
    champions = open_store(loader.root("champion"))
    in_use, first = champion_before(champions, family, cycle), first_champion(champions, family)
    if in_use is None or first is None:
        return None
    models = Models(loader, family, sample_of(loader, family, cycle, MEASURED_PAGES))
    champion, frozen = (models.macro_f1(digest) for digest in (in_use.model_digest, first))
    return Standing(cycle, family, in_use.number, champion, frozen)


def _print_standings(standings: list[Standing], console: Console) -> None:
    if not standings:
        return
    table = Table(title="Macro-F1 on traffic, against the synthetic web's own truth", title_justify="left")
    for column in ("cycle", "family", "champion", "champion in use", "first champion, frozen"):
        table.add_column(column)
    for each in standings:
        table.add_row(each.cycle, each.family, f"no. {each.generation}", _text(each.champion), _text(each.frozen))
    console.print(table)


def _text(figure: Estimate) -> str:
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"
