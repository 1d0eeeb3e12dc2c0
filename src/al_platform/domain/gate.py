"""Whether a challenger replaces the champion: rules over the evidence.

The promise holds at one point: where the true difference on golden is at the rule's threshold (-margin for
``non_inferior``, zero for ``superior``), at most 1 - confidence of all decisions on the same golden pages promote, as
the bounds of ``paired`` were measured to hold; the other checks only lower it. Several challengers on the same pages
share that error, see ``shared_error``.
"""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict

from al_platform.domain.errors import ConfigError
from al_platform.domain.evidence import GateEvidence
from al_platform.domain.gate_checks import Check, champion_checks, first_champion_checks
from al_platform.domain.gate_options import SIZE_OPTIONS, GateOptions, loosened
from al_platform.domain.shared_error import GoldenDecision, GoldenHistory

__all__ = ["SIZE_OPTIONS", "Check", "GateOptions", "Verdict", "decide", "loosened", "remember"]

_HARM = frozenset({"golden_difference", "golden_floor", "class_guardrail", "protected_recall", "slices"})


class Verdict(BaseModel):
    """The decision with everything it rests on.

    ``missing_rows`` adds up what golden and audit lack; ``loosened`` says where the options ask for less than
    production's; ``warnings`` are checks that did not pass but do not decide; ``golden_history`` holds the decisions
    so far on the same golden pages.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    verdict: Literal["promote", "iterate", "reject"]
    rule: Literal["non_inferior", "superior", "first_champion"]
    reason: str
    checks: tuple[Check, ...]
    missing_rows: int | None
    challenger_digest: str
    champion_digest: str | None
    options: GateOptions
    loosened: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    golden_history: GoldenHistory | None = None


def decide(evidence: GateEvidence, options: GateOptions, production: GateOptions | None = None) -> Verdict:
    """Return the verdict on one challenger.

    *Promote*: every required check passed. *Reject*: significant harm, that is the upper bound of the difference on
    golden is below the rule's threshold (for the first champion: below the baseline, or macro-F1 below the floor), or a
    class, the protected labels or a slice lost significantly. *Iterate*: neither.

    The first champion must beat the baseline (lower bound above zero) and reach the floor on golden. Its audit figure
    and calibration are only reported: at the start there is hardly any audit, and no champion to compare with.

    Args:
        evidence: See ``evidence.gather_evidence``.
        options: The rules.
        production: The rules of production, the defaults if not given; what is looser in ``options`` is reported.

    Raises:
        ConfigError: The evidence was gathered for another confidence than ``options`` ask for.
    """
    if not math.isclose(evidence.confidence, options.confidence):
        raise ConfigError(
            f"The gate asks for confidence {options.confidence} but the evidence was gathered for "
            f"{evidence.confidence}. Run evaluation again with the same gate options."
        )
    is_first = evidence.champion_digest is None
    checks = first_champion_checks(evidence, options) if is_first else champion_checks(evidence, options)
    verdict = _verdict(checks)
    missing = _missing_rows(checks) if verdict == "iterate" else None
    return Verdict(
        verdict=verdict,
        rule="first_champion" if is_first else options.rule,
        reason=_reason(verdict, checks, missing),
        checks=checks,
        missing_rows=missing,
        challenger_digest=evidence.challenger_digest,
        champion_digest=evidence.champion_digest,
        options=options,
        loosened=tuple(
            f"{name} is {getattr(options, name)} instead of {getattr(production or GateOptions(), name)}"
            for name in loosened(options, production or GateOptions())
        ),
        warnings=tuple(check.why for check in checks if check.passed is False and not check.required),
    )


def remember(verdict: Verdict, history: GoldenHistory, cycle: str, share: float) -> Verdict:
    """Return the verdict with the decisions on its golden pages, its own among them.

    Args:
        verdict: Of ``decide``.
        history: Of the same golden pages; see ``shared_error.continue_history``.
        cycle: Of the evaluation.
        share: Part of the error that this decision used.
    """
    decision = GoldenDecision(
        cycle=cycle,
        challenger_digest=verdict.challenger_digest,
        champion_digest=verdict.champion_digest,
        share=share,
        verdict=verdict.verdict,
    )
    return verdict.model_copy(update={"golden_history": history.with_decision(decision)})


def _verdict(checks: tuple[Check, ...]) -> Literal["promote", "iterate", "reject"]:
    if any(check.passed is False for check in checks if check.name in _HARM):
        return "reject"
    return "promote" if all(check.passed for check in checks if check.required) else "iterate"


def _missing_rows(checks: tuple[Check, ...]) -> int | None:
    """Return the sum over sets of the most that one required, unpassed check lacks; None where no number is known."""
    lacking = [check for check in checks if check.required and not check.passed and check.missing_rows]
    sets = {check.set for check in lacking}
    return sum(max(check.missing_rows or 0 for check in lacking if check.set == name) for name in sets) or None


def _reason(verdict: str, checks: tuple[Check, ...], missing: int | None) -> str:
    if verdict == "promote":
        shown = [check.why for check in checks if check.required and check.name.endswith("_difference")]
        return f"Promoted, every required check passed: {'; '.join(shown)}."
    if verdict == "reject":
        harm = [check.why for check in checks if check.name in _HARM and check.passed is False]
        return f"Rejected, significantly too low: {'; '.join(harm)}."
    open_checks = "; ".join(check.why for check in checks if check.required and not check.passed)
    more = f" At the observed figures {missing} more rows would settle it." if missing else ""
    return f"Not promoted and not rejected: {open_checks}.{more}"
