"""How the report tells the gate's verdict: in one line, and check by check."""

from typing import NamedTuple

from al_platform.reports.figures import DIGITS, CheckFigures, VerdictFigures, capitalised, number, signed

_SIGNED = frozenset({"golden_difference", "audit_difference", "simpler_difference", "protected_recall", "slices"})
_WHOLE = frozenset({"golden_rows", "audit_rows", "slice_warnings", "error_analysis"})
_NEEDS = {
    "golden_difference": "above {}",
    "simpler_difference": "above {}",
    "protected_recall": "above {}",
    "slices": "at least {}",
    "class_guardrail": "above {}",
    "calibration": "at most {} worse",
    "slice_warnings": "{}",
    "error_analysis": "{}",
    "model_size": "at most {}",
    "latency": "at most {}",
}
_CHECK_TITLES = {
    "golden_rows": "Pages in golden",
    "golden_difference": "Macro-F1 gain on golden, lower bound",
    "golden_floor": "Macro-F1 on golden",
    "audit_rows": "Pages in audit",
    "audit_difference": "Macro-F1 gain on audit",
    "class_guardrail": "No class lost, smallest p",
    "protected_recall": "Recall of protected labels, lower bound",
    "slices": "Largest loss of a slice",
    "slice_warnings": "Slices to watch",
    "calibration": "Calibration error on golden",
    "simpler_difference": "Gain over the simpler model, lower bound",
    "audit_response": "Traffic that has a label",
    "error_analysis": "Errors explained",
    "model_size": "Model size, MB",
    "latency": "Time to score a page, ms",
}
_LARGE = 100
_RESULTS = {True: "passed", False: "failed", None: "open"}
_REPORTED = {True: "reported", False: "warning", None: "reported"}


class Headline(NamedTuple):
    """The verdict in one line, and what it means for the champion."""

    title: str
    consequence: str


class CheckRow(NamedTuple):
    """A condition of the gate as it is read; ``result`` is passed, failed, open, warning or reported."""

    title: str
    value: str
    needs: str
    result: str
    why: str


def headline(verdict: VerdictFigures) -> Headline:
    """Return the verdict for people who read one line."""
    champion = verdict.champion_digest
    if verdict.verdict == "promote":
        replaced = f"It replaces champion {champion[:12]}." if champion else "It is the first champion of its family."
        return Headline("Promote the challenger", replaced)
    if verdict.verdict == "reject":
        kept = f"Champion {champion[:12]} stays." if champion else "There is still no champion."
        return Headline("Reject the challenger", kept)
    kept = f"Champion {champion[:12]} stays for now." if champion else "There is still no champion."
    missing = f" About {verdict.missing_rows:,} more labelled pages would settle it." if verdict.missing_rows else ""
    return Headline("Iterate: the evidence does not decide", kept + missing)


def checks(verdict: VerdictFigures) -> tuple[CheckRow, ...]:
    """Return every check that the verdict rests on, in its order."""
    return tuple(_check(check) for check in verdict.checks)


def _check(check: CheckFigures) -> CheckRow:
    write = _whole if check.name in _WHOLE else signed if check.name in _SIGNED else _short
    needs = "–" if check.threshold is None else _NEEDS.get(check.name, "at least {}").format(write(check.threshold))
    return CheckRow(
        title=_CHECK_TITLES.get(check.name, capitalised(check.name)),
        value=write(check.value),
        needs=needs,
        result=_RESULTS[check.passed] if check.required else _REPORTED[check.passed],
        why=check.why,
    )


def _whole(value: float | None) -> str:
    return number(None if value is None else int(value))


def _short(value: float | None) -> str:
    """Return a number with the digits that matter: of large ones none."""
    return number(value, 0 if value is not None and abs(value) >= _LARGE else DIGITS)
