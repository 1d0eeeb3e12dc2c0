"""What each cycle takes: bytes stored, seconds of computing, answers of people, and what that costs."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from al_platform.catalog.formats import format_named
from al_platform.catalog.outputs import read_output
from al_platform.config import Costs, FamilyConfigLoader
from al_platform.stages import STAGES
from al_platform.storage.commit_log import Manifest, StageKey, committed_cycles, head
from al_platform.storage.store import Store
from al_platform.stores import Stores

_INGEST = "annotation_ingest"
_MB = 1 << 20
_PARALLEL_READS = 8


@dataclass(frozen=True)
class Growth:
    """What one family's cycle, as committed last, took.

    Attributes:
        family: The model family.
        cycle: The month.
        size_bytes: Of all outputs of its stages. Traffic, models by digest and superseded attempts come on top.
        wall_s: From begin to commit, of all its stages.
        answers: Answers of annotators that it took in.
        cost: Of computing and answers, at the prices of ``globals.yml``.
        currency: Of the cost.
    """

    family: str
    cycle: str
    size_bytes: int
    wall_s: float
    answers: int
    cost: float
    currency: str


def growth_of(loader: FamilyConfigLoader, family: str, cycle: str) -> Growth:
    """Return what one cycle of a family took; zeros where nothing was committed."""
    stores = Stores.of_environment(loader)
    heads = {stage.name: head(stores.of_stage(stage.name), StageKey(family, cycle, stage.name)) for stage in STAGES}
    found = {name: manifest for name, manifest in heads.items() if manifest is not None}
    answers = _answers(stores.of_stage(_INGEST), found.get(_INGEST))
    seconds = sum(map(wall_s, found.values()))
    costs = loader.validated_globals.costs
    return Growth(
        family=family,
        cycle=cycle,
        size_bytes=sum(output.size for manifest in found.values() for output in manifest.outputs.values()),
        wall_s=round(seconds, 1),
        answers=answers,
        cost=round(_cost(costs, seconds, answers), 2),
        currency=costs.currency,
    )


def all_growth(loader: FamilyConfigLoader) -> list[Growth]:
    """Return what every committed cycle of every family took, by family, oldest first."""
    wanted = [(family, cycle) for family in loader.families for cycle in _cycles(loader, family)]
    # Many small reads: on a remote store each waits for the network.
    with ThreadPoolExecutor(_PARALLEL_READS) as pool:
        return list(pool.map(lambda pair: growth_of(loader, *pair), wanted))


def as_json(growth: list[Growth]) -> list[dict[str, Any]]:
    """Return the growth as ``kedro al status --growth --json`` prints it."""
    return [asdict(found) for found in growth]


def print_growth(growth: list[Growth], console: Console | None = None) -> None:
    """Print one line a family and cycle."""
    table = Table(title="What each cycle took", title_justify="left")
    for name in ("family", "cycle", "stored", "computing", "answers", "cost"):
        table.add_column(name, justify="left" if name in ("family", "cycle") else "right")
    for found in growth:
        table.add_row(found.family, found.cycle, *texts(found))
    (console or Console()).print(table)


def texts(growth: Growth) -> tuple[str, str, str, str]:
    """Return size, time, answers and cost for people."""
    size = f"{growth.size_bytes / _MB:,.1f} MB"
    return size, f"{growth.wall_s:,.0f} s", f"{growth.answers:,}", f"{growth.cost:,.2f} {growth.currency}"


def _cycles(loader: FamilyConfigLoader, family: str) -> list[str]:
    stores = Stores.of_environment(loader)
    found = (committed_cycles(stores.of_stage(stage.name), family, stage.name) for stage in STAGES)
    return sorted({cycle for cycles in found for cycle in cycles})


def _answers(store: Store, manifest: Manifest | None) -> int:
    if manifest is None:
        return 0
    report = read_output(store, manifest.outputs[f"{_INGEST}_report"], format_named("json"))
    return int(report["answers_taken"])


def wall_s(manifest: Manifest) -> float:
    """Return the seconds from the begin of a stage's run to its commit."""
    began, ended = (datetime.fromisoformat(at) for at in (manifest.started_at, manifest.ended_at))
    return max((ended - began).total_seconds(), 0.0)


def _cost(costs: Costs, seconds: float, answers: int) -> float:
    return costs.per_answer * answers + costs.per_hour * seconds / 3600
