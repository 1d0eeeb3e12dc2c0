from read_html import Document

from al_platform.domain.replay.figures import replay_figures
from al_platform.reports.replay_report import render_replay_report
from replayed_runs import played

HOSTILE = "<script>alert(1)</script>\u202e"


def figures(runs, **about):
    return replay_figures(runs, name="topics", family="topics", about={"archive": "a.parquet", **about}, unit="EUR")


def whole():
    runs = [
        played(name, seed, [f1 + seed / 100] * 3, curve=[(50, f1), (100, f1 + 0.05)])
        for seed in range(3)
        for name, f1 in [("margin", 0.7), ("default", 0.72), ("random", 0.65)]
    ]
    return runs + [played("default", seed, [0.75] * 3, budget=None, cadence=1) for seed in range(3)]


def test_the_page_needs_nothing_from_outside_and_runs_nothing():
    document = Document(render_replay_report(figures(whole())))
    assert not document.of("script")
    assert not [element for element in document.elements if {"src", "onload", "onerror"} & element.attributes.keys()]
    assert all(link.attributes["href"].startswith("#") for link in document.of("a"))


def test_the_headline_is_the_first_conclusion():
    found = figures(whole())
    (title,) = [element for element in Document(render_replay_report(found)).elements if element.tag == "h1"]
    assert title.attributes["id"] == "headline"
    assert found.conclusions[0] in Document(render_replay_report(found)).section("verdict")


def test_every_strategy_budget_and_cadence_is_on_the_page():
    document = Document(render_replay_report(figures(whole())))
    assert all(name in document.section("traffic") for name in ("margin", "default", "random"))
    assert "default, trained every 1 months" in document.section("effects")


def test_a_replay_of_one_seed_before_any_training_is_a_page_too():
    first = played("default", 0, [])
    after = first.points[0].model_copy(update={"number": 2, "cycle": "2026-02"})
    run = first.model_copy(update={"points": (*first.points, after)})
    document = Document(render_replay_report(figures([run])))
    assert "No model was trained" in document.section("labels")


def test_what_the_archive_is_called_is_escaped():
    page = render_replay_report(figures(whole(), about=HOSTILE))
    assert "<script>" not in page
    assert "\u202e" not in page


def test_equal_figures_give_equal_bytes():
    assert render_replay_report(figures(whole())) == render_replay_report(figures(whole()))
