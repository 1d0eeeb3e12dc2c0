"""What on the dashboard needs attention: late stages, lost runs, doubtful figures."""

from collections.abc import Sequence
from typing import NamedTuple

from al_platform.dashboard.drawings import points
from al_platform.dashboard.evidence import FamilyEvidence
from al_platform.dashboard.freshness import FreshnessRow
from al_platform.dashboard.job_runs import JobRun
from al_platform.dashboard.options import DashboardOptions
from al_platform.dashboard.told import Tone
from al_platform.reports.figures import number, words
from al_platform.stages import STAGES


class Notice(NamedTuple):
    """Something that needs attention, and the section that tells more."""

    text: str
    tone: Tone
    section: str


def notices_of(
    families: Sequence[FamilyEvidence],
    freshness: Sequence[FreshnessRow],
    runs: Sequence[JobRun],
    options: DashboardOptions,
) -> tuple[Notice, ...]:
    """Return what needs attention, the most urgent first.

    Args:
        families: In the order in which they are shown.
        freshness: A row a stage, a cell for each of these families.
        runs: Newest first.
        options: Limits.
    """
    doubts = (notice for family in families for notice in _doubts(family, options))
    return (*_late(families, freshness), *_unsettled(runs), *doubts)


def headline(families: Sequence[FamilyEvidence], notices: Sequence[Notice]) -> str:
    """Return the first line of the page."""
    if not any(family.months for family in families):
        return "Nothing has run yet"
    if not notices:
        return "Everything is on time"
    return "One thing needs attention" if len(notices) == 1 else f"{len(notices)} things need attention"


def _late(families: Sequence[FamilyEvidence], freshness: Sequence[FreshnessRow]) -> list[Notice]:
    found = []
    for position, family in enumerate(families):
        late = [(row, row.cells[position]) for row in freshness if row.cells[position].tone == "bad"]
        if late:
            stages = ", ".join(words(row.stage) for row, _ in late) if len(late) < len(STAGES) else "every stage"
            newest = max(cell.cycle for _, cell in late)
            found.append(Notice(f"{words(family.name)} is late: {stages}, newest month {newest}.", "bad", "freshness"))
    return found


def _unsettled(runs: Sequence[JobRun]) -> list[Notice]:
    """Return runs that were lost or failed and that no later one of the same pipelines and cycle made good."""
    settled: set[tuple[tuple[str, ...], str]] = set()
    found = []
    for run in runs:
        if run.start is None:
            continue
        job = (run.start.pipelines, run.start.cycle)
        if run.state == "done":
            settled.add(job)
        elif run.state in ("lost", "failed") and job not in settled:
            settled.add(job)
            how = "was lost" if run.state == "lost" else "failed"
            found.append(Notice(f"{', '.join(job[0])} of {job[1]} {how}, and was not run again.", "bad", "runs"))
    return found


def _doubts(family: FamilyEvidence, options: DashboardOptions) -> list[Notice]:
    """Return what the newest figures of a family give to think about."""
    found = []
    if family.quarters and family.quarters[-1].verdict.verdict == "reject":
        found.append(
            Notice(
                f"{words(family.name)}: the challenger of {family.quarters[-1].cycle} was rejected.",
                "warning",
                "champions",
            )
        )
    drift = next(((month.cycle, month.drift) for month in reversed(family.months) if month.drift), None)
    if drift and abs(drift[1].largest[1]) > options.drift_limit:
        label, move = drift[1].largest
        found.append(
            Notice(f"{words(family.name)}: {label} moved by {points(move)} in {drift[0]}.", "warning", "drift")
        )
    agreed = next((month for month in reversed(family.months) if month.agreement is not None), None)
    if agreed and agreed.agreement is not None and agreed.agreement < options.agreement_floor:
        text = (
            f"{words(family.name)}: annotators agree too little in {agreed.cycle}, alpha {number(agreed.agreement, 2)}."
        )
        found.append(Notice(text, "warning", "agreement"))
    return found
