"""Monitoring of a real store."""

import json

import pytest
from alert_servers import Webhook, serving
from click.testing import CliRunner

from al_platform.cli import al
from al_platform.domain.cycles import shift_cycle
from al_platform.domain.errors import ConfigError, NotReadyError
from al_platform.monitoring.monitor import monitor
from al_platform.monitoring.options import MonitoringOptions
from al_platform.storage.store import LocalStore
from temporary_project import CYCLE, make_project

NEXT = shift_cycle(CYCLE, 1)


@pytest.fixture(scope="module")
def quarter(tmp_path_factory):
    """A month and a quarter of one family, and the month after, scored by its champion."""
    project = make_project(tmp_path_factory.mktemp("monitor"))
    project.only("topics")
    project.run("monthly")
    project.run("quarterly")
    project.run("monthly", cycle=NEXT)
    return project


@pytest.fixture
def watched(quarter, tmp_path, monkeypatch):
    """The same with limits that every month crosses, and nothing remembered."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    LocalStore(quarter.loader.root("logs")).remove("monitoring")
    limits = {"psi_limit": 1e-6, "alpha": 0.999, "min_pages": 10, "cooldown_months": 0}

    def configure(**options):
        quarter.configure("monitoring.yml", {**limits, **options})
        return quarter.loader

    configure()
    yield quarter, configure
    (quarter.path / "conf" / "test" / "monitoring.yml").unlink()


def test_before_a_model_there_is_nothing_to_compare_with(watched):
    (found,) = monitor(watched[0].loader, CYCLE)
    assert (found.trained_in, found.drift, found.accuracy, found.proposes) == (None, (), (), False)


def test_inputs_and_predictions_are_compared_with_the_training_data_of_the_model(watched):
    project = watched[0]
    (found,) = monitor(project.loader)
    assert (found.cycle, found.trained_in) == (NEXT, CYCLE)
    drift = {each.feature: each for each in found.drift}
    labels = project.loader["parameters"]["topics"]["taxonomy"]["labels"]
    assert {"text length", "vocabulary", *(f"predicted {label}" for label in labels)} <= set(drift)
    train = project.load("topics.dataset_card")["sets"]["train"]
    assert {each.n_before for name, each in drift.items() if name != "vocabulary"} == {train}
    assert drift[f"predicted {labels[0]}"].n_now == project.load("topics.scoring_report", NEXT)["pool"]


def test_accuracy_is_that_of_the_champion_on_the_months_own_audit_pages(watched):
    project = watched[0]
    (found,) = monitor(project.loader)
    (month,) = found.accuracy
    dataset = project.load("topics.dataset", NEXT).to_pylist()
    drawn = [row for row in dataset if row["set"] == "audit" and row["cycle"] == NEXT and row["inclusion_probability"]]
    assert (month.cycle, month.accuracy.n) == (NEXT, len(drawn))
    evaluation = project.load("topics.evaluation")
    assert month.promised == evaluation["audit"]["traffic"]["challenger"]["inclusion_weighted"]["value"]
    assert month.model_digest == project.load("topics.verdict")["challenger_digest"]


def test_a_proposal_is_kept_and_told_once(watched):
    project, configure = watched
    with serving(Webhook()) as hook:
        loader = configure(alerts={"webhooks": [hook.address]})
        assert monitor(loader)[0].proposes
        assert monitor(loader)[0].proposes
        assert [told["subject"] for told in hook.posted] == [f"topics {NEXT}: run the quarterly early"]
    kept = json.loads(LocalStore(project.loader.root("logs")).read(f"monitoring/topics/{NEXT}.json"))
    assert kept["proposes"]
    assert kept["reasons"]


def test_who_could_not_be_told_is_told_at_the_next_call(watched, monkeypatch):
    project, configure = watched
    monkeypatch.chdir(project.path)
    with serving(Webhook()) as hook:
        configure(alerts={"webhooks": [hook.address]})
        hook.status = 503
        refused = CliRunner().invoke(al, ["monitor", "--env", "test"])
        assert refused.exit_code == 1
        assert "nobody was told by webhook 1" in refused.output
        hook.status = 200
        assert CliRunner().invoke(al, ["monitor", "--env", "test"], catch_exceptions=False).exit_code == 0
        assert len(hook.posted) == 1


def test_a_quarterly_within_the_cooldown_keeps_it_from_being_proposed(watched):
    (found,) = monitor(watched[1](cooldown_months=2))
    assert found.reasons
    assert not found.proposes
    assert found.waits_because == f"a quarterly ran in {CYCLE}, within 2 months"


def test_the_command_prints_what_it_found(watched, monkeypatch):
    project = watched[0]
    monkeypatch.chdir(project.path)
    shown = CliRunner().invoke(al, ["monitor", "--env", "test"], catch_exceptions=False).output
    assert f"kedro run --pipelines=quarterly --params cycle={NEXT} --env test" in shown
    as_json = CliRunner().invoke(al, ["monitor", "--env", "test", "--json"], catch_exceptions=False).stdout
    assert json.loads(as_json[as_json.index("[\n") :])[0]["cycle"] == NEXT


def test_before_a_model_the_command_says_so_in_a_line(watched, monkeypatch):
    monkeypatch.chdir(watched[0].path)
    answer = CliRunner().invoke(al, ["monitor", "--env", "test", "--cycle", CYCLE], catch_exceptions=False)
    assert answer.output.splitlines()[-1] == f"topics {CYCLE}: there is no model yet."


def test_a_month_that_was_not_scored_says_what_to_run(watched):
    with pytest.raises(NotReadyError, match=r"month 2020-01.*--params cycle=2020-01"):
        monitor(watched[0].loader, "2020-01")


def test_a_key_of_the_options_that_is_not_known_is_named(project):
    project.configure("monitoring.yml", {"psi_limits": 0.1})
    with pytest.raises(ConfigError, match=r"psi_limits.*'psi_limit'"):
        project.loader.options("monitoring", MonitoringOptions)


def test_the_options_that_are_shipped_are_those_that_hold_without_them(project):
    assert project.loader.options("monitoring", MonitoringOptions) == MonitoringOptions()
