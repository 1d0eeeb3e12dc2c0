"""What skipping a quarter would have cost: every past champion on this cycle's audit pages."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from al_platform.domain.cycles import months_between
from al_platform.domain.errors import InputError
from al_platform.domain.estimators import (
    CONFIDENCE,
    REPLICATES,
    Difference,
    Estimate,
    macro_f1_estimate,
)
from al_platform.domain.metrics import BoolArray, FloatArray
from al_platform.domain.paired import macro_f1_difference

SET = "audit"


@dataclass(frozen=True)
class PastDecisions:
    """What a past champion decides on the audit pages.

    Attributes:
        cycle: The cycle whose run made it champion.
        model_digest: The model.
        decisions: Boolean (N, C).
    """

    cycle: str
    model_digest: str
    decisions: BoolArray


class StalenessPoint(BaseModel):
    """One past champion.

    Attributes:
        cycle: The cycle whose run made it champion.
        model_digest: The model.
        age_months: How many months it is older than the challenger.
        macro_f1: On the audit pages of today.
        gain: The challenger minus this champion, on the same pages: what stopping at it would have cost.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cycle: str
    model_digest: str
    age_months: int
    macro_f1: Estimate
    gain: Difference


class Staleness(BaseModel):
    """The curve: past champions oldest first, then the challenger.

    Attributes:
        cycle: Whose audit pages they are.
        n: How many.
        champions: Oldest first; empty without audit pages or without a champion.
        challenger: None without audit pages.
        left_out: Cycles of champions that have other labels and cannot be compared.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cycle: str
    n: int
    champions: tuple[StalenessPoint, ...] = ()
    challenger: Estimate | None = None
    left_out: tuple[str, ...] = ()


def staleness(
    truth: BoolArray,
    champions: Sequence[PastDecisions],
    challenger_decisions: BoolArray,
    *,
    cycle: str,
    seed: int,
    weights: FloatArray | None = None,
    confidence: float = CONFIDENCE,
    replicates: int = REPLICATES,
    left_out: Sequence[str] = (),
) -> Staleness:
    """Return macro-F1 of every past champion on the audit pages, and what it lacks to the challenger.

    Args:
        truth: Boolean (N, C) of the audit pages.
        champions: Before this cycle, oldest first.
        challenger_decisions: Boolean (N, C).
        cycle: Of the challenger.
        seed: Decides the resamples.
        weights: One over the inclusion probabilities (N,).
        confidence: Two-sided of macro-F1, one-sided of each bound of a gain.
        replicates: Bootstrap resamples.
        left_out: Cycles of champions that could not be scored.

    Raises:
        InputError: A champion is not from before ``cycle``, or shapes do not fit.
    """
    _require_earlier(champions, cycle)
    n = len(truth)
    if not n:
        return Staleness(cycle=cycle, n=0, left_out=tuple(left_out))

    def macro_f1(decisions: BoolArray) -> Estimate:
        return macro_f1_estimate(
            truth,
            decisions,
            set_name=SET,
            seed=seed,
            weights=weights,
            confidence=confidence,
            replicates=replicates,
        )

    def gain(decisions: BoolArray) -> Difference:
        return macro_f1_difference(
            truth, decisions, challenger_decisions, set_name=SET, weights=weights, confidence=confidence
        )

    points = (
        StalenessPoint(
            cycle=past.cycle,
            model_digest=past.model_digest,
            age_months=months_between(past.cycle, cycle),
            macro_f1=macro_f1(past.decisions),
            gain=gain(past.decisions),
        )
        for past in champions
    )
    return Staleness(
        cycle=cycle,
        n=n,
        champions=tuple(points),
        challenger=macro_f1(challenger_decisions),
        left_out=tuple(left_out),
    )


def _require_earlier(champions: Sequence[PastDecisions], cycle: str) -> None:
    later = [past.cycle for past in champions if past.cycle >= cycle]
    if later:
        raise InputError(
            f"Asked what past champions are worth in {cycle}, but one was made in {later[0]}. Give those of cycles "
            f"before."
        )
