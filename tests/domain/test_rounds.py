from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from al_platform.domain.adjudication import Checks
from al_platform.domain.rounds import annotator_figures, progress_of, relabelled, rounds_of
from al_platform.domain.taxonomy import Taxonomy
from al_platform.domain.votes import Answers
from al_platform.schemas import ANSWERED_PAGES, LABELS

SENT = datetime(2026, 11, 1, tzinfo=UTC)
COLOURS = Taxonomy(task="single", labels=("red", "green"))


def asked(cycle="2026-10", wanted=2, by=(), first=1, last=1, reason="strategy", known=None):
    times = {"first_at": SENT + timedelta(days=first), "last_at": SENT + timedelta(days=last)} if by else {}
    return {"cycle": cycle, "reason": reason, "wanted": wanted, "known_values": known, "answered_by": list(by), **times}


def pages(*rows):
    nothing = {"sent_in": [], "taken_in": [], "n_versions": 0, "n_invalid": 0, "answers": [], "checks": []}
    numbered = enumerate(rows)
    return pa.Table.from_pylist(
        [{"page_id": f"p{n}", "asked": list(each), **nothing} for n, each in numbered], ANSWERED_PAGES
    )


def labelled(**values):
    return pa.Table.from_pylist(
        [{"page_id": p, "values": [v], "source": "annotated"} for p, v in values.items()], LABELS
    )


def found(complete=1, pages=2, given=2, wanted=4, first=0, last=2):
    times = (SENT + timedelta(days=first), SENT + timedelta(days=last))
    return {
        **{"pages": pages, "complete": complete, "answers_wanted": wanted, "answers_given": given},
        **dict(zip(("first_answer_at", "last_answer_at"), (time.isoformat() for time in times), strict=True)),
    }


def progress(now_days, **counts):
    return progress_of("2026-10", found(**counts), 14, 28, SENT + timedelta(days=now_days))


def test_a_page_is_complete_with_as_many_answers_as_were_wanted():
    table = pages([asked(by=("ann", "bob"))], [asked(by=("ann",))], [asked()])
    counted = rounds_of(table)["2026-10"]
    assert (counted["pages"], counted["complete"]) == (3, 1)
    assert (counted["answers_wanted"], counted["answers_given"]) == (6, 3)
    assert counted["by_annotator"] == {"ann": 2, "bob": 1}


def test_answers_beyond_those_wanted_do_not_stand_for_missing_ones():
    table = pages([asked(wanted=1, by=("ann", "bob", "cem"))], [asked(wanted=1)])
    assert rounds_of(table)["2026-10"]["answers_given"] == 1


def test_a_page_that_is_asked_about_again_counts_in_each_of_its_rounds():
    counted = rounds_of(pages([asked("2026-09", by=("ann", "bob")), asked("2026-10")]))
    assert {cycle: each["complete"] for cycle, each in counted.items()} == {"2026-09": 1, "2026-10": 0}


def test_without_batches_there_are_no_rounds():
    assert rounds_of(pages()) == {}


def test_a_round_is_open_then_late_and_closes_by_date():
    assert [progress(days).state for days in (3, 14, 27, 28)] == ["open", "late", "late", "closed"]


def test_a_complete_round_is_closed_at_once():
    assert progress(1, complete=2, given=4) == ("closed", SENT + timedelta(days=14), None)


def test_the_end_is_expected_at_the_present_pace():
    # Two answers in four days, two to come.
    assert progress(4).finish == SENT + timedelta(days=8)


def test_the_pace_falls_with_each_day_without_an_answer():
    assert progress(6).finish == SENT + timedelta(days=12)


@pytest.mark.parametrize("counts", [{"given": 0, "complete": 0}, {"first": 2, "last": 2}])
def test_without_a_pace_nothing_is_expected(counts):
    assert progress(4, **counts).finish is None


def test_a_label_in_doubt_that_comes_out_otherwise_was_fixed():
    doubts = [[asked(by=by, reason="relabel", known=["red"])] for by in (("ann",), ("ann",), ())]
    table = pages(*doubts, [asked(by=("ann",))])
    assert relabelled(table, labelled(p0="green", p1="red", p3="green")) == {"asked": 3, "answered": 2, "fixed": 1}


def test_control_pages_tell_how_many_answers_of_each_annotator_were_right():
    def said(*rows):
        nothing = {"sent_in": [], "taken_in": [], "n_versions": 0, "n_invalid": 0, "checks": [], "asked": []}
        answers = [
            {"page_id": page, "answers": [{"annotator": a, "values": [v]} for a, v in given], **nothing}
            for page, given in rows
        ]
        return Answers.of_column(pa.Table.from_pylist(answers, ANSWERED_PAGES), "answers", COLOURS)

    controls = said(("c", [("ann", "red"), ("bob", "green")]), ("d", [("ann", "green")]))
    checks = Checks(controls, COLOURS.encode([["red"], ["green"]]))
    figures = annotator_figures(said(("p", [("ann", "red")])), checks, {"ann": 0.9, "bob": 0.5})
    assert figures["ann"] == {"answers": 1, "checks": 2, "checks_right": 2, "quality": 0.9}
    assert figures["bob"] == {"answers": 0, "checks": 1, "checks_right": 0, "quality": 0.5}
