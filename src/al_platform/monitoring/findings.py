"""What monitoring found of a family's month, and whether that proposes an early quarterly."""

from collections.abc import Collection, Sequence

from pydantic import BaseModel, ConfigDict

from al_platform.domain.cycles import months_between
from al_platform.monitoring.accuracy import MonthAccuracy
from al_platform.monitoring.drift import FeatureDrift
from al_platform.monitoring.options import MonitoringOptions


class Findings(BaseModel):
    """The record of one look.

    Attributes:
        family: The model family.
        cycle: The month.
        trained_in: Cycle of the training data that it is compared with; None without a champion.
        drift: Of every feature, the largest first.
        accuracy: Of every month with audit pages, oldest first.
        reasons: What is beyond its limit.
        proposes: Whether an early quarterly is proposed.
        waits_because: Why none is in spite of reasons.
        untold: Ways by which nobody could be told yet.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: str
    cycle: str
    trained_in: str | None = None
    drift: tuple[FeatureDrift, ...] = ()
    accuracy: tuple[MonthAccuracy, ...] = ()
    reasons: tuple[str, ...] = ()
    proposes: bool = False
    waits_because: str | None = None
    untold: tuple[str, ...] = ()


def conclude(
    family: str,
    cycle: str,
    *,
    trained_in: str | None,
    drift: Sequence[FeatureDrift],
    accuracy: Sequence[MonthAccuracy],
    quarters: Collection[str],
    proposed: Collection[str],
    options: MonitoringOptions,
) -> Findings:
    """Return the findings of a month.

    Args:
        family: The model family.
        cycle: The month.
        trained_in: Cycle of the training data.
        drift: Of every feature.
        accuracy: Of every month; the newest decides.
        quarters: Cycles that were evaluated.
        proposed: Cycles in which a quarterly was proposed.
        options: Limits and cooldown.
    """
    reasons = (
        *(f"{found.feature} drifted: PSI {found.psi:.2f}, {found.largest}" for found in drift if found.has_drifted),
        *(_fall(found) for found in accuracy[-1:] if found.has_fallen(options.accuracy_loss)),
    )
    waits = _cooldown(cycle, quarters, proposed, options.cooldown_months) if reasons else None
    return Findings(
        family=family,
        cycle=cycle,
        trained_in=trained_in,
        drift=tuple(drift),
        accuracy=tuple(accuracy),
        reasons=reasons,
        proposes=bool(reasons) and waits is None,
        waits_because=waits,
    )


def _fall(found: MonthAccuracy) -> str:
    seen = found.accuracy
    return (
        f"accuracy on the audit pages of {found.cycle} is {seen.value:.3f} ({seen.low:.3f} to {seen.high:.3f}), the "
        f"gate had found {found.promised:.3f}"
    )


def _cooldown(cycle: str, quarters: Collection[str], proposed: Collection[str], months: int) -> str | None:
    """Return why nothing is proposed yet; a proposal of the same cycle is this one, seen again."""
    recent = {
        "a quarterly ran": [each for each in quarters if 0 <= months_between(each, cycle) < months],
        "one was proposed": [each for each in proposed if 0 < months_between(each, cycle) < months],
    }
    return next((f"{what} in {max(found)}, within {months} months" for what, found in recent.items() if found), None)
