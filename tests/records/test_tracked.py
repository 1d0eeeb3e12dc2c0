"""Questions to a tracker: whom is asked, and what of its runs is a row."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from al_platform.cli import al
from al_platform.records import tracked
from al_platform.records.query import Wanted
from al_platform.tracking.options import TrackingOptions
from al_platform.tracking.tracker import Found

CONFIG = {
    "family": "topics",
    "cycle": "2026-10",
    "stage": "evaluation",
    "run_id": "r1",
    "commit": 2,
    "ended_at": "2026-11-01T00:00:00+00:00",
    "inputs": {"topics.dataset": {"place": "x", "sha256": "ab"}},
}


@pytest.fixture
def told(monkeypatch):
    """What the tracker tells, and what it was asked."""
    runs, asked = [], []

    class Sender:
        def __init__(self, *arguments):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def find(self, filters):
            asked.append(filters)
            return runs

    monkeypatch.setattr(tracked, "Sender", Sender)
    return runs, asked


def rows(**wanted):
    return tracked.tracked_runs(TrackingOptions(backend="mlflow"), Path(), Wanted(**wanted)).to_pylist()


def test_a_committed_run_is_a_row_with_its_figures_and_data(told):
    told[0].append(Found("1", CONFIG, {"metrics.macro_f1.value": 0.5, "wall_s": 2.0, "size_bytes": 7}))
    (row,) = rows()
    assert (row["stage"], row["number"], row["wall_s"], row["size_bytes"]) == ("evaluation", 2, 2.0, 7)
    assert json.loads(row["figures"]) == {"metrics.macro_f1.value": 0.5}
    assert json.loads(row["inputs"]) == {"topics.dataset": "ab"}


def test_texts_of_a_tracker_that_knows_no_numbers_are_read_as_numbers(told):
    told[0].append(Found("1", {**CONFIG, "commit": "2"}, {"size_bytes": 7.0}))
    assert [(row["number"], row["size_bytes"]) for row in rows()] == [(2, 7)]


def test_live_curves_and_what_people_did_are_no_rows(told):
    told[0].extend([Found("1", {**CONFIG, "stage": "fit"}), Found("2", {**CONFIG, "stage": "by_hand"}), Found("3", {})])
    assert rows() == []


def test_rows_come_in_the_order_of_their_commits(told):
    for day in (3, 1, 2):
        told[0].append(Found(str(day), {**CONFIG, "run_id": f"r{day}", "ended_at": f"2026-11-0{day}T00:00:00+00:00"}))
    assert [row["run_id"] for row in rows()] == ["r1", "r2", "r3"]


def test_the_tracker_is_asked_for_family_stage_and_month_alone(told):
    rows(family="topics", cycle="2026-10", model="ab", last=3)
    assert told[1] == [{"family": "topics", "cycle": "2026-10"}]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"backend": "none"}, "backend is none"),
        ({"backend": "wandb"}, "W&B is offline"),
        ({"backend": "wandb", "mode": "online"}, None),
        ({"backend": "mlflow"}, None),
    ],
)
def test_without_a_tracker_that_could_answer_there_is_a_reason(options, why, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    found = tracked.why_not_asked(TrackingOptions(**options))
    assert (found is None) if why is None else (why in found)


def test_without_a_tracker_manifests_answer_and_the_command_says_so(project, monkeypatch):
    monkeypatch.chdir(project.path)
    answer = CliRunner().invoke(al, ["query", "--env", "test", "--from", "tracker", "--json"])
    assert (answer.exit_code, json.loads(answer.stdout)) == (0, [])
    assert "Answered from manifests, which hold the same: backend is none" in answer.stderr
