"""A person's promotion and rollback: one more entry each, which later months follow and earlier ones do not notice."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import NamedTuple

import pytest
from click.testing import CliRunner
from two_models import FIRST, SECOND, THIRD, log_of

from al_platform.catalog import champion
from al_platform.catalog.champion import ChampionEntry, Promotion, append_champion, changed_by_hand, succession
from al_platform.champions import promote as by_hand
from al_platform.champions.cli import champions, promote, rollback
from al_platform.champions.promote import promote_by_hand, roll_back
from al_platform.domain.errors import CommitConflictError, ConfigError, StoreError
from al_platform.health.audit import verify_environment
from al_platform.pipelines.evaluation.nodes import recall_decisions
from al_platform.storage.audit_log import last_lines
from al_platform.storage.store import open_store


def challenger(project, cycle=SECOND):
    return project.load("topics.challenger", cycle).digest


def call(command, *arguments):
    return CliRunner().invoke(command, [*arguments, "--family", "topics", "--env", "test"])


def entry(number, model, kind="by_hand", cycle=FIRST):
    return ChampionEntry(
        number=number,
        family="topics",
        cycle=cycle,
        model_digest=model,
        previous=None,
        reason="gate" if kind == "gate" else "why",
        verdict_digest=None,
        at="2026-11-01T00:00:00+00:00",
        kind=kind,
    )


def models(entries):
    return [each.model_digest for each in succession(entries)]


def test_the_fixture_holds_a_champion_and_an_undecided_challenger(quarters):
    assert [found.kind for found in log_of(quarters)] == ["gate"]
    assert quarters.load("topics.verdict", SECOND)["verdict"] == "iterate"


def test_a_promotion_by_hand_says_who_did_it_why_and_what_the_gate_said(own):
    model = challenger(own)
    change = promote_by_hand(own.loader, "topics", model[:12], "the gate lacks rows, a review of 500 pages does not")
    newest = log_of(own)[-1]
    assert newest == change.entry
    assert (newest.number, newest.kind, newest.actor, newest.verdict) == (2, "by_hand", "ada", "iterate")
    assert newest.previous == log_of(own)[0].model_digest
    assert newest.verdict_digest is not None
    assert newest.reason.startswith("the gate lacks rows")


def test_a_promotion_against_the_verdict_warns(own):
    result = call(promote, challenger(own)[:12], "--reason", "reviewed")
    assert result.exit_code == 0, result.output
    assert "iterate" in result.stderr


def test_a_promotion_and_a_rollback_have_their_lines_in_a_sound_audit_log(own):
    promote_by_hand(own.loader, "topics", challenger(own), "reviewed")
    roll_back(own.loader, "topics", "complaints")
    lines = last_lines(open_store(own.loader.root("logs")), 2)
    assert [(line.actor, line.action, line.subject["reason"]) for line in lines] == [
        ("ada", "promote", "reviewed"),
        ("ada", "rollback", "complaints"),
    ]
    assert not verify_environment(own.loader).findings


def test_after_a_rollback_the_next_month_is_scored_by_the_older_model_and_earlier_months_read_what_they_read(own):
    older = log_of(own)[0].model_digest
    newer = promote_by_hand(own.loader, "topics", challenger(own), "reviewed").entry.model_digest
    own.run("monthly", cycle=THIRD)
    assert scored_by(own, THIRD) == {newer}
    before, lengths = own.state(), own.log_lengths()
    roll_back(own.loader, "topics", "complaints")
    own.run("monthly", cycle=THIRD)
    own.run("quarterly", cycle=SECOND)
    own.run("quarterly", cycle=FIRST)
    after = own.state()
    assert {name: after[name] for name in before if name != "topics/champion"} == {
        name: before[name] for name in before if name != "topics/champion"
    }
    assert sum(own.log_lengths().values()) == sum(lengths.values()) + 1
    own.run("scoring", cycle="2026-11")
    assert scored_by(own, "2026-11") == {older}


def scored_by(project, cycle):
    return set(project.load("topics.predictions", cycle).to_pyarrow()["model_digest"].to_pylist())


def test_a_quarter_that_is_run_again_does_not_undo_a_rollback_of_its_promotion(own):
    gate_promotes(own, SECOND, challenger(own))
    roll_back(own.loader, "topics", "complaints")
    gate_promotes(own, SECOND, challenger(own))
    assert [found.kind for found in log_of(own)] == ["gate", "gate", "rollback"]


def test_another_verdict_of_a_quarter_whose_promotion_was_rolled_back_is_refused_with_the_persons_reason(own):
    first = log_of(own)[0].model_digest
    gate_promotes(own, SECOND, challenger(own))
    roll_back(own.loader, "topics", "complaints")
    with pytest.raises(CommitConflictError, match="ada said: complaints"):
        gate_promotes(own, SECOND, "f" * 64, expected=first)


def gate_promotes(project, cycle, model, expected=None):
    where = {"root": project.loader.root("champion"), "family": "topics", "cycle": cycle}
    expected = expected or log_of(project)[0].model_digest
    promotion = Promotion(model_digest=model, expected_champion=expected, verdict_digest=None)
    champion.ChampionLog(**where)._save(promotion)


def test_the_gate_refuses_a_challenger_whose_champion_a_person_replaced(own):
    first = log_of(own)[0].model_digest
    promote_by_hand(own.loader, "topics", challenger(own), "reviewed")
    with pytest.raises(CommitConflictError, match="moved"):
        gate_promotes(own, SECOND, "f" * 64, expected=first)


def test_the_first_champion_cannot_be_rolled_back(own):
    with pytest.raises(ConfigError, match="first champion of topics"):
        roll_back(own.loader, "topics", "complaints")
    assert len(log_of(own)) == 1


def test_without_a_champion_there_is_nothing_to_roll_back(project):
    project.only("topics")
    with pytest.raises(ConfigError, match="no champion yet"):
        roll_back(project.loader, "topics", "complaints")


def test_a_rollback_names_a_former_champion_on_request(own):
    first = log_of(own)[0].model_digest
    promote_by_hand(own.loader, "topics", challenger(own), "reviewed")
    assert roll_back(own.loader, "topics", "complaints", first[:8]).entry.model_digest == first


@pytest.mark.parametrize(("to", "match"), [("0", "none among its former champions"), ("champion", "is its champion")])
def test_a_rollback_to_what_never_was_or_still_is_champion_is_refused(own, to, match):
    promote_by_hand(own.loader, "topics", challenger(own), "reviewed")
    to = challenger(own) if to == "champion" else "not-a-digest"
    with pytest.raises(ConfigError, match=match):
        roll_back(own.loader, "topics", "complaints", to)


def test_a_model_that_nobody_trained_is_refused_and_the_trained_ones_listed(own):
    with pytest.raises(ConfigError, match=rf"trained models.*{challenger(own)[:12]}"):
        promote_by_hand(own.loader, "topics", "f" * 64, "reviewed")


def test_the_champion_is_not_promoted_again(own):
    with pytest.raises(ConfigError, match="already"):
        promote_by_hand(own.loader, "topics", log_of(own)[0].model_digest, "reviewed")


def test_a_model_with_other_labels_is_refused(own):
    labels = ["business", "entertainment", "politics", "sport", "science"]
    own.configure("parameters/topics.yml", {"topics": {"taxonomy": {"task": "single", "labels": labels}}})
    with pytest.raises(ConfigError, match="knows the labels"):
        promote_by_hand(own.loader, "topics", challenger(own), "reviewed")
    assert len(log_of(own)) == 1


def test_a_model_whose_files_are_gone_is_refused(own):
    model = challenger(own)
    shutil.rmtree(own.path / "data/test/models/topics/by_digest" / model)
    with pytest.raises(StoreError, match="missing"):
        promote_by_hand(own.loader, "topics", model, "reviewed")


def test_a_blank_reason_and_an_unknown_family_are_refused(own):
    with pytest.raises(ConfigError, match="--reason"):
        promote_by_hand(own.loader, "topics", challenger(own), "  ")
    with pytest.raises(ConfigError, match="Did you mean 'topics'"):
        roll_back(own.loader, "topic", "complaints")


def test_of_two_promotions_at_once_one_wins_and_the_other_says_so(own, monkeypatch):
    together = Barrier(2)

    def at_once(*arguments):
        together.wait(timeout=30)
        append_champion(*arguments)

    monkeypatch.setattr(by_hand, "append_champion", at_once)
    with ThreadPoolExecutor(2) as pool:
        model = challenger(own)
        tries = [pool.submit(promote_by_hand, own.loader, "topics", model, reason) for reason in ("one", "other")]
    errors = [found for tried in tries if (found := tried.exception())]
    assert [type(error) for error in errors] == [CommitConflictError]
    assert "came first" in str(errors[0])
    assert len(log_of(own)) == 2


def test_a_lost_reply_is_no_lost_race(own):
    made = promote_by_hand(own.loader, "topics", challenger(own), "reviewed").entry
    append_champion(open_store(own.loader.root("champion")), made, None)
    assert len(log_of(own)) == 2


def test_the_history_is_listed_for_people_and_as_json(own):
    promote_by_hand(own.loader, "topics", challenger(own), "reviewed [twice]")
    roll_back(own.loader, "topics", "complaints")
    shown = call(champions)
    assert shown.exit_code == 0, shown.output
    assert all(word in shown.output for word in ("the gate", "ada", "rollback"))
    entries = json.loads(call(champions, "--json").output)
    assert [found["kind"] for found in entries] == ["gate", "by_hand", "rollback"]
    assert [found["reason"] for found in entries] == ["gate", "reviewed [twice]", "complaints"]


def test_the_command_says_from_which_cycle_on_the_rollback_counts(own):
    promote_by_hand(own.loader, "topics", challenger(own), "reviewed")
    result = call(rollback, "--reason", "complaints")
    assert result.exit_code == 0, result.output
    assert f"for cycles after {SECOND}" in result.output


def test_an_entry_of_the_former_format_is_one_by_the_gate():
    old = entry(1, "a", "gate").model_dump(exclude={"kind", "actor", "verdict"})
    assert ChampionEntry.model_validate(old).kind == "gate"


def test_a_second_rollback_goes_further_back():
    line = [entry(1, "a"), entry(2, "b"), entry(3, "c"), entry(4, "b", "rollback")]
    assert models(line) == ["a", "b"]


def test_a_superseded_promotion_is_not_what_a_rollback_returns_to():
    line = [entry(1, "a", "gate", FIRST), entry(2, "b", "gate", SECOND), entry(3, "c", "gate", SECOND)]
    assert models(line) == ["a", "c"]


def test_a_rollback_to_a_model_that_was_rolled_back_itself_puts_it_on_top():
    line = [entry(1, "a"), entry(2, "b"), entry(3, "a", "rollback"), entry(4, "b", "rollback")]
    assert models(line) == ["a", "b"]


def test_what_people_did_last_about_a_model_is_what_counts():
    promoted = [entry(1, "a", "gate"), entry(2, "b", "gate", SECOND)]
    assert changed_by_hand(promoted) == {}
    rolled_back = [*promoted, entry(3, "a", "rollback", SECOND)]
    assert changed_by_hand(rolled_back) == {"b": "rolled_back"}
    assert changed_by_hand([*rolled_back, entry(4, "b", "by_hand", THIRD)]) == {"b": "promoted"}
    assert changed_by_hand([*rolled_back, entry(4, "b", "gate", THIRD)]) == {}


def test_a_rollback_to_an_older_champion_takes_back_all_that_came_after_it():
    log = [entry(1, "a", "gate"), entry(2, "b", "gate", SECOND), entry(3, "c", "gate", THIRD)]
    assert changed_by_hand([*log, entry(4, "a", "rollback", THIRD)]) == {"b": "rolled_back", "c": "rolled_back"}


def test_the_next_verdict_tells_what_people_did_since(own):
    model = challenger(own)
    promote_by_hand(own.loader, "topics", model, "reviewed")
    previous, champions = (own.load(f"topics.{name}", THIRD) for name in ("previous_verdict", "earlier_champions"))
    history = recall_decisions({"golden": GoldenPages(golden_pages(own))}, previous, champions)
    told = {each.challenger_digest: each for each in history.decisions}
    assert (told[model].verdict, told[model].by_hand) == ("iterate", "promoted")


class GoldenPages(NamedTuple):
    page_ids: list[str]


def golden_pages(project):
    rows = project.load("topics.evaluated_pages", SECOND).to_pylist()
    return [row["page_id"] for row in rows if row["set"] == "golden"]
