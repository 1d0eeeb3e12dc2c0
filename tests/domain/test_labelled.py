import pyarrow as pa

from al_platform.domain.labelled import class_balance, merge_labels, sift
from al_platform.domain.taxonomy import Taxonomy
from al_platform.domain.text import CleaningOptions
from al_platform.schemas import BATCH, IMPORTED_LABELS, LABELS, conform

TOPICS = Taxonomy(task="single", labels=("news", "sport"))


def imported(*rows):
    found = [{"page_id": page, "values": values, "text": text} for page, values, text in rows]
    return conform(pa.Table.from_pylist(found), IMPORTED_LABELS, "x")


def labels(*rows):
    found = [{"page_id": page, "values": values, "source": "annotated", "reason": "audit"} for page, values in rows]
    return conform(pa.Table.from_pylist(found), LABELS, "x")


def batches(*rows):
    sent = [{"batch_id": "b", "page_id": p, "rank": 1, "reason": "audit", "title": t, "text": x} for p, t, x in rows]
    return conform(pa.Table.from_pylist(sent), BATCH, "x")


def test_what_annotators_said_beats_what_was_imported_and_the_conflict_is_counted():
    merged = merge_labels(
        labels(("a", ["news"])),
        imported(("a", ["sport"], "old"), ("b", ["sport"], "kept")),
        batches(("a", "T", "seen")),
    )
    rows = {row["page_id"]: row for row in merged.table.to_pylist()}
    assert rows["a"]["values"] == ["news"]
    assert rows["a"]["text"] == "T seen"
    assert rows["b"]["source"] == "imported"
    assert merged.conflicts == 1


def test_a_later_import_beats_an_earlier_one():
    merged = merge_labels(
        LABELS.empty_table(), imported(("a", ["sport"], "x"), ("a", ["news"], "x")), BATCH.empty_table()
    )
    assert merged.table["values"].to_pylist() == [["news"]]


def test_the_same_label_twice_is_no_conflict():
    merged = merge_labels(labels(("a", ["news"])), imported(("a", ["news"], "x")), BATCH.empty_table())
    assert merged.conflicts == 0


def test_markup_is_cleaned_and_what_says_nothing_is_set_aside_with_its_reason():
    merged = merge_labels(
        LABELS.empty_table(),
        imported(("a", ["news"], "<p>three  good\u00a0words</p>"), ("b", ["news"], "<br/>"), ("c", ["news"], "one")),
        BATCH.empty_table(),
    )
    table, quarantine = sift(merged.table, TOPICS, CleaningOptions())
    assert table["text"].to_pylist() == ["three good words"]
    assert dict(zip(*(quarantine[name].to_pylist() for name in ("page_id", "reason")), strict=True)) == {
        "b": "empty",
        "c": "too_short",
    }


def test_a_label_that_left_the_taxonomy_is_set_aside():
    merged = merge_labels(LABELS.empty_table(), imported(("a", ["weather"], "three good words")), BATCH.empty_table())
    table, quarantine = sift(merged.table, TOPICS, CleaningOptions())
    assert table.num_rows == 0
    assert quarantine["reason"].to_pylist() == ["label_outside_taxonomy"]


def test_class_balance_of_a_multi_label_family_counts_pages_without_a_label():
    multi = Taxonomy(task="multi", labels=("a", "b"))
    assert class_balance([["a", "b"], ["b"], []], multi) == {"a": 1, "b": 2, "(none)": 1}
