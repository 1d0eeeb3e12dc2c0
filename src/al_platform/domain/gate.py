"""Whether a challenger replaces the champion: rules over the evidence.

The promise holds at one point: where the true difference on golden is at the rule's threshold (-margin for
``non_inferior``, zero for ``superior``), the bound on golden lets a challenger pass in 1 - confidence of all decisions,
as nearly as the bootstrap keeps to that; the other checks only lower it. It is a promise for one decision on one set of
rows.
"""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from al_platform.domain.errors import ConfigError
from al_platform.domain.estimators import Difference
from al_platform.domain.evidence import GateEvidence

SIZE_OPTIONS = frozenset({"min_golden", "min_audit"})
"""Options that a small corpus may force below production's."""

_STRICTER_HIGH = ("confidence", "required_gain", "floor_macro_f1", "min_golden", "min_audit", "replicates")
_STRICTER_LOW = ("margin", "ece_slack")
_HARM = ("golden_difference", "golden_floor")


class GateOptions(BaseModel):
    """What a challenger must show.

    Attributes:
        rule: ``non_inferior``: not worse than the champion by more than ``margin``; ``superior``: better.
        margin: Loss of macro-F1 on golden that ``non_inferior`` accepts for a model that knows fresher pages.
        confidence: One-sided, of the bounds on golden.
        required_gain: Macro-F1 to gain on audit; a point estimate, as a quarter's audit is too small for a bound.
        floor_macro_f1: What the first champion must reach on golden, so that beating a poor baseline is not enough.
        min_golden: Rows of golden below which nothing is decided; 1,000 tell 2 points of macro-F1 apart.
        min_audit: Rows of audit below which its difference is noise; 300 have a standard error of 1 to 2 points.
        ece_slack: Calibration error on validation above the champion's that is accepted: selection reads
            probabilities.
        replicates: Bootstrap resamples; with 2,000 chance moves a bound by some 1.5 % of the interval's width.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: Literal["non_inferior", "superior"] = "non_inferior"
    margin: float = Field(default=0.005, ge=0, lt=1)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    required_gain: float = Field(default=0.0, gt=-1, lt=1)
    floor_macro_f1: float = Field(default=0.3, ge=0, le=1)
    min_golden: int = Field(default=1000, ge=1)
    min_audit: int = Field(default=300, ge=1)
    ece_slack: float = Field(default=0.01, ge=0, le=1)
    replicates: int = Field(default=2000, ge=200)

    @property
    def golden_threshold(self) -> float:
        """What the lower bound of the difference on golden must be above."""
        return -self.margin if self.rule == "non_inferior" else 0.0


class Check(BaseModel):
    """One condition: its number, its threshold and whether it holds; ``passed`` is None where that cannot be said.

    ``missing_rows`` is how many more rows of the set would settle it at the observed figure; None where it is settled
    or no number of rows would do. A check that is not ``required`` is only reported.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    value: float | None
    threshold: float | None
    passed: bool | None
    required: bool = True
    n: int
    set: str
    missing_rows: int | None = None
    why: str


class Verdict(BaseModel):
    """The decision with everything it rests on.

    ``missing_rows`` adds up what golden and audit lack; ``loosened`` says where the options ask for less than
    production's.
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


def decide(evidence: GateEvidence, options: GateOptions, production: GateOptions | None = None) -> Verdict:
    """Return the verdict on one challenger.

    *Promote*: every required check passed. *Reject*: significant harm, that is the upper bound of the difference on
    golden is below the rule's threshold (for the first champion: below the baseline, or macro-F1 below the floor).
    *Iterate*: neither.

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
    checks = _first_champion_checks(evidence, options) if is_first else _champion_checks(evidence, options)
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
    )


def loosened(options: GateOptions, production: GateOptions) -> list[str]:
    """Return the names of the options that ask for less than production's, sorted."""
    looser = [name for name in _STRICTER_HIGH if getattr(options, name) < getattr(production, name)]
    looser += [name for name in _STRICTER_LOW if getattr(options, name) > getattr(production, name)]
    if options.rule == "non_inferior" and production.rule == "superior":
        looser.append("rule")
    return sorted(looser)


def _champion_checks(evidence: GateEvidence, options: GateOptions) -> tuple[Check, ...]:
    return (
        _rows_check("golden", evidence.golden.n, options.min_golden),
        _golden_check(evidence.golden, options.golden_threshold, options.min_golden, "the champion's"),
        _rows_check("audit", evidence.audit.n if evidence.audit else 0, options.min_audit),
        _audit_check(evidence.audit, options, is_required=True),
        _calibration_check(evidence, options.ece_slack),
    )


def _first_champion_checks(evidence: GateEvidence, options: GateOptions) -> tuple[Check, ...]:
    return (
        _rows_check("golden", evidence.golden.n, options.min_golden),
        _golden_check(evidence.golden, 0.0, options.min_golden, "the baseline's"),
        _floor_check(evidence, options),
        _audit_check(evidence.audit, options, is_required=False),
        _calibration_check(evidence, options.ece_slack),
    )


def _rows_check(name: str, n: int, minimum: int) -> Check:
    return Check(
        name=f"{name}_rows",
        value=n,
        threshold=minimum,
        passed=True if n >= minimum else None,
        n=n,
        set=name,
        missing_rows=minimum - n if n < minimum else None,
        why=f"{name} holds {n} rows and needs {minimum}",
    )


def _golden_check(golden: Difference, threshold: float, minimum: int, whose: str) -> Check:
    passed = True if golden.lower > threshold else False if golden.upper < threshold else None
    return Check(
        name="golden_difference",
        value=golden.lower,
        threshold=threshold,
        passed=passed if golden.n >= minimum else None,
        n=golden.n,
        set=golden.set,
        missing_rows=_rows_to_settle(golden, threshold),
        why=f"macro-F1 on golden is {golden.point:+.4f} against {whose}, with one-sided {golden.confidence:.1%} bounds "
        f"{golden.lower:+.4f} and {golden.upper:+.4f}; the lower must be above {threshold:+.4f}",
    )


def _floor_check(evidence: GateEvidence, options: GateOptions) -> Check:
    figure, floor = evidence.golden_macro_f1, options.floor_macro_f1
    passed = True if figure.value >= floor else False if figure.high < floor else None
    return Check(
        name="golden_floor",
        value=figure.value,
        threshold=floor,
        passed=passed if figure.n >= options.min_golden else None,
        n=figure.n,
        set=figure.set,
        why=f"macro-F1 on golden is {figure.value:.4f} (up to {figure.high:.4f}) and must be at least {floor:.4f}",
    )


def _audit_check(audit: Difference | None, options: GateOptions, *, is_required: bool) -> Check:
    is_enough = audit is not None and audit.n >= options.min_audit
    return Check(
        name="audit_difference",
        value=audit.point if audit else None,
        threshold=options.required_gain,
        passed=audit.point >= options.required_gain if audit and is_enough else None,
        required=is_required,
        n=audit.n if audit else 0,
        set="audit",
        missing_rows=_rows_to_settle(audit, options.required_gain) if audit and is_enough else None,
        why=f"macro-F1 on audit differs by {audit.point:+.4f} and must be at least {options.required_gain:+.4f}"
        if audit
        else "nothing on audit can be compared",
    )


def _calibration_check(evidence: GateEvidence, slack: float) -> Check:
    difference = evidence.ece_difference
    found = "cannot be measured without validation rows"
    if evidence.challenger_ece is not None:
        found = f"on validation is {evidence.challenger_ece:.4f}"
    limit = "with no champion to compare with"
    if difference is not None:
        limit = (
            f"{difference.point:+.4f} against the champion's, with a one-sided {difference.confidence:.1%} lower bound "
            f"of {difference.lower:+.4f}; it must not be above {slack:+.4f}"
        )
    return Check(
        name="calibration",
        value=evidence.challenger_ece,
        threshold=None if difference is None else slack,
        passed=None if difference is None else difference.lower <= slack,
        required=difference is not None,
        n=evidence.n_validation,
        set="validation",
        why=f"calibration error {found}, {limit}",
    )


def _rows_to_settle(difference: Difference, threshold: float) -> int | None:
    """Return how many more rows move the bound past the threshold if the difference stays what it is.

    A bound lies w from the point with n rows and w sqrt(n / m) with m, as standard errors shrink with the square root
    of the number of rows; so m = n (w / gap)^2.
    """
    gap = difference.point - threshold
    width = difference.point - difference.lower if gap > 0 else difference.upper - difference.point
    if gap == 0 or width < abs(gap):
        return None
    return max(1, math.ceil(difference.n * (width / gap) ** 2) - difference.n)


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
