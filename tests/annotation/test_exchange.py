import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from annotation_tasks import PREFIX, annotation, make_batch, task
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from al_platform.annotation.exchange import FileExchange
from al_platform.domain.errors import StoreError
from al_platform.domain.taxonomy import Taxonomy
from al_platform.storage.erasures import Tombstone, create_tombstone, page_sha256
from al_platform.storage.store import LocalStore

Deliver = Callable[..., None]


@pytest.fixture
def exchange(store: LocalStore, topics: Taxonomy) -> FileExchange:
    exchange = FileExchange(store, PREFIX, topics)
    exchange.submit(make_batch(["a", "b"]))
    return exchange


@pytest.fixture
def multi(store: LocalStore, safety: Taxonomy) -> FileExchange:
    exchange = FileExchange(store, PREFIX, safety)
    exchange.submit(make_batch(["a"]))
    return exchange


def annotations(exchange: FileExchange) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = exchange.pull().annotations.to_pylist()
    return rows


def quarantine(exchange: FileExchange) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = exchange.pull().quarantine.to_pylist()
    return rows


def test_an_answer_of_label_studio_becomes_an_annotation(exchange: FileExchange, deliver: Deliver) -> None:
    deliver(task("a", annotation(id=7, completed_by=3, choices=["tech"])))
    time = datetime(2026, 11, 2, 10, 0, 0, 1, tzinfo=UTC)
    assert annotations(exchange) == [
        {
            "annotation_id": "topics-2026-10/a/7",
            "page_id": "a",
            "annotator": "3",
            "values": ["tech"],
            "skipped": False,
            "deleted": False,
            "guideline_version": "2",
            "created_at": time,
            "updated_at": time,
            "batch_id": "topics-2026-10",
        }
    ]


@pytest.mark.parametrize("indent", [None, 2])
def test_a_list_of_tasks_and_one_task_a_line_are_read_alike(
    exchange: FileExchange, store: LocalStore, deliver: Deliver, indent: int | None
) -> None:
    tasks = [task("a", annotation()), task("b", annotation(id=8))]
    deliver(*tasks)
    by_line = annotations(exchange)
    store.remove(f"{PREFIX}/inbox")
    deliver(json.dumps(tasks, indent=indent).encode(), name="deep/er/export.json")
    assert annotations(exchange) == by_line
    assert len(by_line) == 2


def test_raw_line_separators_of_unicode_do_not_end_a_line(exchange: FileExchange, deliver: Deliver) -> None:
    exported = task("a", annotation()) | {"note": "one\u2028two\x85three"}
    deliver(json.dumps(exported, ensure_ascii=False).encode(), task("b", annotation()))
    assert [row["page_id"] for row in annotations(exchange)] == ["a", "b"]


def test_every_version_of_an_answer_is_kept_and_an_equal_one_once(exchange: FileExchange, deliver: Deliver) -> None:
    first, second = annotation(choices=["tech"]), annotation(updated_at="2026-11-03T10:00:00Z")
    deliver(task("a", second), name="2.jsonl")
    deliver(task("a", first), name="3.jsonl")
    deliver(task("a", first), name="4.jsonl")
    assert [row["values"] for row in annotations(exchange)] == [["tech"], ["sport"]]
    assert len({row["annotation_id"] for row in annotations(exchange)}) == 1


def test_two_people_who_answer_one_page_are_two_annotations(exchange: FileExchange, deliver: Deliver) -> None:
    deliver(task("a", annotation(id=1, completed_by=1), annotation(id=2, completed_by=2)))
    assert [row["annotator"] for row in annotations(exchange)] == ["1", "2"]


def test_an_answer_with_the_same_id_on_another_page_is_another_annotation(
    exchange: FileExchange, deliver: Deliver
) -> None:
    deliver(task("a", annotation(id=1)), task("b", annotation(id=1)))
    assert len({row["annotation_id"] for row in annotations(exchange)}) == 2


def test_a_skipped_page_has_no_values(exchange: FileExchange, deliver: Deliver) -> None:
    deliver(task("a", annotation(was_cancelled=True, result=[])))
    assert [(row["skipped"], row["values"]) for row in annotations(exchange)] == [(True, [])]


def test_a_deletion_comes_after_the_answer_of_the_same_time(exchange: FileExchange, deliver: Deliver) -> None:
    deliver(task("a", annotation(deleted=True)), task("a", annotation()))
    assert [row["deleted"] for row in annotations(exchange)] == [False, True]


def test_a_deletion_needs_neither_times_nor_a_result(exchange: FileExchange, deliver: Deliver) -> None:
    deliver(task("a", annotation()), task("a", {"id": 7, "completed_by": 3, "deleted": True}))
    assert [(row["deleted"], row["updated_at"] is None) for row in annotations(exchange)] == [
        (False, False),
        (True, True),
    ]


@pytest.mark.parametrize(
    ("completed_by", "annotator"),
    [
        (3, "3"),
        ("ann", "ann"),
        ({"id": 3, "email": "ann@example.com"}, "ann@example.com"),
        ({"id": 3}, "3"),
        ("\ud800", "?"),
    ],
)
def test_the_annotator_is_an_id_a_name_or_an_object(
    exchange: FileExchange, deliver: Deliver, completed_by: object, annotator: str
) -> None:
    deliver(task("a", annotation(completed_by=completed_by)))
    assert [row["annotator"] for row in annotations(exchange)] == [annotator]


def test_one_missing_time_is_taken_from_the_other(exchange: FileExchange, deliver: Deliver) -> None:
    deliver(task("a", annotation(updated_at=..., created_at="2026-11-02T12:00:00+02:00")))
    assert annotations(exchange)[0]["updated_at"] == datetime(2026, 11, 2, 10, tzinfo=UTC)


def test_a_multi_label_answer_may_be_empty(multi: FileExchange, deliver: Deliver) -> None:
    deliver(task("a", annotation(result=[])), task("a", annotation(id=8, choices=[])))
    assert [row["values"] for row in annotations(multi)] == [[], []]


def test_labels_come_once_and_in_the_order_of_the_taxonomy(multi: FileExchange, deliver: Deliver) -> None:
    deliver(task("a", annotation(choices=["alcohol", "crime", "alcohol"])))
    assert annotations(multi)[0]["values"] == ["crime", "alcohol"]


def test_a_duplicated_label_is_one_answer_for_a_single_label_family(exchange: FileExchange, deliver: Deliver) -> None:
    deliver(task("a", annotation(choices=["tech", "tech"])))
    assert annotations(exchange)[0]["values"] == ["tech"]


def test_a_note_beside_the_choices_is_ignored(exchange: FileExchange, deliver: Deliver) -> None:
    answered = annotation()
    answered["result"].append({"type": "textarea", "value": {"text": ["odd page"]}})
    deliver(task("a", answered))
    assert annotations(exchange)[0]["values"] == ["sport"]


REFUSED = {
    "label outside the taxonomy": (task("a", annotation(choices=["sprot"])), "invalid answer", "'sport'"),
    "no label": (task("a", annotation(result=[])), "invalid answer", "found 0"),
    "two labels": (task("a", annotation(choices=["sport", "tech"])), "invalid answer", "found 2"),
    "page never sent": (task("z", annotation()), "unknown page", "'z' was never sent"),
    "batch never sent": (task("a", annotation(), batch_id="x"), "unknown page", "batch 'x'"),
    "broken line": (b'{"data": {"page_id": "a"', "unreadable", "line 1"),
    "not UTF-8": (b'{"data": "\xff"}', "unreadable", "utf-8"),
    "too deep": (b"[" * 100_000, "unreadable", "deep"),
    "no object": (b"3", "invalid field", "found int"),
    "no data": ({"annotations": []}, "missing field", "'data'"),
    "page id of another type": (task(3, annotation()), "invalid field", "found int"),  # type: ignore[arg-type]
    "half a surrogate pair": (task("\ud800", annotation()), "unknown page", "'?'"),
    "no annotations": ({"data": {"page_id": "a", "batch_id": "topics-2026-10"}}, "missing field", "'annotations'"),
    "annotation is no object": (task("a", "sport"), "invalid field", "found str"),
    "no id": (task("a", annotation(id=...)), "missing field", "'id'"),
    "id is a truth value": (task("a", annotation(id=True)), "invalid field", "found bool"),
    "empty id": (task("a", annotation(id="")), "missing field", "empty"),
    "no annotator": (task("a", annotation(completed_by=None)), "missing field", "'completed_by'"),
    "nameless annotator": (task("a", annotation(completed_by={"x": 1})), "missing field", "names no"),
    "no result": (task("a", annotation(result=...)), "missing field", "'result'"),
    "result of text": (task("a", annotation(result="sport")), "invalid field", "found str"),
    "choice is a number": (task("a", annotation(choices=[1])), "invalid field", "label names"),
    "no choices": (task("a", annotation(result=[{"type": "choices", "value": {}}])), "missing field", "'choices'"),
    "no time": (task("a", annotation(created_at=..., updated_at=...)), "missing field", "'updated_at'"),
    "no such time": (task("a", annotation(updated_at="yesterday")), "invalid field", "'yesterday'"),
    "time out of range": (task("a", annotation(updated_at="0001-01-01T00:00:00+14:00")), "invalid field", "ISO"),
    "deleted is text": (task("a", annotation(deleted="no")), "invalid field", "'deleted'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_answer_that_cannot_be_taken_goes_to_quarantine(exchange: FileExchange, deliver: Deliver, case: str) -> None:
    delivered, reason, detail = REFUSED[case]
    deliver(delivered)
    [row] = quarantine(exchange)
    assert row["reason"] == reason
    assert detail in row["detail"]
    assert f"{PREFIX}/inbox/export.jsonl" in row["detail"]
    assert annotations(exchange) == []


def test_answers_beside_a_broken_line_are_taken(exchange: FileExchange, deliver: Deliver) -> None:
    deliver(task("a", annotation()), b'{"data', task("b", annotation()), b"")
    assert [row["page_id"] for row in annotations(exchange)] == ["a", "b"]
    assert ["line 2" in row["detail"] for row in quarantine(exchange)] == [True]


def test_answers_beside_an_invalid_one_of_the_same_page_are_taken(exchange: FileExchange, deliver: Deliver) -> None:
    deliver(task("a", annotation(id=1, choices=["x"]), annotation(id=2)))
    assert [row["annotation_id"] for row in annotations(exchange)] == ["topics-2026-10/a/2"]
    assert [row["page_id"] for row in quarantine(exchange)] == ["a"]


def test_a_truncated_list_names_the_file_and_the_line(exchange: FileExchange, deliver: Deliver) -> None:
    whole = json.dumps([task("a", annotation())], indent=1).encode()
    deliver(whole[:-30], name="export.json")
    [row] = quarantine(exchange)
    assert row["reason"] == "unreadable"
    assert "export.json" in row["detail"]
    assert "line " in row["detail"]


def test_a_huge_wrong_label_is_quoted_in_part(exchange: FileExchange, deliver: Deliver) -> None:
    deliver(task("a", annotation(choices=["x" * 1_000_000])))
    assert len(quarantine(exchange)[0]["detail"]) == 500


def test_a_damaged_outbox_names_file_and_line(exchange: FileExchange, store: LocalStore) -> None:
    sent = store.read(f"{PREFIX}/outbox/topics-2026-10.jsonl")
    store.write(f"{PREFIX}/outbox/topics-2026-10.jsonl", sent[:-20])
    with pytest.raises(StoreError, match=r"topics-2026-10\.jsonl, line 2 is no task"):
        exchange.pull()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["a", "sport", "choices"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "page_id", "annotations", "id", "result", "type", "value", "choices", "deleted"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.sampled_from([*annotation(), "deleted"]), json_values, max_size=3))
def test_each_answer_is_either_taken_or_in_quarantine(
    exchange: FileExchange, deliver: Deliver, changes: dict[str, Any]
) -> None:
    deliver(task("a", annotation() | changes))
    pulled = exchange.pull()
    assert pulled.annotations.num_rows + pulled.quarantine.num_rows == 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(garbage=st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
def test_garbage_in_the_inbox_stops_nothing(exchange: FileExchange, deliver: Deliver, garbage: bytes) -> None:
    deliver(garbage, name="garbage.json")
    deliver(task("a", annotation()))
    assert exchange.pull().annotations.num_rows == 1


def test_an_export_from_before_an_erasure_names_the_page_nowhere(
    exchange: FileExchange, store: LocalStore, deliver: Deliver
) -> None:
    tombstone = Tombstone(
        number=1, page_sha256=page_sha256("gone"), reason="asked for", at="2026-11-01", actor="someone", files=()
    )
    create_tombstone(store, tombstone)
    deliver(task("gone", annotation(choices=["tech"])), task("stranger", annotation(choices=["tech"])))
    assert [(row["page_id"], row["reason"]) for row in quarantine(exchange)] == [
        (None, "erased"),
        ("stranger", "unknown page"),
    ]
    assert annotations(exchange) == []
