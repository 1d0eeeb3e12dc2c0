"""The charts of the report on a challenger, each with the table of the figures that it shows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from al_platform.domain.cycles import month_number
from al_platform.domain.estimators import Estimate
from al_platform.domain.staleness import Staleness, StalenessPoint
from al_platform.reports import charts
from al_platform.reports.charts import Axis, Interval, Series
from al_platform.reports.curves import ClassCurves
from al_platform.reports.figures import (
    Figure,
    ModelFigures,
    ReliabilityPoint,
    SetFigures,
    Training,
    capitalised,
    interval,
    number,
    signed,
    words,
)

HEADLINE_FIGURE = "macro_f1"
MAX_CURVES = 12
MIN_BIN_PAGES = 10
MAX_AXIS_LABELS = 5
Points = tuple[tuple[float, float], ...]


class Chart(NamedTuple):
    """A drawing, what it shows in a line, and the same figures as a table."""

    title: str
    svg: Markup
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def macro_f1_chart(evaluation: Mapping[str, SetFigures]) -> Markup:
    """Return macro-F1 of both models on every set, with intervals."""
    rows = [(f"{name}, {found.n:,} pages", _marks(found, HEADLINE_FIGURE)) for name, found in evaluation.items()]
    told = "; ".join(f"{name}: {_told(marks)}" for name, marks in rows)
    axis = _share("Macro-F1")
    return charts.interval_chart(f"Macro-F1 with 95 % intervals. {told}.", axis, rows)


def reliability(evaluation: Mapping[str, SetFigures]) -> tuple[Chart, ...]:
    """Return a reliability diagram of every set where reliability was measured."""
    return tuple(_reliability(name, found) for name, found in evaluation.items() if found.challenger.reliability)


def precision_recall(curves: Sequence[ClassCurves]) -> tuple[Chart, ...]:
    """Return a chart of every class, the first ``MAX_CURVES`` of them."""
    return tuple(_precision_recall(each) for each in curves[:MAX_CURVES])


def training(summary: Training) -> tuple[Chart, ...]:
    """Return what the losses, and validation's macro-F1, did from epoch to epoch."""
    losses = {name: _history(summary, f"{name}_loss") for name in ("train", "validation")}
    scores = {"validation": _history(summary, "validation_macro_f1")}
    drawn = []
    if any(losses.values()):
        drawn.append(_epochs("Loss", "Loss (nats)", losses, _lowest_loss(losses["validation"])))
    if scores["validation"]:
        drawn.append(_epochs("Macro-F1 on validation", "Macro-F1", scores, ""))
    return tuple(drawn)


def staleness(found: Staleness | None) -> Chart | None:
    """Return past champions on today's audit pages; None where there is nothing to draw."""
    if found is None or found.challenger is None or not found.champions:
        return None
    now = float(month_number(found.cycle))
    past = [(now - each.age_months, each.macro_f1) for each in found.champions]
    last = (past[-1][0], past[-1][1].value)
    series = [
        Series("", "reference", (last, (now, found.challenger.value))),
        _aged("champion", past),
        _aged("challenger", [(now, found.challenger)]),
    ]
    x = _cycle_axis([(each.cycle, now - each.age_months) for each in found.champions], (found.cycle, now))
    told = "; ".join(f"champion of {each.cycle} {number(each.macro_f1.value)}" for each in found.champions)
    label = f"Macro-F1 on the audit pages of {found.cycle}: {told}; challenger {number(found.challenger.value)}."
    return Chart(
        f"Macro-F1 on the {found.n:,} audit pages of {found.cycle}",
        charts.line_chart(label, x, _share("Macro-F1"), series),
        ("Champion since", "Months old", "Macro-F1", "Lost by stopping there"),
        (
            *(_stale_row(each) for each in found.champions),
            (f"{found.cycle}, challenger", "0", _with_interval(found.challenger), "–"),
        ),
    )


def as_interval(figure: Figure) -> Interval:
    """Return a figure as it is drawn; one without an interval is a point."""
    low, high = (figure.value if bound is None else bound for bound in (figure.low, figure.high))
    return Interval(figure.value, low, high)


def _marks(found: SetFigures, name: str) -> list[tuple[str, Interval]]:
    models: dict[str, ModelFigures | None] = {"challenger": found.challenger, "champion": found.champion}
    return [
        (style, as_interval(model.metrics[name])) for style, model in models.items() if model and name in model.metrics
    ]


def _told(marks: Iterable[tuple[str, Interval]]) -> str:
    return ", ".join(f"{style} {number(figure.value)}" for style, figure in marks)


def _reliability(name: str, found: SetFigures) -> Chart:
    models: dict[str, ModelFigures | None] = {"champion": found.champion, "challenger": found.challenger}
    bins = {style: model.reliability for style, model in models.items() if model}
    share = _share("How sure the model was")
    diagonal = Series("", "reference", ((0.0, 0.0), (1.0, 1.0)))
    lines = [_reliability_line(style, found_bins) for style, found_bins in bins.items()]
    label = f"Reliability on {name}: confidence against the share that was right, for {' and '.join(bins)}."
    return Chart(
        f"{capitalised(name)}: sure of it, and right",
        charts.line_chart(label, share, _share("Right"), [diagonal, *lines]),
        ("Model", "Sure", "Right", "Pages"),
        tuple(
            (style, number(each.probability), number(each.share), number(each.n))
            for style, found_bins in bins.items()
            for each in found_bins
        ),
    )


def _reliability_line(style: str, bins: Sequence[ReliabilityPoint]) -> Series:
    # Between bins of a few pages a line would draw chance as if it were a shape.
    has_line = all(each.n >= MIN_BIN_PAGES for each in bins)
    return Series("", style, tuple((each.probability, each.share) for each in bins), has_marks=True, has_line=has_line)


def _precision_recall(curves: ClassCurves) -> Chart:
    models = {"champion": curves.champion, "challenger": curves.challenger}
    drawn = {style: points for style, points in models.items() if points}
    lines = [
        Series("", style, tuple((point.recall, point.precision) for point in points)) for style, points in drawn.items()
    ]
    recall = _share("Recall")
    told = f"Precision against recall of {curves.label} on {curves.set}, for {' and '.join(drawn)}."
    return Chart(
        curves.label,
        charts.line_chart(told, recall, _share("Precision"), lines),
        ("Model", "Recall", "Precision"),
        tuple(
            (style, number(point.recall), number(point.precision))
            for style, points in drawn.items()
            for point in points
        ),
    )


def _aged(style: str, points: Sequence[tuple[float, Estimate]]) -> Series:
    return Series(
        "",
        style,
        tuple((at, figure.value) for at, figure in points),
        tuple((figure.low, figure.high) for _, figure in points),
        has_marks=True,
    )


def _stale_row(point: StalenessPoint) -> tuple[str, ...]:
    gain = point.gain
    return (
        f"{point.cycle}, {point.model_digest[:8]}",
        str(point.age_months),
        _with_interval(point.macro_f1),
        f"{signed(gain.point)}\n{signed(gain.lower)} to {signed(gain.upper)}",
    )


def _share(title: str) -> Axis:
    return charts.axis(title, (), low=0.0, high=1.0)


def _history(summary: Training, name: str) -> Points:
    epochs = ((at, epoch.get(name)) for at, epoch in enumerate(summary.history, start=1))
    return tuple((float(at), float(value)) for at, value in epochs if isinstance(value, float | int))


def _epochs(title: str, unit: str, lines: Mapping[str, Points], note: str) -> Chart:
    points = [point for line in lines.values() for point in line]
    last = max(at for at, _ in points)
    x = charts.axis("Epoch", (), low=1.0, high=max(last, 2.0))
    x = Axis(x.title, x.low, x.high, tuple((at, f"{at:.0f}") for at, _ in x.ticks if at == int(at)))
    y = charts.axis(unit, [value for _, value in points], low=0.0)
    series = [Series(name if len(lines) > 1 else "", name, line) for name, line in lines.items() if line]
    told = "; ".join(
        f"{each.style} from {number(each.points[0][1])} to {number(each.points[-1][1])}" for each in series
    )
    by_epoch = [(at, [dict(line).get(at) for line in lines.values()]) for at in sorted({at for at, _ in points})]
    return Chart(
        title,
        charts.line_chart(f"{title} over {last:.0f} epochs: {told}.", x, y, series),
        ("Epoch", *(capitalised(words(name)) for name in lines)),
        tuple((f"{at:.0f}", *(number(value) for value in values)) for at, values in by_epoch),
        note,
    )


def _lowest_loss(validation: Sequence[tuple[float, float]]) -> str:
    if not validation:
        return "There was no validation page."
    epoch, loss = min(validation, key=lambda point: point[1])
    return f"Validation loss is lowest in epoch {epoch:.0f}: {number(loss)}."


def _cycle_axis(champions: Sequence[tuple[str, float]], challenger: tuple[str, float]) -> Axis:
    known = [*champions, challenger]
    every = -(-len(known) // MAX_AXIS_LABELS)
    # Counted from the challenger, whose label always stands.
    ticks = tuple((at, cycle) for cycle, at in known[::-1][::every][::-1])
    first, last = known[0][1], known[-1][1]
    margin = max(1.0, (last - first) / 10)
    return Axis("Cycle that made it champion", first - margin, last + margin, ticks)


def _with_interval(figure: Estimate) -> str:
    return f"{number(figure.value)}\n{interval(Figure.model_validate(figure.model_dump()))}"
