"""What the dashboard says: figures of all families side by side, what needs attention, and every run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from al_platform.catalog.champion import ChampionEntry
from al_platform.dashboard import drawings
from al_platform.dashboard.attention import Notice, headline, notices_of
from al_platform.dashboard.drawings import Scales, bounds, percent, points
from al_platform.dashboard.evidence import FamilyEvidence, Quarter
from al_platform.dashboard.freshness import FreshnessRow, freshness_of
from al_platform.dashboard.job_runs import JobRun
from al_platform.dashboard.links import Links, web_link
from al_platform.dashboard.options import DashboardOptions
from al_platform.dashboard.told import Tone, minute
from al_platform.reports.drawings import Chart
from al_platform.reports.figures import NONE, Figure, interval, number, signed, words
from al_platform.stages import STAGES

_DIGEST_CHARS = 8
_ERROR_CHARS = 240


class Fact(NamedTuple):
    """A figure of a family, with what it is of."""

    name: str
    value: str
    detail: str = ""


class Promise(NamedTuple):
    """Whether a family's models improve from quarter to quarter, losses named."""

    title: str
    detail: str
    tone: Tone


class QuarterRow(NamedTuple):
    """A verdict with the figures it goes with; ``change`` is better or worse as seen from the challenger."""

    cycle: str
    verdict: str
    challenger: Figure | None
    champion: Figure | None
    gain: str
    bounds: str
    change: str
    link: str | None
    path: str | None


class ChampionRow(NamedTuple):
    """An entry of the champion log; the last one is in use."""

    number: int
    cycle: str
    model: str
    by: str
    verdict: str
    reason: str
    at: str


class MoveRow(NamedTuple):
    """A class of the newest month: its share of predictions and of the training pages."""

    label: str
    trained: str
    predicted: str
    move: str
    is_over: bool


class RunRow(NamedTuple):
    """One Kedro run."""

    state: str
    tone: Tone
    what: str
    cycle: str
    where: str
    began: str
    lasted: str
    error: str
    scheduler: str | None
    log: str | None
    run_id: str


@dataclass(frozen=True)
class FamilyView:
    """Everything that is shown of a family; a chart is None where there is nothing to draw."""

    name: str
    verdict: str
    promise: Promise
    facts: tuple[Fact, ...]
    accuracy: Chart | None
    gains: Chart | None
    labels: Chart | None
    costs: Chart | None
    agreement: Chart | None
    drift: Chart | None
    moves: tuple[MoveRow, ...]
    moves_note: str
    quarters: tuple[QuarterRow, ...]
    champions: tuple[ChampionRow, ...]


@dataclass(frozen=True)
class Source:
    """Where the figures are from.

    Attributes:
        environment: Kedro's configuration environment.
        experiment: None for production.
        currency: Of the costs.
        next_command: What begins the loop, where nothing has run.
        models_root: Of the reports; None where links to them cannot be made.
        logs_root: Of the logs.
        links: How they are reached from where the page lies.
        now: When the page is made, UTC.
    """

    environment: str
    experiment: str | None
    currency: str
    next_command: str | None
    models_root: str | None
    logs_root: str
    links: Links
    now: datetime


@dataclass(frozen=True)
class Dashboard:
    """The page."""

    source: Source
    made_at: str
    headline: str
    notices: tuple[Notice, ...]
    families: tuple[FamilyView, ...]
    freshness: tuple[FreshnessRow, ...]
    runs: tuple[RunRow, ...]
    has_cycles: bool
    agreement_floor: float
    drift_limit: float


def build_dashboard(
    families: Sequence[FamilyEvidence], runs: Sequence[JobRun], source: Source, options: DashboardOptions
) -> Dashboard:
    """Return the page on these families and runs.

    Args:
        families: In the order in which they are shown.
        runs: Newest first.
        source: Where all this is from.
        options: Limits.
    """
    scales = Scales.of(families, source.currency, options.drift_limit, options.agreement_floor)
    freshness = tuple(freshness_of(stage, families, source.now, options) for stage in STAGES)
    notices = notices_of(families, freshness, runs, options)
    return Dashboard(
        source=source,
        made_at=minute(source.now.astimezone(UTC).isoformat()),
        headline=headline(families, notices),
        notices=notices,
        families=tuple(_family_view(family, scales, source, options) for family in families),
        freshness=freshness,
        runs=tuple(_run_row(run, source) for run in runs),
        has_cycles=any(family.months for family in families),
        agreement_floor=options.agreement_floor,
        drift_limit=options.drift_limit,
    )


def promise(quarters: Sequence[Quarter]) -> Promise:
    """Return how often a challenger was better than its champion, and what standing still would have cost."""
    judged = [(quarter, quarter.gain) for quarter in quarters if quarter.gain]
    if not judged:
        title = "No challenger met a champion yet" if quarters else "No model was judged yet"
        return Promise(title, "", "quiet")
    losses = [
        f"{quarter.cycle} ({signed(gain.point)}, {quarter.verdict.verdict})"
        for quarter, gain in judged
        if gain.point <= 0
    ]
    better = len(judged) - len(losses)
    told = [_standing_still(quarters[-1]), f"Not better: {', '.join(losses)}." if losses else ""]
    of = "quarter" if len(judged) == 1 else "quarters"
    often = "in every quarter" if not losses else f"in {better} of {len(judged)} {of}"
    tone: Tone = "good" if not losses else "warning" if better else "bad"
    return Promise(f"Better than the champion before {often}", " ".join(filter(None, told)), tone)


def _standing_still(newest: Quarter) -> str:
    curve = newest.staleness
    if curve is None or not curve.champions:
        return ""
    first = curve.champions[0]
    return (
        f"On the audit pages of {newest.cycle} the challenger has {signed(first.gain.point)} macro-F1 against the "
        f"champion of {first.cycle} ({bounds(first.gain.lower, first.gain.upper)})."
    )


def _family_view(family: FamilyEvidence, scales: Scales, source: Source, options: DashboardOptions) -> FamilyView:
    newest = next((month.drift for month in reversed(family.months) if month.drift), None)
    return FamilyView(
        name=family.name,
        verdict=family.quarters[-1].verdict.verdict if family.quarters else "no verdict yet",
        promise=promise(family.quarters),
        facts=_facts(family, source.currency),
        accuracy=drawings.accuracy(family, scales),
        gains=drawings.gains(family, scales),
        labels=drawings.labels(family, scales),
        costs=drawings.costs(family, scales),
        agreement=drawings.agreement(family, scales, options.agreement_floor),
        drift=drawings.drift(family, scales, options.drift_limit),
        moves=tuple(
            MoveRow(
                label,
                percent(newest.trained.get(label, 0.0)),
                percent(newest.predicted[label]),
                points(move),
                abs(move) > options.drift_limit,
            )
            for label, move in newest.moves.items()
        )
        if newest
        else (),
        moves_note=f"Trained on the data of {newest.trained_in}." if newest else "",
        quarters=tuple(_quarter_row(quarter, source) for quarter in reversed(family.quarters)),
        champions=tuple(_champion_row(entry) for entry in reversed(family.champions)),
    )


def _facts(family: FamilyEvidence, currency: str) -> tuple[Fact, ...]:
    newest = family.months[-1] if family.months else None
    cost = sum(month.cost for month in family.months)
    counted = [month.labels for month in family.months if month.labels is not None]
    in_use = family.champions[-1] if family.champions else None
    each = f"{number(cost / counted[-1], 2)} a label" if counted and counted[-1] else ""
    return (
        _accuracy_in_use(family),
        Fact("Champion", in_use.model_digest[:_DIGEST_CHARS], f"since {in_use.cycle}")
        if in_use
        else Fact("Champion", "none"),
        Fact("Labels", number(counted[-1]) if counted else NONE, f"up to {newest.cycle}" if newest else ""),
        Fact(f"Cost, {currency}", number(cost, 2) if newest else NONE, each),
    )


def _accuracy_in_use(family: FamilyEvidence) -> Fact:
    """Return what is known of the champion's accuracy: of the quarter that judged it last."""
    in_use = family.champions[-1].model_digest if family.champions else None
    for quarter in reversed(family.quarters):
        roles = {
            quarter.verdict.challenger_digest: quarter.challenger,
            quarter.verdict.champion_digest: quarter.champion,
        }
        figure = roles.get(in_use) if in_use else None
        if figure:
            return Fact("Accuracy on traffic", number(figure.value), f"{interval(figure)}, in {quarter.cycle}")
    return Fact("Accuracy on traffic", NONE)


def _quarter_row(quarter: Quarter, source: Source) -> QuarterRow:
    gain, path = quarter.gain, quarter.report
    return QuarterRow(
        cycle=quarter.cycle,
        verdict=quarter.verdict.verdict,
        challenger=quarter.challenger,
        champion=quarter.champion,
        gain=signed(gain.point) if gain else NONE,
        bounds=bounds(gain.lower, gain.upper) if gain else "none before",
        change="same" if gain is None else "better" if gain.point > 0 else "worse",
        link=source.links.to(source.models_root, path) if path else None,
        path=path,
    )


def _champion_row(entry: ChampionEntry) -> ChampionRow:
    return ChampionRow(
        number=entry.number,
        cycle=entry.cycle,
        model=entry.model_digest[:_DIGEST_CHARS],
        by="the gate" if entry.kind == "gate" else f"{entry.actor}, {words(entry.kind)}",
        verdict=entry.verdict or NONE,
        reason="" if entry.kind == "gate" else entry.reason,
        at=minute(entry.at),
    )


_RUN_TONES: Mapping[str, Tone] = {
    "done": "good",
    "running": "quiet",
    "failed": "bad",
    "lost": "bad",
    "unreadable": "bad",
}


def _run_row(run: JobRun, source: Source) -> RunRow:
    start = run.start
    at_work = f" on {start.host}" if start else ""
    return RunRow(
        state=run.state,
        tone=_RUN_TONES[run.state],
        what=", ".join(start.pipelines) if start else "record cannot be read",
        cycle=start.cycle if start else "",
        where=f"{start.actor}{at_work}" if start else "",
        began=minute(start.began_at) if start else "",
        lasted=_lasted(run),
        error=(run.error or "")[:_ERROR_CHARS],
        scheduler=web_link(start.orchestrator) if start else None,
        log=source.links.to(source.logs_root, run.log_path) if run.has_log else None,
        run_id=run.run_id,
    )


def _lasted(run: JobRun) -> str:
    if run.seconds is None:
        return ""
    lasted = drawings.duration(run.seconds)
    return f"last sign after {lasted}" if run.state in ("lost", "running") else lasted
