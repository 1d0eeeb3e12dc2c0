import re

import pytest
from read_html import Document

from al_platform.reports import erasable
from al_platform.reports.challenger_report import ChallengerReport, render_report
from report_inputs import CHALLENGER, CHAMPION, EVALUATION, VERDICT, first_champion, make_report, outputs, regressions


def page(**changed):
    return Document(render_report(make_report(**changed)))


@pytest.fixture(scope="module")
def document():
    return page()


def test_the_verdict_comes_first_with_its_reason(document):
    assert next(iter(document.sections)) in ("", "verdict")
    told = document.section("verdict")
    assert (
        told.index("promote") < told.index("Promote the challenger") < told.index("It replaces champion cdcdcdcdcdcd")
    )
    assert "every required check passed" in told
    assert "min_golden is 20 instead of 1000" in told


@pytest.mark.parametrize(
    ("verdict", "missing", "told"),
    [
        ("iterate", 1200, "Champion cdcdcdcdcdcd stays for now. About 1,200 more labelled pages would settle it."),
        ("iterate", None, "Champion cdcdcdcdcdcd stays for now."),
        ("reject", None, "Champion cdcdcdcdcdcd stays."),
    ],
)
def test_a_verdict_that_promotes_nothing_says_what_becomes_of_the_champion(verdict, missing, told):
    found = page(verdict={**VERDICT, "verdict": verdict, "missing_rows": missing})
    assert told in found.section("verdict")


def test_every_check_stands_with_number_threshold_result_and_reason(document):
    told = document.section("checks")
    for check in VERDICT["checks"]:
        assert check["why"] in told
    assert "Pages in golden 40 at least 20 ✓ passed" in told or "Pages in golden40at least 20✓ passed" in told
    assert "+0.026" in told
    assert "above −0.005" in told
    assert "A new guardrail" in told
    assert "○ open" in told
    assert "! warning" in told


def test_figures_stand_with_their_intervals_for_both_models_golden_first(document):
    told = document.section("metrics")
    assert told.index("Golden, 40 pages") < told.index("Audit, 30 pages")
    assert told.index("Macro-F1") < told.index("Accuracy")
    for figure in ("0.700", "0.600 to 0.800", "0.500 to 0.700", "+0.100", "+0.026 to +0.200"):
        assert figure in told


def test_regressions_stand_with_their_text(document):
    told = document.section("regressions")
    assert "the bank sponsors a race" in told
    assert "page-0002" in told


def test_what_a_cycle_takes_in_time_and_money_is_not_in_it(document):
    assert "kedro al status --growth" in document.section("data")
    assert not re.search(r"EUR|wall|seconds", " ".join(document.text))


def test_it_names_the_models_and_how_to_see_what_they_came_from(document):
    told = document.section("origin")
    assert CHALLENGER in told
    assert CHAMPION in told
    assert f"kedro al lineage {CHALLENGER[:16]}" in told


def test_equal_outputs_give_equal_bytes():
    assert render_report(make_report()) == render_report(make_report())


def test_the_first_champion_has_nothing_to_be_compared_with():
    report = ChallengerReport.of_outputs("topics", "2026-10", **first_champion())
    found = Document(render_report(report))
    assert "It is the first champion of its family." in found.section("verdict")
    for section in ("metrics", "regressions"):
        assert "No champion yet: there is nothing to compare with." in found.section(section)
    assert "No champion yet: nothing could have gone stale." in found.section("staleness")
    assert not any(
        style == "champion" for element in found.elements for style in element.attributes.get("class", "").split()
    )


def test_what_evaluation_does_not_measure_is_left_out():
    bare = {"macro_f1": EVALUATION["golden"]["challenger"]["macro_f1"]}
    found = page(
        evaluation={"golden": {"n": 40, "challenger": bare, "champion": None}},
        staleness=None,
        regressions=None,
        curves=(),
    )
    assert "precision-recall" not in found.sections
    assert "Calibration was not measured." in found.section("calibration")
    assert "No class was measured" in found.section("classes")


def test_what_it_does_not_know_is_left_aside():
    more = {**EVALUATION, "note": "a string", "golden": {**EVALUATION["golden"], "new": {"deep": [1]}}}
    found = page(evaluation=more, verdict={**VERDICT, "golden_history": {}})
    assert found.section("metrics") == page().section("metrics")


def test_a_figure_that_is_not_known_here_becomes_a_row():
    challenger = {**EVALUATION["golden"]["challenger"], "f_half": 0.123}
    found = page(evaluation={"golden": {"n": 40, "challenger": challenger, "champion": None}})
    assert "F half0.123" in found.section("metrics").replace(" 0.123", "0.123")


def test_slices_are_compared_with_the_champion_where_that_was_measured(document):
    told = document.section("slices")
    assert "language: en" in told
    assert "−0.020" in told
    assert "4 parts are too small" in told


def test_past_champions_stand_with_what_stopping_at_them_would_have_cost(document):
    told = document.section("staleness")
    assert told.index("2026-04, efefefef") < told.index("2026-07, cdcdcdcd") < told.index("2026-10, challenger")
    assert "+0.220" in told


def test_it_loads_nothing_and_runs_nothing(document):
    policy = next(e.attributes["content"] for e in document.of("meta") if "http-equiv" in e.attributes)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    for tag in ("script", "link", "img", "iframe", "object", "embed", "form", "base", "image", "use"):
        assert document.of(tag) == []
    whole = render_report(make_report())
    assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg)", whole)
    assert not re.search(r"@import|url\(|expression\(", whole)
    for element in document.elements:
        assert not any(name.startswith("on") or name in ("src", "srcdoc", "style") for name in element.attributes)
        assert element.attributes.get("href", "#").startswith("#")


def test_its_structure_can_be_heard_and_walked_through_by_keyboard(document):
    assert [e.attributes["lang"] for e in document.of("html")] == ["en"]
    assert len(document.of("h1")) == 1
    assert len(document.of("main")) == 1
    assert len(document.of("caption")) == len(document.of("table"))
    ids = [e.attributes["id"] for e in document.elements if "id" in e.attributes]
    assert len(set(ids)) == len(ids)
    assert {e.attributes["href"][1:] for e in document.of("a")} <= set(ids)
    for section in document.of("section"):
        assert section.attributes["aria-labelledby"] in ids
    for header in document.of("th"):
        assert header.attributes["scope"] in ("row", "col")
    for chart in document.of("svg"):
        assert chart.attributes.get("aria-hidden") == "true" or len(chart.attributes["aria-label"]) > 20
    for region in (e for e in document.elements if e.attributes.get("role") == "region"):
        assert region.attributes["tabindex"] == "0"
        assert region.attributes["aria-label"]


def test_every_chart_but_those_of_the_tables_stands_with_a_table(document):
    figures = [e for e in document.of("svg") if e.attributes.get("class") == "chart"]
    folded = document.of("details")
    assert len(figures) == len(folded) + 2  # macro-F1 and staleness: their tables are open


def test_a_page_can_be_taken_out_of_it_again():
    whole = render_report(make_report())
    without, removed = erasable.without_page(whole, "page-0002")
    assert removed == 1
    assert "page-0002" in whole
    assert "page-0002" not in without
    assert "the bank sponsors a race" not in without
    assert "the striker bought shares" in without
    Document(without)
    assert erasable.without_page(without, "page-0002") == (without, 0)


def test_a_page_that_several_sections_tell_of_goes_from_all():
    whole = render_report(make_report(regressions=regressions(page_id="page-0001")))
    without, removed = erasable.without_page(whole, "page-0001")
    assert removed == 2
    assert "page-0001" not in without


def test_outputs_are_not_changed_by_the_report():
    before, given = outputs(), outputs()
    render_report(ChallengerReport.of_outputs("topics", "2026-10", **given))
    assert given == before
