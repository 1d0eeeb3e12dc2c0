import numpy as np
import pyarrow as pa
import pytest

from al_platform.domain.label_errors import Suspects
from al_platform.domain.selection.options import SelectionOptions
from al_platform.domain.selection.overlap import with_answers_wanted
from al_platform.domain.selection.second_looks import (
    LOOKS,
    choose_opinions,
    choose_relabels,
    doubted_pages,
    draw_controls,
    together,
)
from al_platform.domain.taxonomy import Taxonomy
from al_platform.schemas import ANSWERED_PAGES, BATCH, DATASET, LABELS

COLOURS = Taxonomy(task="single", labels=("red", "green"))
RISKS = Taxonomy(task="multi", labels=("adult", "drugs"))
OPTIONS = SelectionOptions(budget=40)  # two pages of each kind


def dataset(**pages):
    nothing = {"text": "t", "near_duplicate_group": 0}
    rows = [
        {"page_id": page, "set": name, "source": source, "values": ["red"], **nothing}
        for page, (name, source) in pages.items()
    ]
    return pa.Table.from_pylist(rows, DATASET)


def answered(**pages):
    nothing = {"sent_in": [], "taken_in": [], "n_versions": 1, "n_invalid": 0, "checks": []}
    said = [{"annotator": "ann", "values": ["red"]}]
    rows = [
        {
            "page_id": page,
            "answers": said,
            "reason": reasons[0],
            "asked": [{"reason": each} for each in reasons],
            **nothing,
        }
        for page, reasons in pages.items()
    ]
    return pa.Table.from_pylist(rows, ANSWERED_PAGES)


def decided(*pages):
    return pa.Table.from_pylist([{"page_id": p, "values": ["red"], "source": "annotated"} for p in pages], LABELS)


def ids(looks):
    return looks["page_id"].to_pylist()


def test_control_pages_are_imported_and_never_trained_on():
    pages = {"g": ("golden", "imported"), "c": ("control", "imported"), "t": ("train", "imported")}
    pages |= {"v": ("validation", "imported"), "a": ("golden", "annotated")}
    found = draw_controls(dataset(**pages), "2026-10", OPTIONS)
    assert sorted(ids(found)) == ["c", "g"]
    assert found["known_values"].to_pylist() == [["red"], ["red"]]


def test_control_pages_are_others_each_month():
    many = dataset(**{f"g{number}": ("golden", "imported") for number in range(50)})
    assert ids(draw_controls(many, "2026-10", OPTIONS)) != ids(draw_controls(many, "2026-11", OPTIONS))
    assert ids(draw_controls(many, "2026-10", OPTIONS)) == ids(draw_controls(many, "2026-10", OPTIONS))


def test_only_labels_of_the_training_set_are_doubted_and_each_once():
    pages = dataset(
        a=("train", "imported"), b=("train", "annotated"), g=("golden", "imported"), v=("audit", "annotated")
    )
    assert ids(doubted_pages(pages, answered(b=["strategy", "relabel"]))) == ["a"]


def test_a_label_in_doubt_says_what_the_page_reads_like():
    pages = dataset(a=("train", "imported"), b=("train", "imported"))
    suspects = Suspects(np.array([1]), np.array([0.6]), np.array([1]))
    found = choose_relabels(pages, suspects, COLOURS, 5)
    assert found.to_pylist() == [
        {
            "page_id": "b",
            "reason": "relabel",
            "why": "labelled red, reads like green",
            "score": 0.6,
            "known_values": ["red"],
        }
    ]


@pytest.mark.parametrize(("column", "why"), [(0, "does not read like it"), (1, "reads like drugs, not labelled so")])
def test_a_class_of_a_multi_label_page_may_be_missing_or_too_much(column, why):
    pages = dataset(a=("train", "imported")).set_column(2, "values", pa.array([["adult"]]))
    suspects = Suspects(np.array([0]), np.array([0.5]), np.array([column]))
    assert why in choose_relabels(pages, suspects, RISKS, 5)["why"][0].as_py()


def test_pages_that_their_answers_did_not_decide_are_sent_back():
    known = answered(a=["strategy"], b=["strategy"])
    assert ids(choose_opinions(known, decided("a"), "2026-10", OPTIONS)) == ["b"]


def test_random_draws_are_sent_back_first():
    known = answered(**{f"s{number}": ["strategy"] for number in range(20)}, x=["audit"], y=["exploration"])
    assert sorted(ids(choose_opinions(known, decided(), "2026-10", OPTIONS))) == ["x", "y"]


def test_a_page_is_sent_back_twice_at_most():
    twice = answered(a=["audit", "second_opinion", "second_opinion"], b=["audit", "second_opinion"])
    assert ids(choose_opinions(twice, decided(), "2026-10", OPTIONS)) == ["b"]


def test_a_page_that_nobody_answered_is_not_sent_back():
    waiting = answered(a=["audit"]).set_column(5, "answers", pa.array([[]], ANSWERED_PAGES.field("answers").type))
    assert ids(choose_opinions(waiting, decided(), "2026-10", OPTIONS)) == []


def test_a_page_is_asked_about_once_a_month():
    rows = [{"page_id": "a", "reason": "second_opinion"}, {"page_id": "a", "reason": "relabel"}]
    both = pa.Table.from_pylist([dict.fromkeys(LOOKS.names) | row for row in rows], LOOKS)
    assert together(both, size=5)["reason"].to_pylist() == ["second_opinion"]
    assert together(both, size=0).num_rows == 0


def batch(*reasons):
    rows = [{"batch_id": "b", "page_id": f"p{n}", "rank": n, "reason": reason} for n, reason in enumerate(reasons)]
    return pa.Table.from_pylist([dict.fromkeys(BATCH.names) | row for row in rows], BATCH)


def test_a_share_of_the_pages_gets_several_annotators_and_the_others_one():
    found = with_answers_wanted(batch(*["strategy"] * 30, *["audit"] * 10), 3, 0.25, "salt")
    wanted = found["answers_wanted"].to_pylist()
    assert (wanted.count(3), wanted.count(1)) == (10, 30)
    assert 0 < wanted[30:].count(3) < 10


def test_pages_that_settle_something_always_get_several():
    settling = batch("duel", "relabel", "second_opinion", "control")
    assert with_answers_wanted(settling, 3, 0.0, "salt")["answers_wanted"].to_pylist() == [3] * 4
