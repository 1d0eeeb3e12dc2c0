"""The gate's conditions, one function each: evidence and options in, a check with number and threshold out."""

import math

from pydantic import BaseModel, ConfigDict

from al_platform.domain.estimators import Difference
from al_platform.domain.evidence import GateEvidence
from al_platform.domain.gate_options import GateOptions
from al_platform.domain.slices import SliceDifference

MEGABYTE = 1_000_000


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


def champion_checks(evidence: GateEvidence, options: GateOptions) -> tuple[Check, ...]:
    """Return what a challenger must show against a champion."""
    return (
        _rows_check("golden", evidence.golden.n, options.min_golden),
        _golden_check(evidence, options.golden_threshold, options.min_golden, "the champion's"),
        _rows_check("audit", evidence.audit.n if evidence.audit else 0, options.min_audit),
        _audit_check(evidence.audit, options, is_required=True),
        _class_check(evidence, options),
        *_protected_checks(evidence, options),
        _slice_check(evidence, options),
        _slice_warning(evidence, options),
        _calibration_check(evidence, options.ece_slack),
        *_common_checks(evidence, options),
    )


def first_champion_checks(evidence: GateEvidence, options: GateOptions) -> tuple[Check, ...]:
    """Return what the first champion must show: there is a baseline to beat, but nothing that could get worse."""
    return (
        _rows_check("golden", evidence.golden.n, options.min_golden),
        _golden_check(evidence, 0.0, options.min_golden, "the baseline's"),
        _floor_check(evidence, options),
        _audit_check(evidence.audit, options, is_required=False),
        _calibration_check(evidence, options.ece_slack),
        *_common_checks(evidence, options),
    )


def _common_checks(evidence: GateEvidence, options: GateOptions) -> tuple[Check, ...]:
    return (
        *_simpler_checks(evidence, options),
        *_response_checks(evidence),
        _error_analysis_check(evidence),
        _size_check(evidence, options.max_model_mb),
        _speed_check(evidence, options.max_ms_per_page),
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


def _golden_check(evidence: GateEvidence, threshold: float, minimum: int, whose: str) -> Check:
    golden = evidence.golden
    part = "" if evidence.share == 1 else f", {evidence.share:.0%} of the error that decisions on these pages share"
    return Check(
        name="golden_difference",
        value=golden.lower,
        threshold=threshold,
        passed=_side_of(golden, threshold) if golden.n >= minimum else None,
        n=golden.n,
        set=golden.set,
        missing_rows=rows_to_settle(golden, threshold),
        why=f"macro-F1 on golden is {golden.point:+.4f} against {whose}, with one-sided {golden.confidence:.1%} bounds "
        f"{golden.lower:+.4f} and {golden.upper:+.4f}{part}; the lower must be above {threshold:+.4f}",
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
        missing_rows=rows_to_settle(audit, options.required_gain) if audit and is_enough else None,
        why=f"macro-F1 on audit differs by {audit.point:+.4f} and must be at least {options.required_gain:+.4f}"
        if audit
        else "nothing on audit can be compared",
    )


def _class_check(evidence: GateEvidence, options: GateOptions) -> Check:
    alpha = 1 - options.confidence
    harmed = [found for found in evidence.classes if found.p_of_harm <= alpha]
    lost = ", ".join(f"{each.label} {each.difference.point:+.4f} (p {each.p_of_harm:.4f})" for each in harmed)
    guarded = f"{len(evidence.classes)} classes have {options.min_class_rows} golden pages"
    return Check(
        name="class_guardrail",
        value=min((found.p_of_harm for found in evidence.classes), default=None),
        threshold=alpha,
        passed=not harmed,
        n=sum(found.difference.n for found in evidence.classes),
        set="golden",
        why=f"F1 of single classes fell by more than {options.class_margin:.4f}, Holm-corrected: {lost}"
        if harmed
        else f"{guarded}, and none lost significantly more than {options.class_margin:.4f} of F1",
    )


def _protected_checks(evidence: GateEvidence, options: GateOptions) -> tuple[Check, ...]:
    if not options.protected:
        return ()
    found, threshold = evidence.protected, -options.recall_margin
    is_enough = found is not None and found.n >= options.min_protected
    return (
        Check(
            name="protected_recall",
            value=found.lower if found else None,
            threshold=threshold,
            passed=_side_of(found, threshold) if found and is_enough else None,
            n=found.n if found else 0,
            set="golden",
            missing_rows=_golden_rows_missing(found, evidence.golden.n, threshold, options.min_protected),
            why=_why_protected(found, options),
        ),
    )


def _why_protected(found: Difference | None, options: GateOptions) -> str:
    labels = ", ".join(options.protected)
    if found is None:
        return f"no golden page has any of the protected labels {labels}"
    return (
        f"recall of {labels} at the champion's precision differs by {found.point:+.4f} on {found.n} pairs of page and "
        f"label, with one-sided {found.confidence:.1%} bounds {found.lower:+.4f} and {found.upper:+.4f}; the lower "
        f"must be above {-options.recall_margin:+.4f}, on at least {options.min_protected} pairs"
    )


def _slice_check(evidence: GateEvidence, options: GateOptions) -> Check:
    large = [found for found in evidence.slices if found.difference.n >= options.min_slice_rows]
    harmed = [found for found in large if _is_harmed(found, options)]
    lost = max((-found.difference.point for found in large), default=None)
    return Check(
        name="slices",
        value=None if lost is None else -lost,
        threshold=-options.slice_loss,
        passed=not harmed,
        n=sum(found.difference.n for found in large),
        set="golden and audit",
        why=f"micro-F1 fell significantly on {_named(harmed)}"
        if harmed
        else f"none of {len(large)} slices of at least {options.min_slice_rows} pages lost {options.slice_loss:.4f} of "
        f"micro-F1 significantly",
    )


def _slice_warning(evidence: GateEvidence, options: GateOptions) -> Check:
    """Report the slices whose loss is as large but may be chance."""
    lost = [
        found
        for found in evidence.slices
        if found.difference.point <= -options.slice_loss
        and not (_is_harmed(found, options) and found.difference.n >= options.min_slice_rows)
    ]
    return Check(
        name="slice_warnings",
        value=len(lost),
        threshold=0,
        passed=not lost,
        required=False,
        n=sum(found.difference.n for found in lost),
        set="golden and audit",
        why=f"micro-F1 is lower, perhaps by chance, on {_named(lost)}" if lost else "no slice to warn of",
    )


def _calibration_check(evidence: GateEvidence, slack: float) -> Check:
    difference = evidence.ece_difference
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
        n=evidence.golden.n,
        set="golden",
        why=f"calibration error on golden is {evidence.challenger_ece:.4f}, {limit}",
    )


def _simpler_checks(evidence: GateEvidence, options: GateOptions) -> tuple[Check, ...]:
    found = evidence.simpler
    if found is None:
        return ()
    return (
        Check(
            name="simpler_difference",
            value=found.lower,
            threshold=0.0,
            passed=_side_of(found, 0.0) if found.n >= options.min_golden else None,
            n=found.n,
            set=found.set,
            missing_rows=rows_to_settle(found, 0.0),
            why=f"macro-F1 on golden is {found.point:+.4f} against the simpler model's, with a one-sided "
            f"{found.confidence:.1%} lower bound of {found.lower:+.4f}; it must be above zero to be worth its cost",
        ),
    )


def _response_checks(evidence: GateEvidence) -> tuple[Check, ...]:
    response = evidence.facts.response
    if response is None:
        return ()
    return (
        Check(
            name="audit_response",
            value=response.share,
            threshold=1.0,
            passed=response.labelled == response.drawn,
            required=False,
            n=response.drawn,
            set="audit",
            why=f"{response.labelled} of {response.drawn} pages drawn at random have a label, {response.share:.1%} of "
            f"the traffic they stand for",
        ),
    )


def _error_analysis_check(evidence: GateEvidence) -> Check:
    found, errors = evidence.facts.errors_analysed, evidence.golden_errors
    return Check(
        name="error_analysis",
        value=found,
        threshold=errors,
        passed=None if found is None else found == errors,
        n=evidence.golden.n,
        set="golden",
        why="there is no error analysis"
        if found is None
        else f"the error analysis explains {found} of {errors} errors on golden",
    )


def _size_check(evidence: GateEvidence, limit_mb: float) -> Check:
    size = evidence.facts.model_bytes
    return Check(
        name="model_size",
        value=None if size is None else size / MEGABYTE,
        threshold=limit_mb,
        passed=None if size is None else size <= limit_mb * MEGABYTE,
        n=0,
        set="model",
        why="the model's size was not measured"
        if size is None
        else f"the model's tensors have {size / MEGABYTE:.1f} MB and may have {limit_mb:g}",
    )


def _speed_check(evidence: GateEvidence, limit_ms: float) -> Check:
    is_fast = evidence.facts.is_fast_enough
    found = {None: "was not measured", True: "is within", False: "is above"}[is_fast]
    return Check(
        name="latency",
        value=None,
        threshold=limit_ms,
        passed=is_fast,
        n=0,
        set="model",
        why=f"the time to score a page {found}{'' if is_fast is None else f' {limit_ms:g} ms'}",
    )


def rows_to_settle(difference: Difference, threshold: float) -> int | None:
    """Return how many more rows move the bound past the threshold if the difference stays what it is.

    A bound lies w from the point with n rows and w sqrt(n / m) with m, as standard errors shrink with the square root
    of the number of rows; so m = n (w / gap)^2.
    """
    gap = difference.point - threshold
    width = difference.point - difference.lower if gap > 0 else difference.upper - difference.point
    if gap == 0 or width < abs(gap):
        return None
    return max(1, math.ceil(difference.n * (width / gap) ** 2) - difference.n)


def _golden_rows_missing(found: Difference | None, n_golden: int, threshold: float, minimum: int) -> int | None:
    """Return the golden pages that hold the missing pairs of page and protected label, at their present share."""
    if found is None:
        return None
    lacking = max(minimum - found.n, rows_to_settle(found, threshold) or 0)
    return math.ceil(lacking * n_golden / found.n) if lacking > 0 else None


def _side_of(difference: Difference, threshold: float) -> bool | None:
    return True if difference.lower > threshold else False if difference.upper < threshold else None


def _is_harmed(found: SliceDifference, options: GateOptions) -> bool:
    return found.difference.point <= -options.slice_loss and found.p_of_harm <= 1 - options.confidence


def _named(slices: list[SliceDifference]) -> str:
    return ", ".join(
        f"{each.difference.set}'s {each.slice} {each.value} ({each.difference.point:+.4f} of {each.difference.n})"
        for each in slices
    )
