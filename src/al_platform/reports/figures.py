"""The figures that a report shows, read off the outputs of stages, and how they are written."""

import math
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

DIGITS = 3
NONE = "–"
_SETS = ("golden", "audit", "validation")
_Value = TypeVar("_Value")
_PARTS = ("per_class", "reliability")
_MINUS = "\u2212"
_WRITTEN = {
    "macro_f1": "Macro-F1",
    "micro_f1": "Micro-F1",
    "accuracy": "Accuracy",
    "log_loss": "Log loss",
    "brier_score": "Brier score",
    "calibration_error": "Calibration error",
    "non_inferior": "not inferior",
    "average_precision": "Average precision (PR-AUC)",
}


class _Read(BaseModel):
    """Something that a stage wrote; what is not known here is left aside."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Figure(_Read):
    """A number, with its interval where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


class Bounds(_Read):
    """A two-sided interval."""

    low: float
    high: float


class CheckFigures(_Read):
    """One condition of the gate; see ``domain.gate.Check``."""

    name: str
    value: float | None
    threshold: float | None
    passed: bool | None
    required: bool = True
    why: str


class GateFigures(_Read):
    """What the gate asked for."""

    confidence: float


class VerdictFigures(_Read):
    """The gate's decision; see ``domain.gate.Verdict``."""

    verdict: Literal["promote", "iterate", "reject"]
    rule: str
    reason: str
    checks: tuple[CheckFigures, ...]
    missing_rows: int | None = None
    challenger_digest: str
    champion_digest: str | None
    options: GateFigures
    loosened: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class ClassLine(_Read):
    """How one class is recognised; ``intervals`` by figure, where they were measured."""

    label: str
    precision: float
    recall: float
    f1: float
    support: float
    average_precision: float | None = None
    intervals: dict[str, Bounds | None] = {}

    @property
    def f1_figure(self) -> Figure:
        """F1, with its interval where it was measured."""
        return Figure(value=self.f1, **_bounds(self.intervals.get("f1")))


class ReliabilityPoint(_Read):
    """``n`` pages with mean ``probability``, of which ``share`` are true."""

    probability: float
    share: float
    n: int


class ModelFigures(_Read):
    """One model on one set.

    Attributes:
        metrics: Every figure of the whole set, by name.
        per_class: In label order.
        reliability: From the lowest probability to the highest; empty where it was not measured.
    """

    metrics: dict[str, Figure]
    per_class: tuple[ClassLine, ...] = ()
    reliability: tuple[ReliabilityPoint, ...] = ()


class Gain(_Read):
    """Challenger minus champion with one-sided bounds."""

    point: float
    lower: float
    upper: float
    n: int


class SliceGain(_Read):
    """The gain in micro-F1 on the pages with one value of a slice; see ``domain.slices.SliceDifference``."""

    slice: str
    value: str
    difference: Gain
    p_of_harm: float


class Response(_Read):
    """How many of the pages that were drawn at random have a label; ``share`` is of the traffic they stand for."""

    drawn: int
    labelled: int
    share: float


class TrafficAccuracy(_Read):
    """One model's accuracy on traffic by each estimate; see ``domain.audit_response.TrafficAccuracy``."""

    plain: Figure | None = None
    inclusion_weighted: Figure | None = None
    audit_only: Figure | None = None
    worst_case: Bounds | None = None


class Traffic(_Read):
    """Accuracy on traffic of both models."""

    response: Response
    challenger: TrafficAccuracy
    champion: TrafficAccuracy | None = None


class SetFigures(_Read):
    """Both models on one set.

    Attributes:
        n: How many pages.
        challenger: The new model.
        champion: The model in use; None before the first.
        difference: In macro-F1, on the same pages; without a champion against the most frequent answer.
        slices: Gains on parts of the set; empty where they were not measured.
        traffic: Accuracy on traffic; of the audit set alone.
    """

    n: int
    challenger: ModelFigures
    champion: ModelFigures | None
    difference: Gain | None = None
    slices: tuple[SliceGain, ...] = ()
    traffic: Traffic | None = None

    @property
    def champion_metrics(self) -> dict[str, Figure]:
        """The champion's figures; none before the first."""
        return self.champion.metrics if self.champion else {}


class Training(_Read):
    """How the challenger was trained; see ``pipelines.training.nodes.train_model``."""

    model_digest: str
    n_train: int
    n_validation: int
    history: tuple[dict[str, Any], ...] = ()
    missing_labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seed: int | None = None


class DatasetCard(_Read):
    """What the data set holds; see ``pipelines.preparation.nodes.describe_dataset``."""

    pages: int
    sets: dict[str, int]
    class_balance: dict[str, dict[str, int]]
    sources: dict[str, int] = {}
    reasons: dict[str, int] = {}
    dropped: dict[str, int] = {}
    label_conflicts: int = 0
    near_duplicate_pages: int = 0
    since_last_cycle: dict[str, int] = {}


def set_figures(evaluation: Mapping[str, Any]) -> dict[str, SetFigures]:
    """Return the figures of every set that evaluation measured, golden first."""
    return {
        name: SetFigures.model_validate(
            {
                **found,
                "challenger": _model_figures(found["challenger"]),
                "champion": _model_figures(found["champion"]) if found.get("champion") else None,
            }
        )
        for name, found in _in_order(evaluation, _SETS).items()
        if isinstance(found, Mapping) and "challenger" in found
    }


def known_fields(value: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Return the entries of ``value`` that are fields of ``model``."""
    return {name: value[name] for name in model.model_fields if name in value}


def number(value: float | None, digits: int = DIGITS) -> str:
    """Return a number as it is read: whole ones with thousands apart, none as a dash."""
    if value is None or not math.isfinite(value):
        return NONE
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.{digits}f}".replace("-", _MINUS)


def signed(value: float | None, digits: int = DIGITS) -> str:
    """Return a difference with its sign."""
    if value is None or not math.isfinite(value):
        return NONE
    return f"{value:+.{digits}f}".replace("-", _MINUS)


def interval(figure: Figure | None, digits: int = DIGITS) -> str:
    """Return the interval of a figure; empty where it has none."""
    if figure is None or figure.low is None or figure.high is None:
        return ""
    return f"{number(figure.low, digits)} to {number(figure.high, digits)}"


def words(name: str) -> str:
    """Return the name of a figure, a set or a reason as it is written in a sentence."""
    return _WRITTEN.get(name, name.replace("_", " "))


def capitalised(name: str) -> str:
    """Return the same at the beginning of a line."""
    written = words(name)
    return written[:1].upper() + written[1:]


def _model_figures(found: Mapping[str, Any]) -> ModelFigures:
    intervals = found.get("intervals", {})
    figures = {name: _figure(value, intervals.get(name)) for name, value in found.items()}
    return ModelFigures(
        metrics={name: figure for name, figure in _in_order(figures, tuple(_WRITTEN)).items() if figure is not None},
        **{name: found[name] for name in _PARTS if found.get(name)},
    )


def _in_order(found: Mapping[str, _Value], first: tuple[str, ...]) -> dict[str, _Value]:
    """Return the entries with those named in ``first`` before the others: JSON sorts them by name."""
    return {name: found[name] for name in dict.fromkeys([*first, *found]) if name in found}


def _figure(value: Any, interval: Mapping[str, float] | None) -> Figure | None:
    if isinstance(value, Mapping) and isinstance(value.get("value"), float):
        return Figure.model_validate(value)
    is_number = isinstance(value, float | int) and not isinstance(value, bool)
    return Figure(value=value, **(interval or {})) if is_number else None


def _bounds(bounds: Bounds | None) -> dict[str, float]:
    return bounds.model_dump() if bounds else {}
