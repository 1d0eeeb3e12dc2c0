"""Section IV: monitoring tests."""

import math
from collections.abc import Iterable
from datetime import timedelta
from statistics import median

import numpy as np

from al_platform.dashboard.freshness import age_days
from al_platform.dashboard.job_runs import newest_runs
from al_platform.growth import wall_s
from al_platform.monitoring.findings import Findings
from al_platform.monitoring.options import MonitoringOptions
from al_platform.selfcheck.evidence import FamilyEvidence, NoEvidenceError
from al_platform.selfcheck.grade import AUTOMATED, BY_HAND, NOTHING, Grade
from al_platform.selfcheck.model_checks import promised_months
from al_platform.stages import STAGES

_DASHBOARD = "dashboard/index.html"


def dependencies(family: FamilyEvidence) -> Grade:
    """Dependency changes result in notification: each commit names its libraries; nobody is told of a change."""
    commits = [family.newest(stage.name) for stage in STAGES if family.cycles(stage.name)]
    if not commits:
        raise NoEvidenceError("nothing was committed", "Run: kedro run --pipelines=monthly")
    if unnamed := [each.stage for each in commits if not each.environment]:
        seen = f"{', '.join(unnamed)} does not say with which libraries it ran"
        return Grade(points=NOTHING, seen=seen, todo="Run it again.")
    return Grade(
        points=BY_HAND,
        seen=f"{len(commits)} newest commits name their libraries and inputs; nobody is told of a change",
        todo="Let your forge tell of changes of requirements.lock, and owners of imported pages of theirs.",
    )


def invariants(family: FamilyEvidence) -> Grade:
    """Data invariants hold for inputs: what breaks them is refused each month, and their spread is watched."""
    ingest, preparation = family.newest("annotation_ingest"), family.newest("preparation")
    refused = family.table(ingest, "annotation_quarantine").num_rows + family.table(preparation, "quarantine").num_rows
    seen = f"{refused} rows were refused in {preparation.cycle}"
    watched = _newest_findings(family, f"{seen}; ")
    inputs = [each for each in watched.drift if not each.feature.startswith("predicted ")]
    if not inputs:
        todo = "A model, and min_pages of monitoring.yml on either side, are needed."
        return Grade(points=BY_HAND, seen=f"{seen}; no feature of the inputs was compared", todo=todo)
    return Grade(points=AUTOMATED, seen=f"{seen}; {len(inputs)} features of the inputs were compared")


def skew(family: FamilyEvidence) -> Grade:
    """Training and serving are not skewed: the newest month is compared with the pages that the model learnt from."""
    watched = _newest_findings(family)
    if not watched.drift:
        todo = "A model, and min_pages of monitoring.yml on either side, are needed."
        return Grade(points=NOTHING, seen=f"nothing of {watched.cycle} could be compared", todo=todo)
    drifted = [each.feature for each in watched.drift if each.has_drifted]
    seen = f"{len(watched.drift)} features of {watched.cycle} against {watched.trained_in}"
    if drifted:
        todo = "Run the quarterly early." if watched.proposes else f"Wait: {watched.waits_because or 'see monitor'}."
        return Grade(points=BY_HAND, seen=f"{seen}: {', '.join(drifted)} drifted", todo=todo)
    return Grade(points=AUTOMATED, seen=f"{seen}, none drifted")


def fresh(family: FamilyEvidence) -> Grade:
    """Models are not too stale: every stage is within its limit, and the dashboard shows it."""
    platform = family.platform
    late = []
    for stage in STAGES:
        days = age_days(family.newest(stage.name).cycle, platform.now)
        limit = platform.limits.freshness_days.of(stage.cadence)
        if days > limit:
            late.append(f"{stage.name} {days:.0f} days after its month, {limit:g} allowed")
    if late:
        return Grade(points=NOTHING, seen="; ".join(late), todo="Run it for the last complete month.")
    logs = family.stores.by_class["logs"]
    if not logs.exists(_DASHBOARD):
        todo = "Run kedro al dashboard after each month."
        return Grade(points=BY_HAND, seen="every stage is in time; nobody is shown", todo=todo)
    return Grade(points=AUTOMATED, seen="every stage is in time, and the dashboard shows it")


def stable(family: FamilyEvidence) -> Grade:
    """Models are numerically stable: losses and probabilities are finite, and probabilities lie within 0 and 1."""
    history = family.json(family.newest("training"), "training_report").get("history", [])
    scoring = family.newest("scoring")
    rows = family.table(scoring, "predictions")["probabilities"].combine_chunks()
    values = rows.flatten().to_numpy(zero_copy_only=False)
    if not len(values):
        seen, todo = f"no model scored {scoring.cycle}", "Run the next monthly with the champion."
        return Grade(points=BY_HAND if _are_finite(history) else NOTHING, seen=seen, todo=todo)
    if not (_are_finite(history) and np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        seen = "a loss or a probability is no number, or outside 0 and 1"
        return Grade(points=NOTHING, seen=seen, todo="Lower the learning rate, or take precision: 32.")
    return Grade(points=AUTOMATED, seen=f"{len(history)} epochs and {len(rows):,} predictions are finite")


def performance(family: FamilyEvidence) -> Grade:
    """Computing performance has not regressed: time a page of scoring against former months, and no run is lost."""
    platform = family.platform
    patience = timedelta(hours=platform.limits.lost_after_hours)
    lost = [run.run_id for run in newest_runs(family.stores.by_class["logs"], patience) if run.state == "lost"]
    if lost:
        seen = f"{len(lost)} runs were killed, the last {lost[0]}"
        return Grade(points=NOTHING, seen=seen, todo="Run it again; more memory if the system ended it.")
    times = _ms_a_page(family)
    now, before = times[-1], times[:-1]
    if not before:
        seen, todo = f"scoring takes {now:.2f} ms a page; there is no month to compare with", "Run the next monthly."
        return Grade(points=BY_HAND, seen=seen, todo=todo)
    seen = f"scoring takes {now:.2f} ms a page, {median(before):.2f} in the months before"
    if now > platform.options.slower_by * median(before):
        return Grade(points=BY_HAND, seen=seen, todo="See what changed: kedro al status --growth")
    return Grade(points=AUTOMATED, seen=seen)


def quality(family: FamilyEvidence) -> Grade:
    """Prediction quality has not regressed: the newest month's audit pages against what the gate had found."""
    _newest_findings(family)
    month = promised_months(family)[-1]
    seen = f"accuracy {month.accuracy.value:.3f} on audit pages of {month.cycle}, the gate had {month.promised:.3f}"
    loss = family.platform.loader.options("monitoring", MonitoringOptions).accuracy_loss
    if month.has_fallen(loss):
        return Grade(points=BY_HAND, seen=seen, todo="Run the quarterly early.")
    return Grade(points=AUTOMATED, seen=seen)


def _newest_findings(family: FamilyEvidence, seen: str = "") -> Findings:
    """Return what monitoring found of the newest scored month; NoEvidenceError where it has not looked since."""
    newest, cycle = family.findings[-1], family.newest("scoring").cycle
    if newest.cycle < cycle:
        raise NoEvidenceError(f"{seen}monitoring has not looked since {newest.cycle}", "Run: kedro al monitor")
    return newest


def _ms_a_page(family: FamilyEvidence) -> list[float]:
    """Return how long scoring a page took, month by month."""
    family.newest("scoring")
    found = []
    for manifest in family.all("scoring"):
        report = family.json(manifest, "scoring_report")
        if report["pages"] and report.get("model_digests"):
            found.append(1000 * wall_s(manifest) / report["pages"])
    if not found:
        raise NoEvidenceError("no model scored a month yet", "Run the next monthly with the champion.")
    return found


def _are_finite(history: Iterable[dict[str, object]]) -> bool:
    numbers = [value for epoch in history for value in epoch.values() if isinstance(value, float)]
    return bool(numbers) and all(map(math.isfinite, numbers))
