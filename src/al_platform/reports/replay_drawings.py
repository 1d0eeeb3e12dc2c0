"""The charts of the report on a replay, each with the table of the figures that it shows."""

from collections.abc import Callable, Sequence

from al_platform.domain.replay.figures import Month, ReplayFigures, SettingFigures
from al_platform.domain.replay.paired import Mean
from al_platform.domain.replay.plan import RANDOM
from al_platform.reports import charts
from al_platform.reports.charts import Axis, Interval, Series
from al_platform.reports.drawings import Chart
from al_platform.reports.figures import number, signed

_STYLES = 5
_APART = 90  # marks of one month stand this part of the axis beside one another
_TICKS = 5
Told = Callable[[Month], Mean | None]


def style(place: int, found: SettingFigures) -> str:
    """Return the class of the style sheet that a strategy is drawn with; random's is the same on every page."""
    return "random" if found.setting.strategy == RANDOM else f"s{place % _STYLES}"


def traffic(figures: ReplayFigures) -> Chart | None:
    """Return the newest model's macro-F1 on each month's traffic."""
    return _monthly(figures, "Newest model on each month's traffic", lambda month: month.newest)


def in_use(figures: ReplayFigures) -> Chart | None:
    """Return the champion's macro-F1 on each month's traffic, beside the first champion left as it was."""
    return _monthly(
        figures, "Champion in use on each month's traffic", lambda month: month.in_use, lambda month: month.frozen
    )


def learning(figures: ReplayFigures) -> Chart | None:
    """Return labels against macro-F1 on the traffic of the month after the last."""
    base = [(place, found) for place, found in enumerate(figures.settings[: figures.base]) if found.curve]
    if not base:
        return None
    points = [point for _, found in base for point in found.curve]
    x = charts.axis("Pages sent for labelling", [point.labels for point in points], low=0.0)
    y = charts.axis("Macro-F1", [end for point in points for end in _ends(point.macro_f1)])
    lines = [
        Series(
            "",
            style(place, found),
            tuple((point.labels, point.macro_f1.value) for point in found.curve),
            tuple(_interval(point.macro_f1)[1:] for point in found.curve),
            has_marks=True,
        )
        for place, found in base
    ]
    told = "; ".join(f"{found.setting.strategy} {number(found.curve[-1].macro_f1.value)}" for _, found in base)
    rows = tuple(
        (found.setting.strategy, number(round(point.labels)), _written(point.macro_f1))
        for _, found in base
        for point in found.curve
    )
    title = f"What the labels taught, on {figures.cycles[-1]}"
    label = f"Macro-F1 against labels. With all labels: {told}."
    return Chart(title, charts.line_chart(label, x, y, lines), ("Strategy", "Labels", "Macro-F1"), rows)


def against_random(figures: ReplayFigures) -> Chart | None:
    """Return each strategy minus random, by seed."""
    base = figures.settings[: figures.base]
    rows = [(found, found.against_random) for found in base if found.against_random is not None]
    if not rows:
        return None
    ends = [end for _, mean in rows for end in _ends(mean)]
    x = charts.axis("Macro-F1 minus random's", [0.0, *ends])
    drawn = [
        (found.setting.strategy, [(style(place, found), _interval(mean))]) for place, (found, mean) in enumerate(rows)
    ]
    told = "; ".join(f"{found.setting.strategy} {signed(mean.value)}" for found, mean in rows)
    return Chart(
        "Against random, mean over the months",
        charts.interval_chart(f"Macro-F1 minus random's, by seed: {told}.", x, drawn),
        ("Strategy", "Difference", "Seed by seed"),
        tuple(
            (
                found.setting.strategy,
                f"{signed(mean.value)}\n{signed(mean.low)} to {signed(mean.high)}",
                ", ".join(signed(value) for value in mean.values),
            )
            for found, mean in rows
        ),
    )


def _monthly(figures: ReplayFigures, title: str, told: Told, frozen: Told | None = None) -> Chart | None:
    base = figures.settings[: figures.base]
    means = [mean for found in base for month in found.months if (mean := told(month)) is not None]
    stale = [mean for month in base[0].months if frozen and (mean := frozen(month)) is not None]
    if not means:
        return None
    x = _months(figures.cycles)
    y = charts.axis("Macro-F1", [end for mean in [*means, *stale] for end in _ends(mean)])
    lines = [_line(found, place, len(base), told, x) for place, found in enumerate(base)]
    if frozen:
        lines.insert(0, Series("", "reference", _points(base[0].months, frozen)))
    header = ("Month", *(found.setting.strategy for found in base), *(["Frozen"] if frozen else []))
    rows = tuple(
        (
            cycle,
            *(_written(told(found.months[at])) for found in base),
            *([_written(frozen(base[0].months[at]))] if frozen else []),
        )
        for at, cycle in enumerate(figures.cycles)
    )
    last = "; ".join(f"{found.setting.strategy} {_written(told(found.months[-1]))}" for found in base)
    note = f"Dotted: the first champion of {base[0].setting.strategy}, left as it was." if frozen else ""
    return Chart(title, charts.line_chart(f"{title}. Last: {last}.", x, y, lines), header, rows, note)


def _line(found: SettingFigures, place: int, of: int, told: Told, x: Axis) -> Series:
    shift = (place - (of - 1) / 2) * (x.high - x.low) / _APART
    known = [(at, mean) for at, month in enumerate(found.months) if (mean := told(month)) is not None]
    return Series(
        "",
        style(place, found),
        tuple((at + shift, mean.value) for at, mean in known),
        tuple(_interval(mean)[1:] for _, mean in known),
        has_marks=True,
    )


def _points(months: Sequence[Month], told: Told) -> tuple[tuple[float, float], ...]:
    return tuple((float(at), mean.value) for at, month in enumerate(months) if (mean := told(month)) is not None)


def _months(cycles: Sequence[str]) -> Axis:
    every = -(-len(cycles) // _TICKS)
    ticks = tuple((float(at), cycles[at]) for at in range(len(cycles) - 1, -1, -every))
    return Axis("Month", -0.5, len(cycles) - 0.5, ticks[::-1])


def _interval(mean: Mean) -> Interval:
    low, high = _ends(mean)
    return Interval(mean.value, low, high)


def _ends(mean: Mean) -> tuple[float, float]:
    return (mean.value if mean.low is None else mean.low, mean.value if mean.high is None else mean.high)


def _written(mean: Mean | None) -> str:
    if mean is None:
        return number(None)
    if mean.low is None or mean.high is None:
        return number(mean.value)
    return f"{number(mean.value)}\n{number(mean.low)} to {number(mean.high)}"
