"""How old what each stage has done is, against its limit."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from al_platform.dashboard.evidence import FamilyEvidence
from al_platform.dashboard.options import DashboardOptions
from al_platform.dashboard.told import Tone, minute
from al_platform.domain.cycles import shift_cycle
from al_platform.stages import Stage

_SECONDS_A_DAY = 86_400


class FreshnessCell(NamedTuple):
    """How old what a stage has done is; without an age it never ran."""

    cycle: str
    age: str
    committed: str
    tone: Tone


class FreshnessRow(NamedTuple):
    """One stage of every family, with its limit in days."""

    stage: str
    limit: str
    cells: tuple[FreshnessCell, ...]


def freshness_of(
    stage: Stage, families: Sequence[FamilyEvidence], now: datetime, options: DashboardOptions
) -> FreshnessRow:
    """Return a row: what a stage has done last for each family, and whether that is too old."""
    limit = options.freshness_days.of(stage.cadence)
    return FreshnessRow(stage.name, f"{limit:g} days", tuple(_cell(family, stage, now, limit) for family in families))


def _cell(family: FamilyEvidence, stage: Stage, now: datetime, limit: float) -> FreshnessCell:
    newest = family.newest.get(stage.name)
    if newest is None:
        return FreshnessCell("not yet", "", "", "quiet")
    age = age_days(newest.cycle, now)
    return FreshnessCell(newest.cycle, f"{age:.0f} days", minute(newest.committed_at), "bad" if age > limit else "good")


def age_days(cycle: str, now: datetime) -> float:
    """Return the days since the end of a cycle's month; none where it is not over."""
    over = datetime.fromisoformat(f"{shift_cycle(cycle, 1)}-01T00:00:00+00:00")
    return max((now - over).total_seconds() / _SECONDS_A_DAY, 0.0)
