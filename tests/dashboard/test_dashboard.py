"""The dashboard of a real store: its figures are those that the stages committed."""

from collections import Counter
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from al_platform.cli import al
from al_platform.dashboard import publish
from al_platform.dashboard.links import Links
from al_platform.dashboard.options import DashboardOptions
from al_platform.dashboard.page import build_dashboard
from al_platform.domain.cycles import shift_cycle
from al_platform.domain.errors import ConfigError
from al_platform.growth import growth_of
from al_platform.reports.figures import number
from al_platform.storage.store import LocalStore
from reports.read_html import Document
from temporary_project import CYCLE, make_project

NEXT = shift_cycle(CYCLE, 1)
NOW = datetime(2027, 1, 10, tzinfo=UTC)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def quarter(tmp_path_factory, cache):
    """A month and a quarter of one family, and the month after, scored by its champion."""
    project = make_project(tmp_path_factory.mktemp("dashboard"))
    project.only("topics")
    project.run("monthly")
    project.run("quarterly")
    project.run("monthly", cycle=NEXT)
    return project


@pytest.fixture(scope="module")
def gathered(quarter):
    return publish.gather(quarter.loader, NOW)


@pytest.fixture(scope="module")
def topics(gathered):
    return gathered.families[0]


def test_months_hold_what_ingest_and_growth_say(quarter, topics):
    assert [month.cycle for month in topics.months] == [CYCLE, NEXT]
    newest = quarter.load("topics.annotation_ingest_report", NEXT)["agreement_by_cycle"]
    for month in topics.months:
        ingest = quarter.load("topics.annotation_ingest_report", month.cycle)
        growth = growth_of(quarter.loader, "topics", month.cycle)
        assert (month.answers, month.labels, month.agreement) == (
            *(ingest["answers_taken"], ingest["labels"]),
            pytest.approx(newest[month.cycle]),
        )
        assert (month.wall_s, month.size_bytes) == (pytest.approx(growth.wall_s, abs=0.06), growth.size_bytes)
        assert month.cost == pytest.approx(growth.cost, abs=0.006)


def test_the_quarter_holds_what_evaluation_and_gate_say(quarter, topics):
    evaluation, verdict = (quarter.load(f"topics.{name}") for name in ("evaluation", "verdict"))
    (found,) = topics.quarters
    assert found.challenger.model_dump() == {
        name: evaluation["audit"]["traffic"]["challenger"]["inclusion_weighted"][name]
        for name in ("value", "low", "high")
    }
    assert found.champion is None
    assert found.gain is None
    assert found.verdict.verdict == verdict["verdict"] == "promote"
    assert found.labelled == evaluation["audit"]["traffic"]["response"]["share"]
    assert LocalStore(quarter.loader.root("models")).exists(found.report)


def test_drift_is_of_what_the_champion_predicts_against_what_it_was_trained_on(quarter, topics):
    assert topics.months[0].drift is None
    found = topics.months[1].drift
    rows = quarter.load("topics.predictions", NEXT).select("probabilities").to_pyarrow()["probabilities"].to_pylist()
    labels = quarter.loader["parameters"]["topics"]["taxonomy"]["labels"]
    likeliest = Counter(labels[row.index(max(row))] for row in rows)
    assert found.predicted == {label: likeliest[label] / len(rows) for label in labels}
    card = quarter.load("topics.dataset_card")
    assert found.trained == {
        label: count / card["sets"]["train"] for label, count in card["class_balance"]["train"].items()
    }
    assert (found.trained_in, found.pages) == (CYCLE, len(rows))


def test_predictions_that_are_too_large_to_fetch_are_not_read(quarter):
    quarter.configure("dashboard.yml", {"max_predictions_mb": 0})
    try:
        assert [month.drift for month in publish.gather(quarter.loader, NOW).families[0].months] == [None, None]
    finally:
        (quarter.path / "conf" / "test" / "dashboard.yml").unlink()


def test_the_page_shows_these_figures(quarter, gathered):
    document = Document(gathered.page(Links("/data")))
    card = document.section("families")
    accuracy = quarter.load("topics.evaluation")["audit"]["traffic"]["challenger"]["inclusion_weighted"]["value"]
    assert number(accuracy) in card
    assert quarter.load("topics.verdict")["challenger_digest"][:8] in card
    assert "No challenger met a champion yet" in card


def test_each_run_is_a_row_with_its_pipeline_and_cycle(gathered):
    dashboard = build_dashboard(gathered.families, gathered.runs, gathered.source, gathered.options)
    rows = [(run.state, run.what, run.cycle) for run in dashboard.runs]
    assert rows == [("done", "monthly", NEXT), ("done", "quarterly", CYCLE), ("done", "monthly", CYCLE)]


def test_the_command_writes_one_file_into_the_logs_again_and_again(quarter, monkeypatch, tmp_path):
    monkeypatch.chdir(quarter.path)
    logs = LocalStore(quarter.loader.root("logs"))
    for _ in range(2):
        done = CliRunner().invoke(al, ["dashboard", "--env", "test"], catch_exceptions=False)
        assert done.output.strip() == f"{logs.root}/dashboard/index.html"
    assert logs.list("dashboard") == ["dashboard/index.html"]
    report = next(link for link in links_in(logs.read("dashboard/index.html").decode()) if "report" in link)
    assert (quarter.path / "data/test/logs/dashboard" / report).resolve().is_file()
    copy = tmp_path / "copy" / "here"
    CliRunner().invoke(al, ["dashboard", "--env", "test", "--output", str(copy)], catch_exceptions=False)
    assert [link for link in links_in((copy / "index.html").read_text()) if link.startswith("file:///")]


def links_in(page):
    return [element.attributes["href"] for element in Document(page).of("a")]


def test_an_experiment_has_a_page_of_its_own_and_production_keeps_its(quarter, monkeypatch):
    monkeypatch.chdir(quarter.path)
    quarter.run("scoring", cycle=NEXT, parameters={"experiment": "trial"})
    done = CliRunner().invoke(al, ["--experiment", "trial", "dashboard", "--env", "test"], catch_exceptions=False)
    own = quarter.path / "data/test/experiments/trial/logs/dashboard/index.html"
    assert done.output.strip() == str(own)
    document = Document(own.read_text())
    assert "experiment trial" in " ".join(" ".join(document.text).split())
    assert "challenger_report.html" in document.section("champions")  # a path: whose report it is no link can tell


def test_an_empty_store_gives_a_page_that_says_what_to_type(project, cache):
    project.only("topics")
    (place,) = publish.publish(project.loader)
    assert place.startswith(str(project.path))
    page = (project.path / "data/test/logs/dashboard/index.html").read_text()
    assert "kedro run --pipelines=monthly --env test" in page


def test_a_key_of_the_options_that_is_not_known_is_named(project):
    project.configure("dashboard.yml", {"drift_limits": 0.1})
    with pytest.raises(ConfigError, match=r"drift_limits.*'drift_limit'"):
        project.loader.options("dashboard", DashboardOptions)


def test_the_options_that_are_shipped_are_those_that_hold_without_them(project):
    assert project.loader.options("dashboard", DashboardOptions) == DashboardOptions()
