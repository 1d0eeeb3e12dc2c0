"""Annotation by people who exchange files: batches out, answers in, each exactly once."""

import json
import shutil

import pytest

from al_platform.domain.cycles import shift_cycle
from temporary_project import CYCLE

NEXT = shift_cycle(CYCLE, 1)


@pytest.fixture
def people(project):
    project.only("topics")
    project.configure("parameters/topics.yml", {"topics": {"annotation": {"backend": "exchange"}}})
    project.run("monthly")
    return project


def outbox(project):
    # The place that docs/own-data.md names.
    return sorted((project.path / "data/test/labels/topics/platform/exchange/outbox").glob("*.jsonl"))


def answer(project, name, tasks, label="sport", updated_at="2026-11-05T10:00:00Z"):
    """Write an export of Label Studio in which one person gave these tasks a label."""
    rows = [
        {
            "data": task["data"],
            "annotations": [
                {
                    "id": number,
                    "completed_by": 7,
                    "was_cancelled": False,
                    "created_at": "2026-11-05T09:00:00Z",
                    "updated_at": updated_at,
                    "result": [{"type": "choices", "value": {"choices": [label]}}],
                }
            ],
        }
        for number, task in enumerate(tasks)
    ]
    inbox = outbox(project)[0].parents[1] / "inbox"
    inbox.mkdir(exist_ok=True)
    (inbox / name).write_text(json.dumps(rows))


def tasks(project):
    return [json.loads(line) for line in outbox(project)[0].read_text().splitlines()]


def test_a_monthly_run_does_not_wait_for_people(people):
    status = people.status()
    assert (status["annotated"], status["pending"]) == (0, 40)
    assert status["splits"]["train"] > 0
    assert not status["simulated"]


def test_the_tasks_hold_the_page_but_neither_why_it_was_chosen_nor_what_the_model_thinks(people):
    assert len(tasks(people)) == 40
    for task in tasks(people):
        assert {"page_id", "batch_id", "title", "text", "url"} <= set(task["data"])
        assert "reason" not in task["data"]
        assert "predictions" not in task


def test_answers_that_come_later_are_taken_by_the_ingest_between_months(people):
    answer(people, "export.json", tasks(people)[:30])
    before = people.status()["splits"]
    people.run("annotation_ingest")
    people.run("preparation")
    status = people.status()
    assert (status["annotated"], status["pending"]) == (30, 10)
    assert sum(status["splits"][name] for name in ("train", "validation", "audit")) > sum(
        before[name] for name in ("train", "validation", "audit")
    )


def test_an_export_that_comes_twice_counts_once(people):
    answer(people, "export.json", tasks(people)[:30])
    people.run("annotation_ingest")
    before = people.state()
    answer(people, "export-again.json", tasks(people)[:30])
    people.run("annotation_ingest")
    after = people.state()
    assert {k: v for k, v in after.items() if "platform" not in k} == {
        k: v for k, v in before.items() if "platform" not in k
    }


def test_a_corrected_answer_replaces_the_first(people):
    answer(people, "export.json", tasks(people)[:1], "sport")
    people.run("annotation_ingest")
    answer(people, "later.json", tasks(people)[:1], "tech", "2026-11-06T10:00:00Z")
    people.run("annotation_ingest")
    assert people.load("topics.labels")["values"].to_pylist() == [["tech"]]
    assert people.load("topics.annotations").num_rows == 2


def test_an_export_may_leave_the_inbox_once_taken_and_nothing_is_taken_twice_if_it_comes_back(people):
    answer(people, "export.json", tasks(people)[:10])
    people.run("annotation_ingest")
    export = next(outbox(people)[0].parents[1].glob("inbox/export.json"))
    content = export.read_text()
    export.unlink()
    people.run("annotation_ingest", cycle=NEXT)
    assert people.load("topics.labels", NEXT).num_rows == 10
    export.write_text(content)
    people.run("annotation_ingest", cycle=NEXT)
    assert people.load("topics.annotations", NEXT).num_rows == 0
    assert people.load("topics.labels", NEXT).num_rows == 10


def test_what_a_later_cycle_has_taken_an_earlier_one_does_not_take_again(people):
    answer(people, "export.json", tasks(people)[:10])
    people.run("monthly", cycle=NEXT)
    assert people.load("topics.annotations", NEXT).num_rows == 10
    people.run("annotation_ingest")
    assert people.load("topics.annotations").num_rows == 0
    assert people.load("topics.labels", NEXT)["cycle"].to_pylist() == [CYCLE] * 10


def test_bad_answers_are_counted_and_the_good_ones_taken(people):
    good = tasks(people)
    answer(people, "export.json", good[:5])
    answer(people, "outside.json", good[5:7], "cooking")
    stranger = {"data": {"page_id": "never-sent", "batch_id": good[0]["data"]["batch_id"]}}
    answer(people, "stranger.json", [stranger])
    people.run("annotation_ingest")
    report = people.load("topics.annotation_ingest_report")
    assert (report["annotated"], report["quarantined"]) == (5, 3)


def test_pages_that_wait_for_an_answer_are_not_sent_again(people):
    people.run("monthly", cycle=NEXT)
    first = {task["data"]["page_id"] for task in tasks(people)}
    second = {json.loads(line)["data"]["page_id"] for line in outbox(people)[1].read_text().splitlines()}
    assert not first & second


def ledger(project):
    return project.load("topics.split_ledger").to_pylist()


def test_labels_that_come_within_the_month_change_no_assignment(people):
    before = ledger(people)
    answer(people, "export.json", tasks(people))
    people.run("annotation_ingest")
    people.run("preparation")
    after = ledger(people)
    assert len(after) > len(before)
    assert [row for row in after if row in before] == before
    assert len({row["page_id"] for row in after}) == len(after)


def test_a_quarter_that_is_run_again_on_more_labels_supersedes_its_own_promotion(people):
    people.run("quarterly")
    first = people.status()["champion"]
    answer(people, "export.json", tasks(people), "sport")
    for pipeline in ("annotation_ingest", "preparation", "quarterly"):
        people.run(pipeline)
    second = people.status()
    assert first is not None
    assert second["verdict"] == "promote"
    assert second["champion"] != first


def test_an_ingest_before_the_months_batch_takes_the_answers_of_the_month_before(people):
    answer(people, "export.json", tasks(people)[:10])
    people.run("annotation_ingest", cycle=NEXT)
    assert people.load("topics.annotations", NEXT).num_rows == 10


def test_a_batch_that_was_sent_but_not_committed_is_not_sent_again(people):
    selection = people.path / "data/test/labels/topics" / CYCLE / "selection"
    shutil.rmtree(selection / "log")
    people.run("scoring", cycle=NEXT)
    people.run("selection", cycle=NEXT)
    first = {task["data"]["page_id"] for task in tasks(people)}
    second = set(people.load("topics.batch", NEXT)["page_id"].to_pylist())
    assert not first & second
    answer(people, "export.json", tasks(people))
    people.run("annotation_ingest", cycle=NEXT)
    assert set(people.load("topics.labels", NEXT)["reason"].to_pylist()) >= {"audit", "cold_start"}
