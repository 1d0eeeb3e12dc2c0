"""Which task runs after which: ``run_if``, outcomes of conditions, and what a run's result is."""

import operator
from collections.abc import Callable, Sequence
from typing import Literal

Ended = Literal["succeeded", "failed", "canceled", "excluded"]

_ENDED: dict[str, Ended] = {
    "SUCCESS": "succeeded",
    "CANCELED": "canceled",
    "UPSTREAM_CANCELED": "canceled",
    "EXCLUDED": "excluded",
}
_NUMERIC: dict[str, Callable[[float, float], bool]] = {
    "GREATER_THAN": operator.gt,
    "GREATER_THAN_OR_EQUAL": operator.ge,
    "LESS_THAN": operator.lt,
    "LESS_THAN_OR_EQUAL": operator.le,
}
OPERATORS = ("EQUAL_TO", "NOT_EQUAL", *_NUMERIC)


def ended(result: str) -> Ended:
    """Return how a task with this result counts for those that depend on it."""
    return _ENDED.get(result, "failed")


def holds(left: str, op: str, right: str) -> bool:
    """Return the outcome of a condition: equality compares text, the others compare numbers.

    Raises:
        ValueError: An operand of a numeric comparison is no number.
    """
    if op == "EQUAL_TO":
        return left == right
    if op == "NOT_EQUAL":
        return left != right
    return _NUMERIC[op](float(left), float(right))


def refusal(run_if: str, dependencies: Sequence[Ended]) -> str | None:
    """Return the result of a task that must not run after these dependencies, None where it runs.

    Excluded dependencies count as not run. Databricks does not say what becomes of a task under ALL_SUCCESS when some
    dependencies succeeded and the others were excluded: here it is excluded too.
    """
    if not dependencies or RUN_IF[run_if](dependencies):
        return "EXCLUDED" if dependencies and set(dependencies) == {"excluded"} else None
    if run_if in ("AT_LEAST_ONE_FAILED", "ALL_FAILED"):
        return "EXCLUDED"
    if "failed" in dependencies:
        return "UPSTREAM_FAILED"
    return "UPSTREAM_CANCELED" if "canceled" in dependencies else "EXCLUDED"


def run_result(leaves: Sequence[str], others: Sequence[str]) -> str:
    """Return the result of a run whose tasks ended: leaves, on which nothing depends, decide."""
    if any(ended(result) == "failed" for result in leaves):
        return "FAILED"
    if any(ended(result) == "canceled" for result in leaves):
        return "CANCELED"
    return "SUCCESS_WITH_FAILURES" if any(ended(result) == "failed" for result in others) else "SUCCESS"


def _is_broken(how: Ended) -> bool:
    return how in ("failed", "canceled")


RUN_IF: dict[str, Callable[[Sequence[Ended]], bool]] = {
    "ALL_SUCCESS": lambda found: all(how == "succeeded" for how in found),
    "AT_LEAST_ONE_SUCCESS": lambda found: "succeeded" in found,
    "NONE_FAILED": lambda found: "succeeded" in found and not any(map(_is_broken, found)),
    "ALL_DONE": lambda found: True,
    "AT_LEAST_ONE_FAILED": lambda found: any(map(_is_broken, found)),
    "ALL_FAILED": lambda found: all(map(_is_broken, found)),
}
