"""The charts of the dashboard, each with the table of the figures that it shows; families side by side share axes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from al_platform.dashboard.evidence import FamilyEvidence, Month, Quarter
from al_platform.domain.cycles import month_number
from al_platform.reports import charts
from al_platform.reports.charts import Axis, Series
from al_platform.reports.drawings import Chart, as_interval
from al_platform.reports.figures import Figure, interval, number, signed

_TICKS = 5
_MARGIN = 12  # of the months shown, this part is left free on both sides
_APART = 120  # two models of one quarter stand this part of the axis apart
_MB = 1 << 20
_STEP = 0.1
_MARKED = 18  # points; more would hide their line


@dataclass(frozen=True)
class Scales:
    """The axes that the charts of all families share.

    Attributes:
        months: From the first cycle to the last.
        accuracy: Of both models on traffic.
        gain: Of challengers over champions; zero is on it.
        labels: From none.
        cost: From nothing.
        agreement: Up to 1.
        drift: From none.
    """

    months: Axis
    accuracy: Axis
    gain: Axis
    labels: Axis
    cost: Axis
    agreement: Axis
    drift: Axis

    @classmethod
    def of(
        cls, families: Sequence[FamilyEvidence], currency: str, drift_limit: float, agreement_floor: float
    ) -> "Scales":
        """Return axes on which every figure of every family has its place."""
        months = [month for family in families for month in family.months]
        quarters = [quarter for family in families for quarter in family.quarters]
        gains = [bound for quarter in quarters if (gain := quarter.gain) for bound in (gain.lower, gain.upper)]
        return cls(
            months=_month_axis([month.cycle for month in months]),
            accuracy=_share_axis("Accuracy", [bound for found in _figures(quarters) for bound in as_interval(found)]),
            gain=charts.axis("Macro-F1", [*gains, 0.0]),
            labels=charts.axis("Pages with a label", [float(month.labels or 0) for month in months], low=0.0),
            cost=charts.axis(currency, [month.cost for month in months], low=0.0),
            agreement=_share_axis(
                "Alpha", [agreement_floor, *(month.agreement for month in months if month.agreement)]
            ),
            drift=charts.axis("Share of pages", [drift_limit, *(abs(move) for move in _moves(months))], low=0.0),
        )


def accuracy(family: FamilyEvidence, scales: Scales) -> Chart | None:
    """Return accuracy on traffic of every quarter's challenger, and of the champion before it."""
    quarters = [quarter for quarter in family.quarters if quarter.challenger]
    if not quarters:
        return None
    lines = [
        _models("champion", [(quarter, quarter.champion) for quarter in quarters], scales, -1),
        _models("challenger", [(quarter, quarter.challenger) for quarter in quarters], scales, 1),
    ]
    told = "; ".join(f"{quarter.cycle} {_value(quarter.challenger)}" for quarter in quarters)
    label = f"Accuracy of {family.name} on traffic with 95 % intervals. Challenger: {told}."
    return Chart(
        "Accuracy on traffic",
        charts.line_chart(label, scales.months, scales.accuracy, lines),
        ("Cycle", "Challenger", "Champion before", "Traffic with a label"),
        tuple(
            (quarter.cycle, _written(quarter.challenger), _written(quarter.champion), percent(quarter.labelled))
            for quarter in quarters
        ),
    )


def gains(family: FamilyEvidence, scales: Scales) -> Chart | None:
    """Return what every challenger gained over its champion on golden, losses below the line."""
    quarters = [(quarter, quarter.gain) for quarter in family.quarters if quarter.gain]
    if not quarters:
        return None
    zero = Series("", "reference", ((scales.months.low, 0.0), (scales.months.high, 0.0)))
    drawn = [
        Series(
            "",
            "better" if gain.point > 0 else "worse",
            ((_at(quarter.cycle), gain.point),),
            ((gain.lower, gain.upper),),
            has_marks=True,
            has_line=False,
        )
        for quarter, gain in quarters
    ]
    told = "; ".join(f"{quarter.cycle} {signed(gain.point)}" for quarter, gain in quarters)
    label = f"Gain of each challenger of {family.name} over its champion in macro-F1 on golden: {told}."
    return Chart(
        "Gain over the champion, on golden",
        charts.line_chart(label, scales.months, scales.gain, [zero, *drawn]),
        ("Cycle", "Gain in macro-F1", "Verdict"),
        tuple(
            (quarter.cycle, f"{signed(gain.point)}\n{bounds(gain.lower, gain.upper)}", quarter.verdict.verdict)
            for quarter, gain in quarters
        ),
    )


def labels(family: FamilyEvidence, scales: Scales) -> Chart | None:
    """Return how many pages have a concluded label after each month."""
    months = [month for month in family.months if month.labels is not None]
    rows = tuple((month.cycle, number(month.labels), number(month.answers), number(month.pages)) for month in months)
    header = ("Cycle", "Labels so far", "Answers taken", "Pages scored")
    return _monthly(
        "Labels so far", family, months, lambda month: month.labels, scales.months, scales.labels, header, rows
    )


def costs(family: FamilyEvidence, scales: Scales) -> Chart | None:
    """Return what answers and computing of each month cost, with its time and size."""
    rows = tuple(
        (month.cycle, number(month.cost, 2), duration(month.wall_s), f"{month.size_bytes / _MB:,.1f} MB")
        for month in family.months
    )
    header = ("Cycle", f"Cost, {scales.cost.title}", "Computing", "Stored")
    title = f"Cost of a month, {scales.cost.title}"
    return _monthly(title, family, family.months, lambda month: month.cost, scales.months, scales.cost, header, rows)


def agreement(family: FamilyEvidence, scales: Scales, floor: float) -> Chart | None:
    """Return how far annotators agreed, and the floor."""
    months = [month for month in family.months if month.agreement is not None]
    rows = tuple((month.cycle, number(month.agreement)) for month in months)
    header = ("Cycle", "Krippendorff's alpha")
    axes = (scales.months, scales.agreement)
    return _monthly("Agreement, alpha", family, months, lambda month: month.agreement, *axes, header, rows, floor)


def drift(family: FamilyEvidence, scales: Scales, limit: float) -> Chart | None:
    """Return the largest move of a class in each month, and the limit."""
    months = [month for month in family.months if month.drift]
    rows = tuple(
        (month.cycle, f"{points(found.largest[1])}\n{found.largest[0]}", found.trained_in, number(found.pages))
        for month in months
        if (found := month.drift)
    )
    header = ("Cycle", "Largest move", "Trained in", "Pages")
    axes = (scales.months, scales.drift)
    return _monthly("Largest move of a class", family, months, _largest, *axes, header, rows, limit)


def percent(share: float | None) -> str:
    """Return a share as it is read."""
    return number(None if share is None else 100 * share, 1) + ("" if share is None else " %")


def points(move: float) -> str:
    """Return a difference of shares in points of a hundred."""
    return f"{signed(100 * move, 1)} points"


def bounds(low: float, high: float) -> str:
    """Return the bounds of a difference."""
    return f"{signed(low)} to {signed(high)}"


def duration(seconds: float | None) -> str:
    """Return a time in its largest fitting unit."""
    if seconds is None:
        return number(None)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def _monthly(
    title: str,
    family: FamilyEvidence,
    months: Sequence[Month],
    value: Callable[[Month], float | None],
    x: Axis,
    y: Axis,
    header: tuple[str, ...],
    rows: tuple[tuple[str, ...], ...],
    limit: float | None = None,
) -> Chart | None:
    """Return a figure month by month; None where there is none."""
    line = tuple((_at(month.cycle), float(found)) for month in months if (found := value(month)) is not None)
    if not line:
        return None
    reference = [Series("", "limit", ((x.low, limit), (x.high, limit)))] if limit is not None else []
    series = [*reference, Series("", "figure", line, has_marks=len(line) <= _MARKED)]
    label = f"{title} of {family.name} from {months[0].cycle} to {months[-1].cycle}: last {number(line[-1][1])}."
    return Chart(title, charts.line_chart(label, x, y, series), header, rows)


def _largest(month: Month) -> float | None:
    return abs(month.drift.largest[1]) if month.drift else None


def _moves(months: Sequence[Month]) -> list[float]:
    return [month.drift.largest[1] for month in months if month.drift]


def _models(style: str, found: Sequence[tuple[Quarter, Figure | None]], scales: Scales, side: int) -> Series:
    shift = side * (scales.months.high - scales.months.low) / _APART
    figures = [(_at(quarter.cycle) + shift, as_interval(figure)) for quarter, figure in found if figure]
    return Series(
        "",
        style,
        tuple((at, figure.value) for at, figure in figures),
        tuple((figure.low, figure.high) for _, figure in figures),
        has_marks=True,
    )


def _figures(quarters: Sequence[Quarter]) -> list[Figure]:
    return [figure for quarter in quarters for figure in (quarter.challenger, quarter.champion) if figure]


def _month_axis(cycles: Sequence[str]) -> Axis:
    known = sorted(set(cycles))
    if not known:
        return Axis("Cycle", 0.0, 1.0, ())
    every = -(-len(known) // _TICKS)
    first, last = _at(known[0]), _at(known[-1])
    margin = max(1.0, (last - first) / _MARGIN)
    # Counted from the last, whose label always stands.
    ticks = tuple((_at(cycle), cycle) for cycle in known[::-1][::every][::-1])
    return Axis("Cycle", first - margin, last + margin, ticks)


def _share_axis(title: str, values: Sequence[float]) -> Axis:
    """Return an axis up to 1 that begins at the tenth below the smallest value."""
    lowest = min(values, default=0.0)
    return charts.axis(title, values, low=_STEP * (lowest // _STEP), high=1.0)


def _at(cycle: str) -> float:
    return float(month_number(cycle))


def _value(figure: Figure | None) -> str:
    return number(figure.value if figure else None)


def _written(figure: Figure | None) -> str:
    return f"{_value(figure)}\n{interval(figure)}" if figure else number(None)
