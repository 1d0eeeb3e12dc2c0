import pytest

from al_platform.domain.shared_error import GoldenDecision, GoldenHistory, continue_history, sketch_pages

PAGES = [f"page {number}" for number in range(200)]


def decided(challenger, verdict, share, champion="old"):
    return GoldenDecision(
        cycle="2026-03", challenger_digest=challenger, champion_digest=champion, share=share, verdict=verdict
    )


def history(*decisions):
    found = GoldenHistory(sketch=sketch_pages(PAGES))
    for decision in decisions:
        found = found.with_decision(decision)
    return found


def test_a_decision_uses_its_share_of_what_is_left():
    assert history().share_of("a", "old", 0.6) == pytest.approx(0.6)
    assert history(decided("a", "iterate", 0.6)).share_of("b", "old", 0.6) == pytest.approx(0.24)


def test_a_promotion_gives_back_what_it_used():
    assert history(decided("a", "promote", 0.6)).share_of("b", "a", 0.6) == pytest.approx(0.6)


def test_a_promotion_that_was_rolled_back_takes_again_what_it_gave_back():
    found = history(decided("a", "promote", 0.6)).with_people({"a": "rolled_back"})
    assert found.share_of("b", "old", 0.6) == pytest.approx(0.4 * 0.6)


def test_a_rollback_leaves_something_of_what_later_decisions_left():
    decisions = (decided("a", "promote", 0.6), decided("b", "iterate", 0.6), decided("c", "reject", 0.24))
    assert history(*decisions).share_of("d", "old", 0.6) == pytest.approx(0.16 * 0.6)
    refuted = history(*decisions).with_people({"a": "rolled_back"})
    assert refuted.share_of("d", "old", 0.6) == pytest.approx(0.4 * 0.16 * 0.6)


def test_a_promotion_by_hand_gives_nothing_back_and_is_told():
    found = history(decided("a", "iterate", 0.6)).with_people({"a": "promoted"})
    assert found.share_of("b", "a", 0.6) == pytest.approx(0.24)
    assert [each.by_hand for each in found.decisions] == ["promoted"]


def test_a_rollback_that_was_undone_is_told_no_more():
    found = history(decided("a", "promote", 0.6)).with_people({"a": "rolled_back"}).with_people({})
    assert found.share_of("b", "a", 0.6) == pytest.approx(0.6)
    assert found.decisions[0].by_hand is None


def test_all_failures_together_never_use_more_than_the_whole():
    found, used = history(), 0.0
    for number in range(50):
        share = found.share_of(str(number), "old", 0.6)
        used += share
        found = found.with_decision(decided(str(number), "reject", share))
    assert used <= 1


def test_the_same_decision_asked_again_keeps_its_share_and_is_listed_once():
    found = history(decided("a", "iterate", 0.6), decided("b", "iterate", 0.24))
    assert found.share_of("a", "old", 0.6) == 0.6
    again = found.with_decision(decided("a", "promote", 0.6))
    assert [each.challenger_digest for each in again.decisions] == ["a", "b"]
    assert again.decisions[0].verdict == "promote"


def test_a_challenger_of_another_champion_is_another_decision():
    assert history(decided("a", "iterate", 0.6)).share_of("a", "newer", 0.6) == pytest.approx(0.24)


def test_before_the_first_champion_nothing_is_shared():
    failed = history(decided("a", "iterate", 1.0, champion=None))
    assert failed.share_of("b", None, 0.6) == 1
    assert failed.share_of("b", "old", 0.6) == pytest.approx(0.6)


def test_an_erased_page_leaves_the_history_and_new_pages_begin_a_new_one():
    earlier = history(decided("a", "iterate", 0.6))
    assert continue_history(earlier, PAGES[3:]).decisions == earlier.decisions
    assert continue_history(earlier, [f"new {number}" for number in range(200)]).decisions == ()
    assert continue_history(None, PAGES).decisions == ()


def test_the_order_of_pages_does_not_matter():
    assert sketch_pages(PAGES) == sketch_pages(PAGES[::-1])


def test_golden_pages_fewer_than_a_sketch_are_told_apart_too():
    few = GoldenHistory(sketch=sketch_pages(PAGES[:4]), decisions=(decided("a", "iterate", 0.6),))
    assert continue_history(few, PAGES[:4]).decisions
    assert not continue_history(few, PAGES[4:8]).decisions
