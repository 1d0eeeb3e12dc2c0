"""Charts as inline SVG: drawn here, coloured by the style sheet, and always beside a table of the same figures.

Sizes are in units of the view box, which is about as wide as a phone's screen, so that text stays readable there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple
from xml.etree import ElementTree as ET

from markupsafe import Markup

from al_platform.reports.plain import plain

WIDTH, HEIGHT = 360, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 14, 12, 40
_LABEL_GAP = 14
_ROW, _ROW_LABEL = 58, 24
_MARK_OFFSET = 7
_STRIP_WIDTH, _STRIP_HEIGHT = 120, 14
_STRIP_PADDING = 6
_LABEL_CHARS = 24
_NICE_STEPS = (1, 2, 2.5, 5, 10)


class Interval(NamedTuple):
    """A figure and its interval; without one, ``low`` and ``high`` are the value."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Series:
    """A line of a chart.

    Attributes:
        name: Written at its end; empty for none.
        style: Class of the style sheet: ``challenger``, ``champion``, ``train``, ``validation`` or ``reference``.
        points: x and y, in order of x.
        intervals: Low and high of y at each point; empty for none.
        has_marks: Whether each point has a mark.
        has_line: Whether the points are joined.
    """

    name: str
    style: str
    points: tuple[tuple[float, float], ...]
    intervals: tuple[tuple[float, float], ...] = ()
    has_marks: bool = False
    has_line: bool = True


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        title: With its unit.
        low: Where it begins.
        high: Where it ends.
        ticks: Positions and what is written there.
    """

    title: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def share(self, value: float) -> float:
        """Return how far along the axis a value lies, from 0 to 1; beyond the ends it is held there."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


def axis(title: str, values: Sequence[float], *, low: float | None = None, high: float | None = None) -> Axis:
    """Return an axis over ``values`` with a few round ticks; ``low`` and ``high`` fix its ends."""
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    first, last = min(known) if low is None else low, max(known) if high is None else high
    if last <= first:
        first, last = first - 0.5, first + 0.5
    step = _step((last - first) / 4)
    start = first if low is not None else math.floor(first / step) * step
    end = last if high is not None else math.ceil(last / step) * step
    digits = max(0, math.ceil(-math.log10(step)) + (1 if _leading(step) == 2.5 else 0))  # noqa: PLR2004
    count = math.floor((end - math.ceil(start / step - 1e-9) * step) / step + 1e-9)
    ticks = [math.ceil(start / step - 1e-9) * step + step * number for number in range(count + 1)]
    return Axis(title, start, end, tuple((tick, f"{tick:.{digits}f}") for tick in ticks))


def line_chart(label: str, x: Axis, y: Axis, series: Sequence[Series]) -> Markup:
    """Return lines over two axes; ``label`` says in a sentence what they show."""
    svg = _svg(label, WIDTH, HEIGHT)
    _draw_axes(svg, x, y)
    for each in series:
        _draw_series(svg, each, x, y)
    ends = [(each, _y(y, each.points[-1][1])) for each in series if each.name and each.points]
    for (each, _), height in zip(ends, _apart([height for _, height in ends]), strict=True):
        text = _text(svg, WIDTH - _RIGHT - 2, height - 5, each.name, "end")
        text.set("class", f"label ink-{each.style}")
    return _written(svg)


def interval_chart(label: str, x: Axis, rows: Sequence[tuple[str, Sequence[tuple[str, Interval]]]]) -> Markup:
    """Return a row for each name, with a mark and an interval for each model of it."""
    bottom = _TOP + len(rows) * _ROW
    svg = _svg(label, WIDTH, bottom + _BOTTOM - 4)
    left, right = _LABEL_GAP, WIDTH - _RIGHT
    for tick, written in x.ticks:
        at = left + x.share(tick) * (right - left)
        _line(svg, at, _TOP, at, bottom, "grid")
        _text(svg, at, bottom + 14, written, "middle")
    _text(svg, (left + right) / 2, bottom + 30, x.title, "middle").set("class", "axis-title")
    for number, (name, models) in enumerate(rows):
        top = _TOP + number * _ROW
        _text(svg, left, top + 8, _short(name), "start").set("class", "label")
        for offset, (style, figure) in enumerate(models):
            _draw_interval(svg, x, (left, right), top + _ROW_LABEL + 2 * _MARK_OFFSET * offset, style, figure)
    return _written(svg)


def strip(marks: Sequence[tuple[str, Interval]]) -> Markup:
    """Return a small picture for a table's cell: marks with intervals between 0 and 1, the first one on top."""
    svg = _cell()
    x = Axis("", 0.0, 1.0, ())
    ends = (_STRIP_PADDING, _STRIP_WIDTH - _STRIP_PADDING)
    middle = _STRIP_HEIGHT / 2
    _line(svg, ends[0], middle, ends[1], middle, "track")
    if len(marks) > 1:
        places = [ends[0] + x.share(figure.value) * (ends[1] - ends[0]) for _, figure in marks[:2]]
        _line(svg, places[0], middle, places[1], middle, "link")
    for style, figure in reversed(marks):
        _draw_interval(svg, x, ends, middle, style, figure)
    return _written(svg)


def bar(share: float, style: str) -> Markup:
    """Return a bar for a table's cell, as long as its share of 1."""
    svg = _cell()
    length = _number(max(0.0, min(1.0, share)) * _STRIP_WIDTH)
    ET.SubElement(svg, "rect", x="0", y="2", width=length, height="10", rx="1").set("class", f"fill-{style}")
    return _written(svg)


def _svg(label: str, width: float, height: float) -> ET.Element:
    svg = ET.Element("svg", viewBox=f"0 0 {width} {_number(height)}", role="img")
    svg.set("aria-label", plain(label))
    svg.set("class", "chart")
    return svg


def _cell() -> ET.Element:
    """Return an empty picture for a table's cell; it is hidden from who hears the page, as the number stands beside."""
    svg = ET.Element("svg", viewBox=f"0 0 {_STRIP_WIDTH} {_STRIP_HEIGHT}", width=str(_STRIP_WIDTH))
    svg.set("height", str(_STRIP_HEIGHT))
    svg.set("aria-hidden", "true")
    svg.set("class", "strip")
    return svg


def _written(svg: ET.Element) -> Markup:
    # Every text was escaped by the serialiser.
    return Markup(ET.tostring(svg, encoding="unicode", short_empty_elements=False))


def _draw_axes(svg: ET.Element, x: Axis, y: Axis) -> None:
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    for tick, written in y.ticks:
        _line(svg, _LEFT, _y(y, tick), right, _y(y, tick), "grid")
        _text(svg, _LEFT - 6, _y(y, tick) + 4, written, "end")
    for tick, written in x.ticks:
        _line(svg, _x(x, tick), bottom, _x(x, tick), bottom + 4, "axis")
        _text(svg, _x(x, tick), bottom + 16, written, "middle")
    _line(svg, _LEFT, bottom, right, bottom, "axis")
    _text(svg, (_LEFT + right) / 2, HEIGHT - 6, x.title, "middle").set("class", "axis-title")


def _draw_series(svg: ET.Element, series: Series, x: Axis, y: Axis) -> None:
    places = [(_x(x, at), _y(y, value)) for at, value in series.points]
    if series.has_line:
        path = " ".join(f"{_number(at)},{_number(height)}" for at, height in places)
        ET.SubElement(svg, "polyline", points=path, fill="none").set("class", f"line line-{series.style}")
    for (at, _), (low, high) in zip(places, series.intervals, strict=False):
        _line(svg, at, _y(y, low), at, _y(y, high), f"whisker line-{series.style}")
    for at, height in places if series.has_marks else ():
        _draw_mark(svg, at, height, series.style)


def _draw_interval(
    svg: ET.Element, x: Axis, ends: tuple[float, float], height: float, style: str, figure: Interval
) -> None:
    low, high, value = (ends[0] + x.share(each) * (ends[1] - ends[0]) for each in (figure.low, figure.high, figure[0]))
    if figure.high > figure.low:
        _line(svg, low, height, high, height, f"whisker line-{style}")
    _draw_mark(svg, value, height, style)


def _draw_mark(svg: ET.Element, at: float, height: float, style: str) -> None:
    """Draw a disc for the challenger, a hollow diamond for the champion: shapes differ where colours do not."""
    if style == "champion":
        corners = ((at, height - 5), (at + 5, height), (at, height + 5), (at - 5, height))
        points = " ".join(f"{_number(right)},{_number(down)}" for right, down in corners)
        ET.SubElement(svg, "polygon", points=points).set("class", "mark mark-champion")
        return
    ET.SubElement(svg, "circle", cx=_number(at), cy=_number(height), r="4").set("class", f"mark mark-{style}")


def _line(svg: ET.Element, x1: float, y1: float, x2: float, y2: float, style: str) -> None:
    line = ET.SubElement(svg, "line", x1=_number(x1), y1=_number(y1), x2=_number(x2), y2=_number(y2))
    line.set("class", style)


def _text(svg: ET.Element, x: float, y: float, text: str, anchor: str) -> ET.Element:
    element = ET.SubElement(svg, "text", x=_number(x), y=_number(y))
    element.set("text-anchor", anchor)
    element.set("class", "tick")
    element.text = plain(text)
    return element


def _x(x: Axis, value: float) -> float:
    return _LEFT + x.share(value) * (WIDTH - _RIGHT - _LEFT)


def _y(y: Axis, value: float) -> float:
    return HEIGHT - _BOTTOM - y.share(value) * (HEIGHT - _BOTTOM - _TOP)


def _apart(heights: Sequence[float]) -> list[float]:
    """Return the heights moved up so that labels do not overlap, in the order given."""
    moved = list(heights)
    order = sorted(range(len(heights)), key=lambda index: -heights[index])
    for below, index in pairwise(order):
        moved[index] = min(moved[index], moved[below] - _LABEL_GAP)
    return moved


def _short(name: str) -> str:
    return name if len(name) <= _LABEL_CHARS else f"{name[: _LABEL_CHARS - 1]}…"


def _step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(nice * power for nice in _NICE_STEPS if nice * power >= rough * (1 - 1e-9))


def _leading(step: float) -> float:
    return round(step / 10.0 ** math.floor(math.log10(step)), 6)


def _number(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".") if math.isfinite(value) else "0"
