"""What the dashboard is made of, read from the heads of the logs: reports and figures, no data set as a whole."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from al_platform.catalog.champion import ChampionEntry, champion_log
from al_platform.catalog.formats import format_named
from al_platform.catalog.outputs import read_output
from al_platform.config import Costs
from al_platform.dashboard.options import DashboardOptions
from al_platform.domain.staleness import Staleness
from al_platform.domain.taxonomy import Taxonomy
from al_platform.records.shares import ClassCounts, Drift, predicted_counts, thresholds_of
from al_platform.reports.figures import DatasetCard, Figure, Gain, SetFigures, VerdictFigures, set_figures
from al_platform.stages import STAGES
from al_platform.storage.commit_log import Entry, Manifest, StageKey, parts_of, read_manifest
from al_platform.stores import Stores

_PARALLEL_READS = 8
_SECONDS_AN_HOUR = 3600
_MB = 1 << 20
_SCORING, _INGEST, _PREPARATION, _TRAINING, _EVALUATION = (
    *("scoring", "annotation_ingest", "preparation"),
    *("training", "evaluation"),
)

Row: TypeAlias = Mapping[str, Any]
"""A committed run as ``records.query.find_runs`` returns it."""
_Heads: TypeAlias = Mapping[str, Mapping[str, Row]]
_Asked = TypeVar("_Asked")
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Month:
    """What one cycle did.

    Attributes:
        cycle: The month.
        pages: Scored.
        answers: Taken in from annotators.
        labels: Concluded so far.
        agreement: Krippendorff's alpha of the answers so far to what was asked in this month; None where it cannot be
            measured.
        wall_s: Of all its stages.
        size_bytes: Of all its stages' outputs.
        cost: Of answers and computing, at the prices of ``globals.yml``.
        drift: None without predictions, or where what to compare with is not known.
    """

    cycle: str
    pages: int | None
    answers: int
    labels: int | None
    agreement: float | None
    wall_s: float
    size_bytes: int
    cost: float
    drift: Drift | None


@dataclass(frozen=True)
class Quarter:
    """What the gate decided in one cycle, and on what.

    Attributes:
        cycle: The month.
        verdict: The gate's.
        challenger: Its accuracy on traffic; None without audit pages.
        champion: The same of the champion before it; None before the first.
        gain: Challenger minus champion, macro-F1 on golden; None before the first champion.
        labelled: Share of the traffic, as drawn for the audit, that has a label.
        staleness: Past champions on the same audit pages.
        report: Path of the report on the challenger in the store of models.
    """

    cycle: str
    verdict: VerdictFigures
    challenger: Figure | None
    champion: Figure | None
    gain: Gain | None
    labelled: float | None
    staleness: Staleness | None
    report: str | None


@dataclass(frozen=True)
class Newest:
    """The newest cycle that a stage has done, and when it was committed."""

    cycle: str
    committed_at: str


@dataclass(frozen=True)
class FamilyEvidence:
    """Everything about one family, oldest first.

    Attributes:
        name: Of the family.
        months: Every cycle with a commit.
        quarters: Every cycle that was evaluated.
        champions: The champion log.
        newest: By stage; a stage that never ran is missing.
    """

    name: str
    months: tuple[Month, ...]
    quarters: tuple[Quarter, ...]
    champions: tuple[ChampionEntry, ...]
    newest: Mapping[str, Newest]


def read_family(
    name: str, rows: Sequence[Row], stores: Stores, costs: Costs, options: DashboardOptions, cache: Path
) -> FamilyEvidence:
    """Return what is known of a family.

    Args:
        name: Of the family.
        rows: The head of every stage and cycle of it.
        stores: Of the environment.
        costs: Prices.
        options: How large predictions may be.
        cache: Folder of the class counts that were made before.

    Raises:
        StoreError: A file that a log points to is missing or was changed.
    """
    heads: _Heads = {stage.name: {row["cycle"]: row for row in rows if row["stage"] == stage.name} for stage in STAGES}
    reader = _Reader(stores, heads, options, cache)
    drifts = reader.drifts()
    cycles = sorted({row["cycle"] for row in rows})
    return FamilyEvidence(
        name=name,
        months=tuple(_month(cycle, heads, costs, drifts.get(cycle)) for cycle in cycles),
        quarters=tuple(_together(reader.quarter, sorted(heads[_EVALUATION]))),
        champions=tuple(champion_log(stores.by_class["champion"], name)),
        newest={
            stage: Newest(max(found), found[max(found)]["committed_at"]) for stage, found in heads.items() if found
        },
    )


class _Reader:
    """Reads the outputs that the rows of one family point to."""

    def __init__(self, stores: Stores, heads: _Heads, options: DashboardOptions, cache: Path):
        self._stores = stores
        self._heads = heads
        self._max_bytes = options.max_predictions_mb * _MB
        self._cache = cache

    def quarter(self, cycle: str) -> Quarter:
        manifest = self._manifest(self._heads[_EVALUATION][cycle])
        read = {name: self._output(manifest, name) for name in ("evaluation", "verdict", "staleness")}
        figures = set_figures(read["evaluation"])
        traffic = figures["audit"].traffic if "audit" in figures else None
        report = manifest.outputs.get("challenger_report")
        return Quarter(
            cycle=cycle,
            verdict=VerdictFigures.model_validate(read["verdict"]),
            challenger=traffic.challenger.inclusion_weighted if traffic else None,
            champion=traffic.champion.inclusion_weighted if traffic and traffic.champion else None,
            gain=_gain(figures.get("golden")),
            labelled=traffic.response.share if traffic else None,
            staleness=Staleness.model_validate(read["staleness"]) if read["staleness"] else None,
            report=report.path if report else None,
        )

    def drifts(self) -> dict[str, Drift]:
        """Return the drift of every month of which it can be told."""
        wanted = {cycle: self._trained_in(row) for cycle, row in self._heads[_SCORING].items() if _is_scored(row)}
        known = {cycle: trained for cycle, trained in wanted.items() if trained is not None}
        references = sorted(set(known.values()))
        cards = dict(zip(references, _together(self._card, references), strict=True))
        counts = dict(zip(known, _together(self._counts, list(known)), strict=True))
        return {
            cycle: Drift(found.shares, _trained(cards[trained]), trained, found.pages)
            for cycle, trained in known.items()
            if (found := counts[cycle]) is not None and found.pages
        }

    def _trained_in(self, scoring: Row) -> str | None:
        """Return the cycle whose data set the scoring model was trained on.

        A model of somebody else's is compared with the pages that were labelled by then.
        """
        data = next((row["dataset"] for row in self._heads[_TRAINING].values() if row["model"] == scoring["model"]), "")
        prepared = self._heads[_PREPARATION]
        if data:
            return next((cycle for cycle, row in sorted(prepared.items()) if row["dataset"] == data), None)
        return max((cycle for cycle in prepared if cycle <= scoring["cycle"]), default=None)

    def _card(self, cycle: str) -> DatasetCard:
        manifest = self._manifest(self._heads[_PREPARATION][cycle])
        return DatasetCard.model_validate(self._output(manifest, "dataset_card"))

    def _counts(self, cycle: str) -> ClassCounts | None:
        row = self._heads[_SCORING][cycle]
        predictions = parts_of(self._manifest(row).outputs, "predictions")
        if sum(output.size for output in predictions) > self._max_bytes:
            return None
        taxonomy = Taxonomy.model_validate(row["parameters"]["taxonomy"])
        store = self._stores.of_stage(_SCORING)
        thresholds = thresholds_of(self._stores.by_class["models"], row["family"], row["model"], taxonomy)
        return predicted_counts(store, predictions, taxonomy, thresholds, self._cache)

    def _manifest(self, row: Row) -> Manifest:
        store = self._stores.of_stage(row["stage"])
        log = f"{StageKey(row['family'], row['cycle'], row['stage']).prefix}/log"
        return read_manifest(store, Entry.model_validate_json(store.read(f"{log}/{row['number']:06d}.json")))

    def _output(self, manifest: Manifest, name: str) -> Any:
        output = manifest.outputs.get(name)
        return read_output(self._stores.of_stage(manifest.stage), output, format_named("json")) if output else {}


def _together(read: Callable[[_Asked], _Read], asked: Sequence[_Asked]) -> list[_Read]:
    """Return what is read for each; many small reads wait for the network together."""
    with ThreadPoolExecutor(_PARALLEL_READS) as pool:
        return list(pool.map(read, asked))


def _month(cycle: str, heads: _Heads, costs: Costs, drift: Drift | None) -> Month:
    rows = [found[cycle] for found in heads.values() if cycle in found]
    ingested = heads[_INGEST]
    ingest = _figures(ingested.get(cycle))
    # Later answers to a month's pages are in the newest report alone.
    newest = _figures(ingested[max(ingested)]) if ingested else {}
    answers = int(ingest.get("answers_taken", 0))
    wall_s = sum(row["wall_s"] for row in rows)
    return Month(
        cycle=cycle,
        pages=_figures(heads[_SCORING].get(cycle)).get("pool"),
        answers=answers,
        labels=ingest.get("labels"),
        agreement=newest.get(f"agreement_by_cycle.{cycle}"),
        wall_s=wall_s,
        size_bytes=sum(row["size_bytes"] for row in rows),
        cost=costs.per_answer * answers + costs.per_hour * wall_s / _SECONDS_AN_HOUR,
        drift=drift,
    )


def _figures(row: Row | None) -> Mapping[str, Any]:
    return row["figures"] if row else {}


def _is_scored(scoring: Row) -> bool:
    return scoring["model"] is not None


def _gain(golden: SetFigures | None) -> Gain | None:
    return golden.difference if golden and golden.champion else None


def _trained(card: DatasetCard) -> Mapping[str, float]:
    counts = card.class_balance.get("train", {})
    return ClassCounts(pages=card.sets.get("train", 0), counts=counts).shares


def rows_by_family(rows: Iterable[Row], families: Iterable[str]) -> dict[str, list[Row]]:
    """Return the rows of each family; of one that never ran there are none."""
    found: dict[str, list[Row]] = {family: [] for family in families}
    for row in rows:
        if row["family"] in found:
            found[row["family"]].append(row)
    return found
