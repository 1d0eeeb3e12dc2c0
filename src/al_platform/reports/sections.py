"""What each section of the report on a challenger shows below the verdict, as rows and charts for its template."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from markupsafe import Markup

from al_platform.domain.error_analysis import ErrorAnalysis, SliceErrors
from al_platform.reports import charts
from al_platform.reports.charts import Interval
from al_platform.reports.drawings import HEADLINE_FIGURE, as_interval
from al_platform.reports.figures import (
    Bounds,
    ClassLine,
    DatasetCard,
    Figure,
    SetFigures,
    SliceGain,
    Traffic,
    capitalised,
    interval,
    number,
    signed,
    words,
)

MAX_MATRIX_LABELS = 8
MAX_SLICE_ROWS = 8
MAX_GAIN_ROWS = 10
SHADES = 5
SETS = ("train", "validation", "golden", "audit")
_LOWER_IS_BETTER = frozenset({"log_loss", "brier_score", "calibration_error"})
_CALIBRATION = ("calibration_error", "log_loss", "brier_score")
_SET_NOTES = {
    "golden": "Drawn at random from the labelled start, and frozen. The gate decides on it.",
    "audit": "Drawn at random from each month's traffic; each page counts for the traffic it stands for.",
    "validation": "Also decided when training stopped, thresholds and temperature: a flattering set.",
}
_ESTIMATES = {
    "plain": "Every labelled page of traffic once; wrong where a strategy picked pages.",
    "inclusion_weighted": "Audit and exploration, each page for the pages it stands for.",
    "audit_only": "The audit draw, each page for its part of its stratum.",
    "worst_case": "Were every drawn page without a label wrong, or every one right.",
}


class MetricRow(NamedTuple):
    """A figure of both models; ``change`` is better, worse or same, as seen from the challenger.

    ``bounds`` are those of the difference, one-sided, where they were measured.
    """

    name: str
    challenger: Figure
    champion: Figure | None
    difference: str
    change: str
    bounds: str = ""


class SetTable(NamedTuple):
    """The figures of one set."""

    name: str
    n: int
    note: str
    has_champion: bool
    rows: tuple[MetricRow, ...]


class ClassRow(NamedTuple):
    """One class with both models."""

    label: str
    support: str
    challenger: ClassLine
    champion: ClassLine | None
    difference: str
    change: str
    strip: Markup


class Cell(NamedTuple):
    """A number of pages, and how dark it is shown, from 0 to ``SHADES``."""

    n: int
    shade: int
    is_right: bool


class Confusion(NamedTuple):
    """Which classes are taken for which: a matrix where it is small enough, and what is wrong most often."""

    labels: tuple[str, ...]
    matrix: tuple[tuple[Cell, ...], ...]
    pairs: tuple[tuple[str, str, int], ...]
    class_errors: tuple[tuple[str, int, int], ...]


class SliceTable(NamedTuple):
    """The values of one slice, lowest accuracy first; ``more`` were left out."""

    name: str
    rows: tuple[tuple[SliceErrors, Markup], ...]
    more: int


class GainRow(NamedTuple):
    """The gain in micro-F1 on a slice; ``p_of_harm`` as it was adjusted for all slices."""

    name: str
    n: int
    gain: str
    bounds: str
    change: str
    p_of_harm: float


class GainTable(NamedTuple):
    """Slices of one set, largest loss first; ``more`` were left out."""

    set: str
    rows: tuple[GainRow, ...]
    more: int


class TrafficRow(NamedTuple):
    """Accuracy on traffic by one estimate, each with its interval; ``note`` says what it is."""

    name: str
    note: str
    challenger: tuple[str, str]
    champion: tuple[str, str]


class BalanceRow(NamedTuple):
    """Pages of a class in each set, and its share of the training pages, as a number and a bar."""

    label: str
    counts: tuple[int, ...]
    share: float
    bar: Markup


class Data(NamedTuple):
    """Class balance by set."""

    sets: tuple[str, ...]
    balance: tuple[BalanceRow, ...]
    totals: tuple[int, ...]


def set_tables(evaluation: Mapping[str, SetFigures]) -> tuple[SetTable, ...]:
    """Return every figure of every set."""
    return tuple(
        SetTable(name, found.n, _SET_NOTES.get(name, ""), found.champion is not None, _metric_rows(found))
        for name, found in evaluation.items()
    )


def class_table(evaluation: Mapping[str, SetFigures], name: str) -> tuple[ClassRow, ...]:
    """Return every class on one set; none where the set was not measured."""
    found = evaluation.get(name)
    if found is None:
        return ()
    before = {figures.label: figures for figures in found.champion.per_class} if found.champion else {}
    return tuple(_class_row(figures, before.get(figures.label)) for figures in found.challenger.per_class)


def confusion(errors: ErrorAnalysis, found: SetFigures | None) -> Confusion:
    """Return which classes the challenger takes for which."""
    pairs = tuple((each.truth, each.predicted, each.n) for each in errors.confusions)
    return Confusion(
        *_matrix(pairs, found.challenger.per_class if found else ()),
        pairs[: MAX_MATRIX_LABELS * 2],
        tuple((each.label, each.false_positives, each.false_negatives) for each in errors.class_errors),
    )


def slices(errors: ErrorAnalysis) -> tuple[SliceTable, ...]:
    """Return the slices with more than one value to compare."""
    grouped = ((name, list(rows)) for name, rows in groupby(errors.slices, key=lambda each: each.slice))
    return tuple(_slice_table(name, rows) for name, rows in grouped if len(rows) > 1)


def slice_gains(evaluation: Mapping[str, SetFigures]) -> tuple[GainTable, ...]:
    """Return challenger against champion on parts of every set, largest loss first."""
    return tuple(_gain_table(name, found.slices) for name, found in evaluation.items() if found.slices)


def traffic(evaluation: Mapping[str, SetFigures]) -> tuple[TrafficRow, ...]:
    """Return accuracy on traffic by every estimate; none where it was not measured."""
    for each in evaluation.values():
        if each.traffic:
            return tuple(_traffic_row(name, note, each.traffic) for name, note in _ESTIMATES.items())
    return ()


def calibration(evaluation: Mapping[str, SetFigures]) -> tuple[tuple[str, MetricRow], ...]:
    """Return the figures about probabilities on every set."""
    return tuple(
        (name, _metric_row(metric, found.challenger.metrics[metric], found.champion_metrics.get(metric)))
        for metric in _CALIBRATION
        for name, found in evaluation.items()
        if metric in found.challenger.metrics
    )


def data(card: DatasetCard) -> Data:
    """Return how many pages of each class each set holds."""
    sets = tuple(name for name in SETS if name in card.class_balance)
    labels = tuple(dict.fromkeys(label for name in sets for label in card.class_balance[name]))
    total = max(card.sets.get("train", 0), 1)
    rows = []
    for label in labels:
        counts = tuple(card.class_balance[name].get(label, 0) for name in sets)
        share = card.class_balance.get("train", {}).get(label, 0) / total
        rows.append(BalanceRow(label, counts, share, charts.bar(share, "challenger")))
    return Data(sets, tuple(rows), tuple(card.sets.get(name, 0) for name in sets))


def _metric_rows(found: SetFigures) -> tuple[MetricRow, ...]:
    champion = found.champion_metrics
    rows = {
        name: _metric_row(name, figure, champion.get(name))
        for name, figure in found.challenger.metrics.items()
        if name not in _CALIBRATION
    }
    gain = found.difference
    if gain and found.champion and HEADLINE_FIGURE in rows:
        bounds = f"{signed(gain.lower)} to {signed(gain.upper)}"
        rows[HEADLINE_FIGURE] = rows[HEADLINE_FIGURE]._replace(bounds=bounds)
    return tuple(rows.values())


def _metric_row(name: str, challenger: Figure, champion: Figure | None) -> MetricRow:
    difference = challenger.value - champion.value if champion else None
    return MetricRow(
        capitalised(name), challenger, champion, signed(difference), _change(difference, name in _LOWER_IS_BETTER)
    )


def _change(difference: float | None, is_lower_better: bool = False) -> str:
    if difference is None or signed(difference)[1:] == number(0.0):
        return "same"
    return "better" if (difference < 0) == is_lower_better else "worse"


def _class_row(challenger: ClassLine, champion: ClassLine | None) -> ClassRow:
    models = {"challenger": challenger, "champion": champion}
    marks = [(style, as_interval(each.f1_figure)) for style, each in models.items() if each]
    difference = challenger.f1 - champion.f1 if champion else None
    return ClassRow(
        challenger.label,
        number(round(challenger.support)),
        challenger,
        champion,
        signed(difference),
        _change(difference),
        charts.strip(marks),
    )


def _matrix(
    pairs: Sequence[tuple[str, str, int]], classes: Sequence[ClassLine]
) -> tuple[tuple[str, ...], tuple[tuple[Cell, ...], ...]]:
    labels = tuple(figures.label for figures in classes)
    if not pairs or not 1 < len(labels) <= MAX_MATRIX_LABELS:
        return labels, ()
    wrong = {(truth, predicted): n for truth, predicted, n in pairs}
    return labels, tuple(_matrix_row(figures, labels, wrong) for figures in classes)


def _matrix_row(figures: ClassLine, labels: Sequence[str], wrong: Mapping[tuple[str, str], int]) -> tuple[Cell, ...]:
    total = round(figures.support)
    missed = sum(wrong.get((figures.label, label), 0) for label in labels)
    counts = [total - missed if label == figures.label else wrong.get((figures.label, label), 0) for label in labels]
    return tuple(
        Cell(n, -(-n * SHADES // max(total, 1)), label == figures.label)
        for n, label in zip(counts, labels, strict=True)
    )


def _gain_table(name: str, slices: Sequence[SliceGain]) -> GainTable:
    worst_first = sorted(slices, key=lambda each: (each.difference.point, each.slice, each.value))
    rows = tuple(
        GainRow(
            f"{words(each.slice)}: {each.value}",
            each.difference.n,
            signed(each.difference.point),
            f"{signed(each.difference.lower)} to {signed(each.difference.upper)}",
            _change(each.difference.point),
            each.p_of_harm,
        )
        for each in worst_first[:MAX_GAIN_ROWS]
    )
    return GainTable(name, rows, len(slices) - len(rows))


def _traffic_row(name: str, note: str, found: Traffic) -> TrafficRow:
    challenger, champion = (
        _estimate(getattr(model, name) if model else None) for model in (found.challenger, found.champion)
    )
    return TrafficRow(capitalised(name), note, challenger, champion)


def _estimate(found: Figure | Bounds | None) -> tuple[str, str]:
    if isinstance(found, Bounds):
        return f"{number(found.low)} to {number(found.high)}", ""
    return (number(found.value), interval(found)) if found else (number(None), "")


def _slice_table(name: str, rows: Sequence[SliceErrors]) -> SliceTable:
    shown = rows[:MAX_SLICE_ROWS]
    strips = (charts.strip([("challenger", Interval(row.accuracy, row.low, row.high))]) for row in shown)
    return SliceTable(
        name,
        tuple((row, drawn) for row, drawn in zip(shown, strips, strict=True)),
        len(rows) - len(shown),
    )
