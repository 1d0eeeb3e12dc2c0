import math
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from al_platform.reports import charts
from al_platform.reports.charts import Axis, Interval, Series

FINITE = st.floats(-1e6, 1e6, allow_nan=False)
UNIT = charts.axis("share", (), low=0.0, high=1.0)


def parsed(svg):
    return ET.fromstring(svg)


def test_an_axis_has_round_ticks_around_the_values():
    axis = charts.axis("loss", [0.3, 1.63])
    assert (axis.low, axis.high) == (0.0, 2.0)
    assert [written for _, written in axis.ticks] == ["0.0", "0.5", "1.0", "1.5", "2.0"]


@given(st.lists(FINITE, max_size=20))
def test_an_axis_holds_every_value_and_few_ticks(values):
    axis = charts.axis("any", values)
    assert all(axis.low - 1e-6 <= value <= axis.high + 1e-6 for value in values)
    assert 2 <= len(axis.ticks) <= 8
    assert all(0 <= axis.share(value) <= 1 for value in values)


def test_values_that_are_no_numbers_do_not_stop_a_chart():
    axis = charts.axis("loss", [math.nan, math.inf, 1.0])
    assert math.isfinite(axis.low)
    svg = charts.line_chart("loss", UNIT, axis, [Series("", "train", ((0.0, math.nan), (1.0, 1.0)))])
    assert "nan" not in svg


def test_a_line_rises_from_left_to_right_with_its_values():
    svg = parsed(charts.line_chart("rises", UNIT, UNIT, [Series("a", "challenger", ((0.0, 0.0), (1.0, 1.0)))]))
    points = svg.find("polyline").get("points").split()
    (x1, y1), (x2, y2) = (map(float, point.split(",")) for point in points)
    assert x1 < x2
    assert y1 > y2


def test_labels_at_the_ends_of_lines_keep_apart():
    lines = [Series(name, "train", ((0.0, 0.5), (1.0, 0.5))) for name in ("one", "two", "three")]
    svg = parsed(charts.line_chart("equal", UNIT, UNIT, lines))
    heights = sorted(float(text.get("y")) for text in svg.iter("text") if "label" in text.get("class"))
    assert all(after - before >= 14 for before, after in pairwise(heights))


def test_challenger_and_champion_differ_in_shape_and_not_in_colour_alone():
    figure = Interval(0.5, 0.4, 0.6)
    svg = parsed(charts.interval_chart("both", UNIT, [("golden", [("challenger", figure), ("champion", figure)])]))
    assert len(list(svg.iter("circle"))) == 1
    assert len(list(svg.iter("polygon"))) == 1


def test_what_lies_beyond_an_axis_is_held_at_its_end():
    assert Axis("share", 0.0, 1.0, ()).share(7.0) == 1.0
    svg = parsed(charts.strip([("challenger", Interval(2.0, -1.0, 3.0))]))
    assert 0 <= float(svg.find("circle").get("cx")) <= 120


@pytest.mark.parametrize("share", [-1.0, 0.0, 0.5, 2.0])
def test_a_bar_stays_within_its_cell(share):
    assert 0 <= float(parsed(charts.bar(share, "challenger")).find("rect").get("width")) <= 120


def test_names_in_a_chart_are_escaped():
    svg = charts.interval_chart("<b>\"'", UNIT, [("<script>", [("challenger", Interval(0.5, 0.5, 0.5))])])
    assert "<script>" not in svg
    assert [text.text for text in parsed(svg).iter("text")].count("<script>") == 1
