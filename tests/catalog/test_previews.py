"""What Kedro-Viz shows of what stages wrote."""

import typing

import pytest

from al_platform.catalog import previews
from al_platform.catalog.outputs import StageOutput
from al_platform.domain.errors import ConfigError

F1 = {"f1": 0.5, "intervals": {"f1": {"low": 0.3, "high": 0.6}}}


def output(**options):
    return StageOutput(root="/nowhere", family="topics", cycle="2026-10", stage="training", name="x", **options)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({}, "TablePreview"),
        ({"format": "json"}, "JSONPreview"),
        ({"format": "json", "shown_as": "curves"}, "PlotlyPreview"),
        ({"format": "json", "shown_as": "checks"}, "TablePreview"),
    ],
)
def test_the_kind_of_preview_is_read_off_the_return_type(options, kind):
    assert typing.get_type_hints(output(**options).preview)["return"].__name__ == kind


def test_a_preview_that_there_is_not_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'curves'"):
        output(format="json", shown_as="curve")


def test_curves_are_a_line_for_each_figure_with_gaps_where_it_was_not_measured():
    plot = previews.curves({"history": [{"epoch": 0, "loss": 2.0}, {"epoch": 1, "loss": 1.0, "f1": 0.5}]})
    assert [(line["name"], line["x"], line["y"]) for line in plot["data"]] == [
        ("loss", [0, 1], [2.0, 1.0]),
        ("f1", [0, 1], [None, 0.5]),
    ]


def test_class_balance_has_a_bar_for_each_set():
    plot = previews.class_balance({"class_balance": {"train": {"sport": 3, "tech": 1}, "golden": {"sport": 1}}})
    assert [(bar["name"], bar["x"], bar["y"]) for bar in plot["data"]] == [
        ("train", ["sport", "tech"], [3, 1]),
        ("golden", ["sport"], [1]),
    ]


def test_class_f1_shows_both_models_with_intervals():
    classes = [{"label": "sport", **F1}, {"label": "tech", "f1": 0.4}]
    plot = previews.class_f1({"golden": {"challenger": {"per_class": classes}, "champion": None}})
    (bar,) = plot["data"]
    assert (bar["name"], bar["x"], bar["y"]) == ("challenger", ["sport", "tech"], [0.5, 0.4])
    assert bar["error_y"]["array"] == pytest.approx([0.1, 0.0])
    assert bar["error_y"]["arrayminus"] == pytest.approx([0.2, 0.0])


def test_without_golden_pages_there_are_no_bars():
    assert previews.class_f1({})["data"] == []


def test_checks_that_failed_come_first():
    known = {"required": True, "value": 1.0, "threshold": 2.0, "why": "because"}
    shown = [{"name": name, "passed": passed, **known} for name, passed in (("a", True), ("b", None), ("c", False))]
    assert [row["name"] for row in previews.checks({"checks": shown})] == ["c", "a", "b"]


def test_past_champions_end_with_the_challenger():
    figure = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 12, "set": "audit"}
    rows = previews.past_champions({"champions": [{"cycle": "2026-01", "macro_f1": figure}], "challenger": figure})
    assert [(row["model"], row["value"]) for row in rows] == [("2026-01", 0.5), ("challenger", 0.5)]


def test_records_are_a_table_of_short_texts():
    table = previews.records_preview([{"a": 1, "b": "x" * 200}, {"a": None, "b": "y"}])
    assert table["columns"] == ["a", "b"]
    assert table["data"][0] == ["1", "x" * previews.MAX_CHARS + "…"]
    assert table["data"][1] == ["", "y"]
