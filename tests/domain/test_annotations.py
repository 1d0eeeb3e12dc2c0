from datetime import UTC, datetime, timedelta
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from al_platform.domain.adjudication import AdjudicationOptions, adjudicate
from al_platform.domain.annotations import fold, new_versions, valid_answers
from al_platform.domain.errors import SchemaError, TaxonomyError
from al_platform.domain.taxonomy import Taxonomy
from al_platform.domain.votes import Answers
from al_platform.schemas import ANNOTATIONS, BATCH, LABELS, QUARANTINE

START = datetime(2026, 3, 1, tzinfo=UTC)
COLOURS = Taxonomy(task="single", labels=("red", "green", "blue"))
RISKS = Taxonomy(task="multi", labels=("adult", "violence", "drugs"))
MAJORITY = AdjudicationOptions(method="majority")
BATCHES = BATCH.append(pa.field("cycle", pa.string(), nullable=False))


def answer(page, annotator, *values, at=0, identifier=None, skipped=False, deleted=False, batch="b1"):
    return {
        "annotation_id": identifier or f"{page}/{annotator}",
        "page_id": page,
        "annotator": annotator,
        "values": list(values),
        "skipped": skipped,
        "deleted": deleted,
        "guideline_version": "1",
        "created_at": START,
        "updated_at": None if at is None else START + timedelta(seconds=at),
        "batch_id": batch,
    }


def ledger(*rows):
    return pa.Table.from_pylist(list(rows), ANNOTATIONS)


def drawn(page, batch="b1", reason="margin", probability=None, cycle="2026-03"):
    row = {"page_id": page, "batch_id": batch, "rank": 1, "reason": reason, "cycle": cycle}
    return {**row, "inclusion_probability": probability}


def batches(*rows):
    return pa.Table.from_pylist([dict.fromkeys(BATCHES.names) | row for row in rows], BATCHES)


def labels(table, taxonomy=COLOURS, drawn_pages=(), cycle="2026-03"):
    return {row["page_id"]: row for row in concluded(table, batches(*drawn_pages), taxonomy, cycle).to_pylist()}


def concluded(table, sent, taxonomy=COLOURS, cycle="2026-03"):
    return adjudicate(table, sent, taxonomy, cycle, MAJORITY)


def concat(parts):
    return pa.concat_tables([ledger(), *parts])


# new versions


def test_an_answer_already_in_the_ledger_is_not_new():
    old, edited = answer("p", "ann", "red"), answer("p", "ann", "blue", at=5)
    assert new_versions(ledger(old, edited), ledger(old)).to_pylist() == [edited]


def test_an_answer_pulled_twice_is_one_version():
    assert new_versions(ledger(answer("p", "ann", "red"), answer("p", "ann", "red")), ledger()).num_rows == 1


def test_the_same_labels_in_another_order_are_the_same_version():
    known = ledger(answer("p", "ann", "adult", "drugs"))
    assert new_versions(ledger(answer("p", "ann", "drugs", "adult")), known).num_rows == 0


def test_an_edit_within_the_same_second_is_a_new_version():
    assert new_versions(ledger(answer("p", "ann", "blue")), ledger(answer("p", "ann", "red"))).num_rows == 1


def test_a_deletion_is_a_new_version():
    known = ledger(answer("p", "ann", "red"))
    assert new_versions(ledger(answer("p", "ann", at=9, deleted=True)), known).num_rows == 1


def test_a_deletion_that_is_known_is_not_new_even_with_another_time():
    known = ledger(answer("p", "ann", "red"), answer("p", "ann", at=9, deleted=True))
    pulled = ledger(answer("p", "ann", at=7, deleted=True), answer("p", "ann", at=12, deleted=True))
    assert new_versions(pulled, known).num_rows == 0


def test_a_second_deletion_after_a_restoration_is_new():
    known = ledger(answer("p", "ann", at=1, deleted=True), answer("p", "ann", "red", at=2))
    assert new_versions(ledger(answer("p", "ann", at=3, deleted=True)), known).num_rows == 1


def test_columns_that_the_schema_does_not_know_are_kept():
    pulled = ledger(answer("p", "ann", "red")).append_column("seconds", pa.array([12]))
    assert new_versions(pulled, ledger()).column("seconds").to_pylist() == [12]


def test_a_table_without_annotators_is_refused():
    with pytest.raises(SchemaError, match="annotator"):
        new_versions(ledger().drop_columns(["annotator"]), ledger())


# fold


def test_the_newest_version_of_an_annotation_holds():
    folded = fold(ledger(answer("p", "ann", "blue", at=5), answer("p", "ann", "red")))
    assert folded.column("values").to_pylist() == [["blue"]]


def test_a_deleted_annotation_does_not_hold():
    assert fold(ledger(answer("p", "ann", "red"), answer("p", "ann", at=5, deleted=True))).num_rows == 0


def test_a_deletion_with_the_time_of_the_answer_comes_after_it():
    assert fold(ledger(answer("p", "ann", deleted=True), answer("p", "ann", "red"))).num_rows == 0


def test_a_deletion_without_a_time_comes_last():
    assert fold(ledger(answer("p", "ann", deleted=True, at=None), answer("p", "ann", "red", at=99))).num_rows == 0


def test_the_newest_annotation_of_one_annotator_on_a_page_holds():
    first = answer("p", "ann", "red", identifier="1", at=1)
    second = answer("p", "ann", "blue", identifier="2", at=2)
    assert fold(ledger(second, first)).to_pylist() == [second]


def test_deleting_the_newest_annotation_brings_back_the_one_before():
    first = answer("p", "ann", "red", identifier="1", at=1)
    second = answer("p", "ann", "blue", identifier="2", at=2)
    assert fold(ledger(first, second, second | {"deleted": True})).to_pylist() == [first]


def test_a_skipped_answer_replaces_the_answer_before_it():
    folded = fold(ledger(answer("p", "ann", "red"), answer("p", "ann", at=3, skipped=True)))
    assert folded.column("skipped").to_pylist() == [True]


@st.composite
def histories(draw):
    """Events on a platform and the moments at which it is pulled."""
    platform: dict[str, dict] = {}
    pulls: list[list[dict]] = []
    for at in range(draw(st.integers(1, 25))):
        identifier = draw(st.sampled_from("abcd"))
        page, who = {"a": ("p", "x"), "b": ("p", "y"), "c": ("p", "x"), "d": ("q", "y")}[identifier]
        kind = draw(st.sampled_from(["answer", "answer", "skip", "delete", "pull", "pull"]))
        now = at // 2  # so that two events may share a time
        if kind == "pull":
            pulls.append(draw(st.permutations(list(platform.values()))))
        elif kind == "delete" and identifier in platform:
            platform[identifier] = platform[identifier] | {"deleted": True, "updated_at": START + timedelta(seconds=at)}
        elif kind != "delete" and not platform.get(identifier, {"deleted": False})["deleted"]:
            values = [] if kind == "skip" else [draw(st.sampled_from(["red", "green"]))]
            earlier = platform.get(identifier)
            if earlier is None or earlier["updated_at"] < START + timedelta(seconds=now):
                platform[identifier] = answer(page, who, *values, at=now, identifier=identifier, skipped=kind == "skip")
    return [*pulls, list(platform.values())]


@settings(max_examples=100, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_nothing_is_ingested_twice_lost_or_changed(pulls, random):
    partitions: list[pa.Table] = []
    for pull in pulls:
        fresh = new_versions(ledger(*pull), concat(partitions))
        assert new_versions(ledger(*pull), concat([*partitions, fresh])).num_rows == 0
        partitions.append(fresh)
    everything = concat(partitions)
    rows = everything.to_pylist()
    assert len({repr(row) for row in rows}) == len(rows)
    assert all(row in [given_row for pull in pulls for given_row in pull] for row in rows)
    shuffled = rows.copy()
    random.shuffle(shuffled)
    assert fold(everything).equals(fold(ledger(*pulls[-1])))
    assert fold(ledger(*shuffled)).equals(fold(everything))
    assert fold(fold(everything)).equals(fold(everything))


@st.composite
def ledgers(draw):
    """Versions in which times, deletions and everything else may coincide."""
    rows = []
    for _ in range(draw(st.integers(0, 14))):
        page, who = draw(st.sampled_from("pq\u00e9")), draw(st.sampled_from(["x", "y", "\U0001f600"]))
        chosen = draw(st.lists(st.sampled_from(["red", "green"]), max_size=2))
        moment = draw(st.none() | st.integers(0, 2))
        flags = {"skipped": draw(st.booleans()), "deleted": draw(st.booleans())}
        identifier, batch = draw(st.sampled_from("abc\uffff")), draw(st.sampled_from(["b1", "b2"]))
        rows.append(answer(page, who, *chosen, at=moment, identifier=identifier, batch=batch, **flags))
    return rows


def folded_one_by_one(rows):
    """The rules of ``fold``, one row after another."""
    never = {True: timedelta.max, False: timedelta.min}

    def age(row):
        moment = never[row["deleted"]] if row["updated_at"] is None else row["updated_at"] - START
        rest = (row["page_id"], row["annotator"], f"{row['batch_id']}")
        return (moment, row["deleted"], row["skipped"], tuple(sorted(set(row["values"]))), *rest)

    newest = {row["annotation_id"]: row for row in sorted(rows, key=age)}
    standing = sorted(
        (row for row in newest.values() if not row["deleted"]), key=lambda row: (age(row)[0], row["annotation_id"])
    )
    answers = {(row["page_id"], row["annotator"]): row for row in standing}
    return [answers[key] for key in sorted(answers)]


@settings(max_examples=300, deadline=None)
@given(ledgers())
def test_folding_many_rows_at_once_equals_folding_them_one_by_one(rows):
    found = [{**row, "values": sorted(set(row["values"]))} for row in fold(ledger(*rows)).to_pylist()]
    assert found == [{**row, "values": sorted(set(row["values"]))} for row in folded_one_by_one(rows)]


@pytest.mark.parametrize(
    ("old", "new"),
    [(["a\x1fb"], ["a", "b"]), (["a\x1f", "b"], ["a", "\x1fb"]), (["a\\", "b"], ["a", "\\b"]), ([""], [])],
)
def test_values_that_look_alike_when_joined_are_other_versions(old, new):
    assert new_versions(ledger(answer("p", "x", *new)), ledger(answer("p", "x", *old))).num_rows == 1


# adjudicate


def test_the_answer_with_most_votes_is_the_label():
    row = labels(ledger(answer("p", "a", "red"), answer("p", "b", "blue"), answer("p", "c", "blue")))["p"]
    assert row["values"] == ["blue"]
    assert row["confidence"] == pytest.approx(2 / 3)
    assert row["agreement"] == pytest.approx(1 / 3)  # one of three pairs
    assert (row["n_annotations"], row["source"]) == (3, "annotated")


def test_a_tie_gives_no_label():
    table = ledger(answer("p", "a", "red"), answer("p", "b", "blue"), answer("q", "a", "red"))
    assert list(labels(table)) == ["q"]


def test_a_third_vote_resolves_a_tie():
    table = ledger(answer("p", "a", "red"), answer("p", "b", "blue"), answer("p", "c", "red"))
    assert labels(table)["p"]["values"] == ["red"]


def test_agreement_of_one_annotator_is_unknown():
    row = labels(ledger(answer("p", "a", "red")))["p"]
    assert row["agreement"] is None
    assert row["confidence"] == 1


def test_a_skipped_answer_is_no_vote():
    table = ledger(answer("p", "a", "red"), answer("p", "b", skipped=True), answer("q", "b", skipped=True))
    assert {page: row["n_annotations"] for page, row in labels(table).items()} == {"p": 1}


def test_each_class_of_a_multi_label_page_has_its_own_majority():
    table = ledger(answer("p", "a", "adult", "drugs"), answer("p", "b", "adult"), answer("p", "c", "adult", "violence"))
    row = labels(table, RISKS)["p"]
    assert row["values"] == ["adult"]
    assert row["confidence"] == pytest.approx(2 / 3)
    assert row["agreement"] == pytest.approx((1 + 1 / 3 + 1 / 3) / 3)


def test_a_multi_label_page_without_any_class_is_an_answer():
    assert labels(ledger(answer("p", "a"), answer("p", "b")), RISKS)["p"]["values"] == []


def test_a_tie_in_one_class_leaves_a_multi_label_page_unresolved():
    table = ledger(answer("p", "a", "adult"), answer("p", "b", "adult", "drugs"))
    assert labels(table, RISKS) == {}
    assert labels(table, RISKS) == {}


def test_a_label_says_how_its_page_was_drawn():
    row = labels(ledger(answer("p", "a", "red")), drawn_pages=[drawn("p", "b1", "audit", 0.25, "2026-02")])["p"]
    assert (row["reason"], row["inclusion_probability"], row["cycle"]) == ("audit", 0.25, "2026-02")


def test_a_page_drawn_again_keeps_its_first_reason():
    table = ledger(answer("p", "a", "red", batch="b1"), answer("p", "a", "red", at=9, batch="b2"))
    again = [drawn("p", "b2", "relabel", None, "2026-04"), drawn("p", "b1", "audit", 0.25, "2026-03")]
    assert labels(table, drawn_pages=again, cycle="2026-04")["p"]["reason"] == "audit"


def test_a_batch_that_nobody_answered_does_not_give_the_reason():
    both = [drawn("p", "b1", "audit", 0.25, "2026-03"), drawn("p", "b2", "margin", None, "2026-04")]
    table = ledger(answer("p", "a", "red", batch="b2"))
    assert labels(table, drawn_pages=both, cycle="2026-04")["p"]["reason"] == "margin"


def test_a_random_draw_comes_before_a_choice_of_the_same_cycle():
    both = [drawn("p", "b0", "margin"), drawn("p", "b1", "audit", 0.5)]
    assert labels(ledger(answer("p", "a", "red", batch=None)), drawn_pages=both)["p"]["reason"] == "audit"


def test_batches_of_later_cycles_are_ignored():
    later = [drawn("p", "b1", "margin", None, "2026-05")]
    row = labels(ledger(answer("p", "a", "red")), drawn_pages=later, cycle="2026-04")["p"]
    assert (row["reason"], row["cycle"]) == (None, "2026-04")


def test_labels_fit_their_schema_with_and_without_rows():
    for table in (ledger(), ledger(answer("p", "a", "red"))):
        assert concluded(table, batches()).schema.equals(LABELS)


def test_an_answer_outside_the_taxonomy_stops_adjudication():
    with pytest.raises(TaxonomyError, match=r"p/a.*'rde'.*'red'"):
        labels(ledger(answer("p", "a", "rde")))


def test_answers_outside_the_taxonomy_can_be_set_aside():
    table = ledger(answer("p", "a", "rde"), answer("p", "b", "red"), answer("q", "a", "red", "blue"))
    valid, quarantined = valid_answers(table, COLOURS)
    assert list(labels(valid)) == ["p"]
    assert quarantined.schema.equals(QUARANTINE)
    assert quarantined.column("page_id").to_pylist() == ["p", "q"]


def test_an_answer_that_was_corrected_is_not_set_aside():
    table = ledger(answer("p", "a", "rde"), answer("p", "a", "red", at=3))
    assert valid_answers(table, COLOURS)[1].num_rows == 0


def test_an_older_answer_that_a_mistake_uncovers_is_looked_at_too():
    table = ledger(answer("p", "a", "rde", identifier="1"), answer("p", "a", "grren", identifier="2", at=3))
    valid, quarantined = valid_answers(table, COLOURS)
    assert (valid.num_rows, quarantined.num_rows) == (0, 2)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("pqr"), st.sampled_from("abc"), st.sampled_from(COLOURS.labels)), max_size=12),
    st.randoms(use_true_random=False),
)
def test_the_order_of_answers_and_batches_does_not_matter(votes, random):
    rows = [answer(page, who, value, at=at, identifier=str(at)) for at, (page, who, value) in enumerate(votes)]
    sent = [drawn(page, f"b{n}", cycle=f"2026-0{n}") for page in "pqr" for n in (1, 2)]
    shuffled, sent_shuffled = rows.copy(), sent.copy()
    random.shuffle(shuffled)
    random.shuffle(sent_shuffled)
    for options in (MAJORITY, AdjudicationOptions(min_answers=0)):
        expected = adjudicate(ledger(*rows), batches(*sent), COLOURS, "2026-03", options)
        assert adjudicate(ledger(*shuffled), batches(*sent_shuffled), COLOURS, "2026-03", options).equals(expected)


# agreement


def coded(*rows, nothing="."):
    """One string a coder, one character a page."""
    pages = range(len(rows[0]))
    return ledger(
        *(
            answer(f"p{page:02}", f"coder{c}", row[page])
            for c, row in enumerate(rows)
            for page in pages
            if row[page] != nothing
        )
    )


# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability": binary data with two observers (A), nominal data with
# two observers (B), nominal data with four observers and missing answers (C). The package krippendorff 0.9.0 gives
# 0.0952381, 0.6919643 and 0.7434211.
@pytest.mark.parametrize(
    ("coders", "alpha"),
    [
        (("0100000010", "1110010000"), 0.0952381),
        (("aabbdcccedda", "babbbccceddd"), 0.6919643),
        (("123321412...", "1233224125.3", ".3332342251.", "12332441251."), 0.7434211),
    ],
)
def test_alpha_agrees_with_the_published_examples(coders, alpha):
    characters = tuple(sorted(set("".join(coders)) - {"."}))
    assert agreement(coded(*coders), Taxonomy(task="single", labels=characters)) == pytest.approx(alpha, abs=1e-6)


def test_multi_label_agreement_is_the_mean_of_binary_alphas():
    coders = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
    # krippendorff 0.9.0 on the indicator of each of the classes 1 to 5; nobody chose 6, so that it says nothing.
    by_class = [0.7204301, 0.6666667, 0.74, 0.7771429, 1.0]
    digits = Taxonomy(task="multi", labels=("1", "2", "3", "4", "5", "6"))
    assert agreement(coded(*coders), digits) == pytest.approx(np.mean(by_class), abs=1e-6)


def agreement(table, taxonomy):
    return Answers.of_ledger(table, taxonomy).votes().agreement(taxonomy)


def alpha_by_pairs(coders):
    """Nominal alpha from its definition: disagreement within pages over disagreement between any two answers."""
    pages = [[answer for answer in page if answer != "."] for page in zip(*coders, strict=True)]
    pages = [page for page in pages if len(page) > 1]
    pool = [answer for page in pages for answer in page]
    within = sum(2 * sum(a != b for a, b in combinations(page, 2)) / (len(page) - 1) for page in pages) / len(pool)
    between = 2 * sum(a != b for a, b in combinations(pool, 2)) / (len(pool) * (len(pool) - 1))
    return 1 - within / between


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("rgb.", min_size=6, max_size=6), min_size=2, max_size=4))
def test_alpha_is_one_minus_observed_over_expected_disagreement(coders):
    found = agreement(coded(*coders), Taxonomy(task="single", labels=("r", "g", "b")))
    if found is None:
        pages = [[answer for answer in page if answer != "."] for page in zip(*coders, strict=True)]
        assert len({answer for page in pages if len(page) > 1 for answer in page}) < 2
    else:
        assert found == pytest.approx(alpha_by_pairs(coders))


def test_agreement_is_undefined_without_overlap():
    assert agreement(ledger(answer("p", "a", "red"), answer("q", "b", "blue")), COLOURS) is None
    assert agreement(ledger(), COLOURS) is None
    assert agreement(ledger(), RISKS) is None


def test_agreement_is_undefined_when_all_answers_are_the_same():
    assert agreement(ledger(answer("p", "a", "red"), answer("p", "b", "red")), COLOURS) is None
