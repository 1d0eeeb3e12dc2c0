"""A duel through the whole loop: opened by an undecided verdict, answered with the next batch, settled by promotion."""

import json

import pytest

from al_platform.catalog.champion import Promotion, champion_log
from al_platform.domain.duel import read_duels
from al_platform.pipelines.promotion.nodes import promote_challenger
from al_platform.storage.store import open_store
from temporary_project import Project, make_project

FIRST, SECOND, THIRD = "2026-08", "2026-09", "2026-10"
DUELLED = ["page_id", "cycle", "duel"]


@pytest.fixture(scope="module")
def duelled(tmp_path_factory) -> Project:
    """A champion, a quarter that decided nothing, and the month and quarter after it."""
    project = make_project(tmp_path_factory.mktemp("duelled"))
    project.only("topics")
    for cycle in (FIRST, SECOND, THIRD):
        project.run("monthly", cycle=cycle)
        project.run("quarterly", cycle=cycle)
    return project


def duels_of(project, cycle=THIRD):
    return read_duels(project.load("topics.batches", cycle).select(DUELLED))


def test_an_undecided_verdict_adds_disagreements_to_the_next_batch_on_top_of_its_budget(duelled):
    assert duelled.load("topics.verdict", SECOND)["verdict"] == "iterate"
    reasons = duelled.status(cycle=THIRD)["batch"]["by_reason"]
    assert reasons["duel"] > 0
    assert sum(reasons.values()) == 40 + reasons["duel"]
    assert "duel" not in duelled.status(cycle=SECOND)["batch"]["by_reason"]


def test_the_duel_is_between_the_undecided_challenger_and_its_champion(duelled):
    (duel,) = duels_of(duelled)
    verdict = duelled.load("topics.verdict", SECOND)
    assert (duel.challenger_digest, duel.champion_digest) == (verdict["challenger_digest"], verdict["champion_digest"])


def test_on_every_page_of_the_duel_both_models_say_what_the_batch_notes(duelled):
    (duel,) = duels_of(duelled)
    taxonomy = duelled.load("topics.challenger", SECOND).classifier.config.taxonomy
    batch = {row["page_id"]: row for row in duelled.load("topics.batch", THIRD).to_pylist()}
    sides = (
        (duelled.load("topics.challenger", SECOND), "challenger_values"),
        (duelled.load("topics.champion", THIRD), "champion_values"),
    )
    for model, column in sides:
        for page in duel.pages.to_pylist():
            row = batch[page["page_id"]]
            text = f"{row['title']} {row['text']}" if not row["text"].startswith(row["title"]) else row["text"]
            said = taxonomy.decode(model.classifier.decide(model.classifier.score([text]).probabilities))[0]
            assert said == page[column]
    assert all(page["champion_values"] != page["challenger_values"] for page in duel.pages.to_pylist())


def test_neither_model_was_trained_on_a_page_of_the_duel(duelled):
    (duel,) = duels_of(duelled)
    known = duelled.load("topics.dataset", SECOND)["page_id"].to_pylist()
    assert not set(duel.pages["page_id"].to_pylist()) & set(known)


def test_annotators_are_not_told_that_a_page_is_of_a_duel_nor_what_the_models_say(duelled):
    platform = duelled.path / "data/test/labels/topics/platform"
    sent = [file.read_text() for file in platform.rglob("*.jsonl")]
    tasks = [json.loads(line) for text in sent for line in text.splitlines()]
    assert tasks
    assert not any({"duel", "challenger_values", "reason"} & set(task.get("data", task)) for task in tasks)


def test_promotion_reports_the_duel_by_the_answers_that_came(duelled):
    report = duelled.load("topics.promotion_report", THIRD)["duel"]
    (duel,) = duels_of(duelled)
    assert report["wins"] + report["losses"] + report["ties"] + report["unanswered"] == duel.duel.frame.drawn
    assert report["challenger_digest"] == duel.challenger_digest
    assert "page_id" not in json.dumps(report)


def test_the_winner_of_a_duel_is_promoted_where_this_quarters_challenger_is_not():
    duel = {"winner": "challenger", "challenger_digest": "old", "champion_digest": "champion"}
    verdict = {"verdict": "iterate", "challenger_digest": "new", "champion_digest": "champion"}
    promoted = promote_challenger(verdict, duel)
    assert (promoted.model_digest, promoted.expected_champion, promoted.verdict) == ("old", "champion", "duel")


@pytest.mark.parametrize("winner", ["champion", "undecided"])
def test_without_a_winner_nothing_is_promoted(winner):
    duel = {"winner": winner, "challenger_digest": "old", "champion_digest": "champion"}
    verdict = {"verdict": "reject", "challenger_digest": "new", "champion_digest": "champion"}
    assert promote_challenger(verdict, duel).model_digest is None


def test_this_quarters_challenger_comes_before_the_winner_of_a_duel():
    duel = {"winner": "challenger", "challenger_digest": "old", "champion_digest": "champion"}
    verdict = {"verdict": "promote", "challenger_digest": "new", "champion_digest": "champion"}
    assert promote_challenger(verdict, duel) == Promotion(
        model_digest="new",
        expected_champion="champion",
        verdict_digest=promote_challenger(verdict, {}).verdict_digest,
    )


def test_a_duel_that_was_won_makes_the_challenger_of_the_quarter_before_champion(project):
    # A gate that promotes no second champion: only the duel can.
    project.only("topics")
    gate = {"min_golden": 20, "min_audit": 10, "replicates": 200, "required_gain": 0.9}
    options = {"selection": {"duel": {"size": 20, "alpha": 0.4}}, "evaluation": {"gate": gate}}
    project.configure("parameters/topics.yml", {"topics": options})
    for cycle in (FIRST, SECOND, THIRD):
        project.run("monthly", cycle=cycle)
        project.run("quarterly", cycle=cycle)
    report = project.load("topics.promotion_report", THIRD)
    entries = champion_log(open_store(project.loader.root("champion")), "topics")
    assert report["duel"]["winner"] == "challenger"
    assert entries[-1].model_digest == project.load("topics.verdict", SECOND)["challenger_digest"]
    assert (entries[-1].cycle, entries[-1].verdict) == (THIRD, "duel")
    before, lengths = project.state(), project.log_lengths()
    project.run("monthly", cycle=THIRD)
    project.run("quarterly", cycle=THIRD)
    assert project.state() == before
    assert project.log_lengths() == lengths


def test_without_a_size_no_duel_is_opened(project):
    project.only("topics")
    project.configure("parameters/topics.yml", {"topics": {"selection": {"duel": {"size": 0}}}})
    for cycle in (FIRST, SECOND):
        project.run("monthly", cycle=cycle)
        project.run("quarterly", cycle=cycle)
    project.run("monthly", cycle=THIRD)
    assert project.status(cycle=THIRD)["batch"]["total"] == 40
