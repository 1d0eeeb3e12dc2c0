import numpy as np
import pyarrow as pa
import pytest

from al_platform.domain.adjudication import SENT, AdjudicationOptions, Checks, adjudicate, conclude
from al_platform.domain.taxonomy import Taxonomy
from al_platform.domain.votes import Answers
from al_platform.schemas import ANNOTATIONS

COLOURS = Taxonomy(task="single", labels=("red", "green", "blue"))
RISKS = Taxonomy(task="multi", labels=("adult", "violence", "drugs"))
WEIGHTED = AdjudicationOptions(min_answers=0)


def answer(page, annotator, *values, batch="b1"):
    row = {"annotation_id": f"{batch}/{page}/{annotator}", "page_id": page, "annotator": annotator}
    return row | {"values": list(values), "skipped": False, "deleted": False, "batch_id": batch}


def ledger(rows):
    return pa.Table.from_pylist(list(rows), ANNOTATIONS)


def sent(page, reason="strategy", known=None, batch="b1", cycle="2026-03"):
    row = {"batch_id": batch, "page_id": page, "rank": 1, "reason": reason, "cycle": cycle}
    return {**row, "inclusion_probability": None, "answers_wanted": 3, "known_values": known}


def labels(rows, batches=(), taxonomy=COLOURS, options=WEIGHTED):
    table = adjudicate(ledger(rows), pa.Table.from_pylist(list(batches), SENT), taxonomy, "2026-03", options)
    return {row["page_id"]: row for row in table.to_pylist()}


def quality(rows, taxonomy=COLOURS, checks=None):
    nothing = Checks(Answers.of_ledger(ledger([]), taxonomy), np.zeros((0, len(taxonomy.labels)), dtype=bool))
    answers = Answers.of_ledger(ledger(rows), taxonomy)
    return conclude(answers, checks or nothing, taxonomy, WEIGHTED).quality


def good_and_bad(n=60):
    """Two careful annotators agree on every page, one contradicts them on each second page."""
    for number in range(n):
        truth, other = COLOURS.labels[number % 3], COLOURS.labels[(number + 1 + number // 2 % 2) % 3]
        yield answer(f"p{number}", "ann", truth)
        yield answer(f"p{number}", "bob", truth)
        yield answer(f"p{number}", "cem", other if number % 2 else truth)


def test_the_word_of_who_is_usually_right_decides_between_two():
    rows = [*good_and_bad(), answer("q", "ann", "red"), answer("q", "cem", "green")]
    found = labels(rows)["q"]
    assert found["values"] == ["red"]
    assert found["confidence"] > 0.8
    assert "q" not in labels(rows, options=AdjudicationOptions(method="majority"))


def test_between_two_who_are_as_good_nothing_is_decided():
    assert "q" not in labels([*good_and_bad(), answer("q", "ann", "red"), answer("q", "bob", "green")])


def test_a_probability_below_what_is_asked_for_is_no_label():
    rows = [*good_and_bad(), answer("q", "cem", "blue")]
    strict = AdjudicationOptions(min_confidence=0.95, min_answers=0)
    assert "q" not in labels(rows, options=strict)
    assert labels([*rows, answer("q", "ann", "blue")], options=strict)["q"]["values"] == ["blue"]


def test_annotators_are_known_by_how_often_they_are_right():
    found = quality(good_and_bad(300))
    assert found["ann"] > 0.9
    assert found["cem"] == pytest.approx(0.5, abs=0.1)


def test_each_class_of_a_multi_label_page_is_a_question_of_its_own():
    rows = []
    for number in range(40):
        values = ["adult"] if number % 2 else ["violence"]
        rows += [answer(f"p{number}", who, *values) for who in ("ann", "bob")]
        # Sees every violence, and overlooks what is adult.
        rows.append(answer(f"p{number}", "cem", *(values if values == ["violence"] else [])))
    rows += [answer("q", "ann", "adult", "violence"), answer("q", "cem")]
    found = labels(rows, taxonomy=RISKS)
    assert found["p1"]["values"] == ["adult"]
    assert found["p0"]["values"] == ["violence"]
    assert "drugs" not in {value for row in found.values() for value in row["values"]}


def test_a_multi_label_page_without_any_class_is_a_label_too():
    rows = [answer(f"p{number}", who) for number in range(5) for who in ("ann", "bob")]
    assert labels(rows, taxonomy=RISKS)["p3"]["values"] == []


def test_answers_to_control_pages_are_no_votes():
    found = labels([answer("c", "ann", "red"), answer("p", "ann", "red")], [sent("c", "control", ["red"]), sent("p")])
    assert list(found) == ["p"]


def test_a_control_page_answered_for_another_reason_keeps_that_answer():
    rows = [answer("c", "ann", "red", batch="b1"), answer("c", "ann", "green", batch="b2")]
    found = labels(rows, [sent("c"), sent("c", "control", ["red"], batch="b2")])
    assert found["c"]["values"] == ["red"]


def test_control_pages_unmask_an_annotator_whom_answers_alone_would_not():
    # One against one: only pages with known answers tell who of them is right.
    pairs = [(f"p{number}", COLOURS.labels[number % 3], COLOURS.labels[(number + 1) % 3]) for number in range(30)]
    rows = [row for page, a, b in pairs for row in (answer(page, "ann", a), answer(page, "bob", b))]
    controls = [(f"c{number}", COLOURS.labels[number % 3], COLOURS.labels[(number + 2) % 3]) for number in range(20)]
    known = [sent(page, "control", [truth], batch="b1") for page, truth, _ in controls]
    checks = [row for page, a, b in controls for row in (answer(page, "ann", a), answer(page, "bob", b))]
    assert labels(rows) == {}
    found = labels([*rows, *checks], known)
    assert len(found) == 30
    assert all(found[page]["values"] == [a] for page, a, _ in pairs)


def test_a_control_page_whose_label_the_taxonomy_lost_checks_nobody():
    assert labels([answer("c", "ann", "red"), answer("p", "ann", "red")], [sent("c", "control", ["mauve"])]).keys() == {
        "p"
    }


def test_with_few_answers_a_majority_decides():
    rows = [answer("p", "ann", "red"), answer("p", "bob", "red"), answer("p", "cem", "blue"), answer("q", "ann", "red")]
    found = labels([*rows, answer("q", "bob", "blue")], options=AdjudicationOptions())
    assert {page: row["confidence"] for page, row in found.items()} == {"p": pytest.approx(2 / 3, abs=1e-6)}


def test_nobodys_answers_are_no_error():
    for taxonomy in (COLOURS, RISKS):
        assert labels([], taxonomy=taxonomy) == {}
