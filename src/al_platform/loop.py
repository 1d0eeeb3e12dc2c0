"""Months and quarters on a source that knows the truth: what the loop does to accuracy on traffic, cycle by cycle."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from rich.console import Console
from rich.table import Table

from al_platform.catalog.champion import champion_before, champion_log, load_model
from al_platform.catalog.formats import read_parquet
from al_platform.catalog.traffic import stored_pages
from al_platform.config import FamilyConfigLoader
from al_platform.domain.cycles import MONTHS_PER_QUARTER, parse_cycle, shift_cycle
from al_platform.domain.estimators import Estimate, macro_f1_estimate
from al_platform.domain.pages import page_text
from al_platform.domain.selection.random_order import random_order
from al_platform.domain.taxonomy import Taxonomy
from al_platform.runner import FamilyRunner
from al_platform.storage.store import open_store

LOG = logging.getLogger("al_platform")
MEASURED_PAGES = 2_000  # of a month's traffic: macro-F1 within about two points
SEED = 0


class Point(NamedTuple):
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
    console = Console()
    cycle = parse_cycle(start)
    points: list[Point] = []
    for month in range(max_quarters * MONTHS_PER_QUARTER + 1):
        loader = _run(project, env, "monthly", cycle)
        points += _measure(loader, cycle)
        _print_points(points, console)
        second = [point.family for point in points if point.generation > 1]
        if second:
            console.print(f"A second-generation champion of {', '.join(second)} chose the batch of {cycle}.")
            return True
        if month < max_quarters * MONTHS_PER_QUARTER and month % MONTHS_PER_QUARTER == MONTHS_PER_QUARTER - 1:
            _run(project, env, "quarterly", cycle)
        cycle = shift_cycle(cycle, 1)
    console.print(
        f"After {max_quarters} quarters no family has a second-generation champion. The verdicts above say why; "
        f"more quarters (--max-quarters) or a larger selection.budget give the gate more rows."
    )
    return False


def _run(project: Path, env: str, pipeline: str, cycle: str) -> FamilyConfigLoader:
    LOG.info("%s %s", pipeline, cycle)
    with KedroSession.create(project, env=env, runtime_params={"cycle": cycle}) as session:
        assert isinstance(session, KedroSession)
        session.run(pipeline_names=[pipeline], runner=FamilyRunner(), only_missing_outputs=True)
        loader = session.load_context().config_loader
        assert isinstance(loader, FamilyConfigLoader)
        return loader


def _measure(loader: FamilyConfigLoader, cycle: str) -> list[Point]:
    sample = _traffic_sample(loader, cycle)
    return [point for family in loader.families if (point := _point(loader, family, cycle, sample)) is not None]


def _traffic_sample(loader: FamilyConfigLoader, cycle: str) -> pa.Table:
    store = open_store(loader.root("traffic"))
    traffic = loader.validated_globals.traffic.model_dump(mode="json")
    files = stored_pages(store, cycle, traffic)
    pages = pa.concat_tables([read_parquet(store.local(file)) for file in files])
    order = random_order(pages["page_id"], f"{cycle}|measure|{SEED}")
    return pages.take(pa.array(order[:MEASURED_PAGES]))


def _point(loader: FamilyConfigLoader, family: str, cycle: str, sample: pa.Table) -> Point | None:
    champions, models = open_store(loader.root("champion")), open_store(loader.root("models"))
    in_use = champion_before(champions, family, cycle)
    if in_use is None:
        return None
    first = champion_log(champions, family)[0]
    taxonomy = Taxonomy.model_validate(loader["parameters"][family]["taxonomy"])
    truth = taxonomy.encode(sample[f"truth_{family}"].to_pylist())
    texts = [page_text(*pair) for pair in zip(sample["title"].to_pylist(), sample["text"].to_pylist(), strict=True)]

    def figure(digest: str) -> Estimate:
        classifier = load_model(models, family, digest).classifier
        decisions = classifier.decide(classifier.score(texts).probabilities)
        return macro_f1_estimate(truth, np.asarray(decisions), set_name="traffic", seed=SEED)

    champion = figure(in_use.model_digest)
    frozen = champion if in_use.model_digest == first.model_digest else figure(first.model_digest)
    return Point(cycle, family, in_use.number, champion, frozen)


def _print_points(points: list[Point], console: Console) -> None:
    if not points:
        return
    table = Table(title="Macro-F1 on traffic, against the synthetic web's own truth", title_justify="left")
    for column in ("cycle", "family", "champion", "champion in use", "first champion, frozen"):
        table.add_column(column)
    for point in points:
        table.add_row(point.cycle, point.family, f"no. {point.generation}", _text(point.champion), _text(point.frozen))
    console.print(table)


def _text(figure: Estimate) -> str:
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"
