"""Duels: labels where two models disagree, the exact test on them, and what missing answers can do."""

from functools import cache
from itertools import product
from math import comb

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from al_platform.domain.duel import (
    DUEL_PAGES,
    Duel,
    DuelFrame,
    decide_duel,
    draw_duel,
    draw_frame,
    opens_duel,
)
from al_platform.domain.errors import InputError
from al_platform.domain.taxonomy import Taxonomy

SINGLE = Taxonomy(task="single", labels=("a", "b", "c"))
MULTI = Taxonomy(task="multi", labels=("x", "y", "z"))


def decisions(taxonomy, rows):
    return taxonomy.encode([list(row) for row in rows])


def drawn(champion, challenger, taxonomy=SINGLE, size=100, salt="2026-10|0"):
    pages = [f"page {row}" for row in range(len(champion))]
    return draw_duel(
        pages, decisions(taxonomy, champion), decisions(taxonomy, challenger), taxonomy, size=size, salt=salt
    )


@cache
def pages_of(n):
    return drawn(["a"] * n, ["b"] * n, size=n).pages


def duel_of(wins, losses, ties=0, unanswered=0, alpha=0.025):
    """Decide a single-label duel of 1,000 pages with these counts: the champion says a, the challenger b."""
    n = wins + losses + ties + unanswered
    truths = ["b"] * wins + ["a"] * losses + ["c"] * ties
    answers = {f"page {row}": [truth] for row, truth in enumerate(truths)}
    frame = DuelFrame(decisions=1_000, disagreements=n, drawn=n)
    return decide_duel(Duel(pages_of(n), frame), answers, SINGLE, alpha=alpha)


def tail(wins, n):
    return sum(comb(n, k) for k in range(wins, n + 1)) / 2**n


def test_only_pages_on_which_the_models_differ_are_drawn():
    duel = drawn(["a", "a", "b", "c"], ["a", "b", "b", "a"])
    assert sorted(duel.pages["page_id"].to_pylist()) == ["page 1", "page 3"]
    assert duel.frame == DuelFrame(decisions=4, disagreements=2, drawn=2)
    assert duel.pages["frame_size"].to_pylist() == [4, 4]
    assert set(duel.pages["reason"].to_pylist()) == {"duel"}


def test_a_page_is_drawn_with_the_same_probability_as_any_other_disagreement():
    duel = drawn(["a"] * 40, ["b"] * 40, size=10)
    assert duel.pages.num_rows == 10
    assert duel.pages["inclusion_probability"].to_pylist() == [pytest.approx(0.25)] * 10


def test_every_disagreement_is_drawn_equally_often():
    counts = np.zeros(12)
    for seed in range(1_200):
        for page in drawn(["a"] * 12, ["b"] * 12, size=3, salt=str(seed)).pages["page_id"].to_pylist():
            counts[int(page.split()[1])] += 1
    # Each expects 300 with a standard deviation of 15.
    assert np.abs(counts - 300).max() < 5 * 15


def test_a_multi_label_page_disagrees_once_for_every_label_on_which_the_models_differ():
    duel = drawn([["x"], ["y"], []], [["x"], ["x", "z"], []], MULTI)
    (page,) = duel.pages.to_pylist()
    assert duel.frame == DuelFrame(decisions=9, disagreements=3, drawn=3)
    assert (page["page_id"], sorted(page["disputed"])) == ("page 1", ["x", "y", "z"])


def test_a_multi_label_page_is_drawn_if_any_of_its_disagreements_is():
    # Page 0 has two of the three disagreements; one is drawn.
    chances = {"page 0": 2 / 3, "page 1": 1 / 3}
    (page,) = drawn([[], []], [["x", "y"], ["z"]], MULTI, size=1).pages.to_pylist()
    assert page["inclusion_probability"] == pytest.approx(chances[page["page_id"]])
    assert len(page["disputed"]) == 1


def test_the_draw_does_not_depend_on_the_order_of_the_frame():
    pages = [f"page {row}" for row in range(30)]
    one, other = decisions(SINGLE, ["a"] * 30), decisions(SINGLE, ["b"] * 30)
    forwards = draw_duel(pages, one, other, SINGLE, size=5, salt="s")
    backwards = draw_duel(pages[::-1], one, other, SINGLE, size=5, salt="s")
    assert forwards.pages.equals(backwards.pages)


def test_models_that_always_agree_give_no_duel():
    duel = drawn(["a", "b"], ["a", "b"])
    assert duel.pages.schema == DUEL_PAGES
    assert (duel.pages.num_rows, duel.frame.disagreements) == (0, 0)
    with pytest.raises(InputError, match="never disagreed"):
        decide_duel(duel, {}, SINGLE, alpha=0.025)


def test_decisions_that_do_not_fit_the_frame_are_refused():
    with pytest.raises(InputError, match="both models' decisions"):
        draw_duel(["p"], decisions(SINGLE, ["a", "b"]), decisions(SINGLE, ["a", "b"]), SINGLE, size=1, salt="s")


def test_the_frame_holds_no_page_that_is_known_and_is_uniform_over_the_rest():
    page_ids = pa.chunked_array([[f"p{row}" for row in range(50)]])
    rows = draw_frame(page_ids, pa.array(["p3", "p7"]), 20, "s")
    assert len(set(rows.tolist())) == 20
    assert not {3, 7} & set(rows.tolist())
    assert len(draw_frame(page_ids, pa.array(["p3"]), 100, "s")) == 49


def test_who_is_right_more_often_than_chance_wins():
    assert duel_of(62, 38).winner == "challenger"
    assert duel_of(38, 62).winner == "champion"
    assert duel_of(55, 45).winner == "undecided"


def test_the_difference_is_the_rate_of_disagreement_times_the_mean_gain():
    verdict = duel_of(50, 30, ties=20)
    assert verdict.difference == pytest.approx(100 / 1_000 * (50 - 30) / 100)
    assert verdict.lower <= verdict.difference <= verdict.upper


def test_pages_on_which_both_are_wrong_decide_nothing():
    assert duel_of(20, 8).p_value == duel_of(20, 8, ties=50).p_value == pytest.approx(tail(20, 28))


def test_an_answer_that_is_missing_counts_against_the_winner():
    assert duel_of(64, 36, unanswered=0).winner == "challenger"
    verdict = duel_of(64, 36, unanswered=20)
    assert verdict.winner == "undecided"
    assert verdict.p_value == pytest.approx(tail(64, 120))
    assert verdict.unanswered == 20


def test_a_page_that_was_erased_since_counts_as_unanswered():
    duel = drawn(["a"] * 10, ["b"] * 10)
    left = Duel(duel.pages.slice(2), duel.frame)
    answers = {page: ["b"] for page in left.pages["page_id"].to_pylist()}
    assert decide_duel(left, answers, SINGLE, alpha=0.025).unanswered == 2


def test_a_duel_without_any_answer_is_undecided_and_bounded_by_the_disagreements():
    verdict = duel_of(0, 0, unanswered=50)
    assert (verdict.winner, verdict.difference) == ("undecided", None)
    assert (verdict.lower, verdict.upper) == (-0.05, 0.05)


@given(wins=st.integers(0, 60), losses=st.integers(0, 60), ties=st.integers(0, 5), unanswered=st.integers(0, 5))
def test_bounds_and_decision_agree_and_both_sides_are_treated_alike(wins, losses, ties, unanswered):
    if wins + losses + ties + unanswered == 0:
        return
    verdict, mirrored = duel_of(wins, losses, ties, unanswered), duel_of(losses, wins, ties, unanswered)
    assert (verdict.winner == "challenger") == (verdict.lower > 0)
    assert (verdict.winner == "champion") == (verdict.upper < 0)
    assert (mirrored.lower, mirrored.upper) == (-verdict.upper, -verdict.lower)
    assert -1 <= verdict.lower <= verdict.upper <= 1


@pytest.mark.parametrize("n", [1, 5, 8])
def test_without_a_difference_the_challenger_wins_at_most_as_often_as_allowed(n):
    won = [duel_of(sum(flips), n - sum(flips), alpha=0.1).winner == "challenger" for flips in product((0, 1), repeat=n)]
    assert np.mean(won) <= 0.1


def test_a_multi_label_disagreement_has_always_one_winner():
    duel = drawn([["x"], []], [["y"], ["z"]], MULTI)
    verdict = decide_duel(duel, {"page 0": ["y"], "page 1": []}, MULTI, alpha=0.025)
    assert (verdict.wins, verdict.losses, verdict.ties) == (2, 1, 0)
    assert verdict.difference == pytest.approx(3 / 6 * 1 / 3)


@given(st.data())
def test_with_all_disagreements_labelled_the_difference_is_that_of_the_accuracies(data):
    taxonomy = data.draw(st.sampled_from([SINGLE, MULTI]))
    row = (
        st.sets(st.sampled_from(taxonomy.labels)).map(sorted)
        if taxonomy.is_multi
        else st.sampled_from(taxonomy.labels).map(lambda label: [label])
    )
    truth, champion, challenger = (data.draw(st.lists(row, min_size=8, max_size=8)) for _ in range(3))
    duel = drawn(champion, challenger, taxonomy)
    if not duel.frame.drawn:
        return
    verdict = decide_duel(duel, {f"page {n}": values for n, values in enumerate(truth)}, taxonomy, alpha=0.025)
    right, one, other = (decisions(taxonomy, rows) for rows in (truth, champion, challenger))
    axis = None if taxonomy.is_multi else 1
    accuracies = [np.mean((right == said).all(axis=1) if axis else right == said) for said in (other, one)]
    assert verdict.difference == pytest.approx(accuracies[0] - accuracies[1])


def test_a_hundred_duel_labels_see_three_points_that_a_hundred_audit_pages_do_not():
    # The share of wins where 12 % disagree, both are wrong in 15 % of these, and the challenger gains 3 points.
    generator = np.random.default_rng(0)
    share = (0.12 * 0.85 + 0.03) / 2 / (0.12 * 0.85)
    wins = generator.binomial(85, share, 400)
    duels = [duel_of(int(found), 85 - int(found), 15).winner == "challenger" for found in wins]
    discordant = generator.binomial(100, 0.12 * 0.85, 400)
    audits = [
        duel_of(int(found), int(n - found), 100 - int(n)).winner == "challenger"
        for n, found in zip(discordant, generator.binomial(discordant, share), strict=True)
    ]
    assert np.mean(duels) > 0.65
    assert np.mean(audits) < 0.2


def verdict_of(verdict="iterate", champion="c" * 64, **passed):
    checks = {"golden_difference": None, "audit_rows": None, "calibration": True, **passed}
    return {
        "verdict": verdict,
        "champion_digest": champion,
        "checks": [{"name": name, "required": True, "passed": value} for name, value in checks.items()],
    }


def test_an_undecided_verdict_opens_a_duel():
    assert opens_duel(verdict_of())


@pytest.mark.parametrize(
    "verdict",
    [verdict_of("promote"), verdict_of("reject"), verdict_of(champion=None), verdict_of(calibration=False)],
    ids=["promoted", "rejected", "no champion", "another check stands in the way"],
)
def test_no_duel_is_opened_that_could_change_nothing(verdict):
    assert not opens_duel(verdict)
