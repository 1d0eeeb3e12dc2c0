"""A tracker is told of every commit, once, in order, from wherever the last try stopped."""

import json
import re
import shutil

import pytest

from al_platform.domain.errors import TrackerError
from al_platform.domain.replay.figures import replay_figures
from al_platform.publishing import sync as module
from al_platform.publishing.replays import keep_for_trackers, replay_run
from al_platform.publishing.sync import Sync
from al_platform.storage.store import open_store
from al_platform.tracking.options import TrackingOptions
from replayed_runs import played
from temporary_project import CYCLE, Project, make_project

STAGES = ["scoring", "selection", "annotation_ingest", "preparation"]


@pytest.fixture(scope="module")
def quarter(tmp_path_factory):
    """A month and a quarter of one family, whose training W&B has followed offline."""
    project = make_project(tmp_path_factory.mktemp("sync"))
    project.only("topics")
    project.configure("tracking.yml", {"backend": "wandb"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(project.path / "cache"))
        project.run("monthly")
        project.run("quarterly")
    return project


@pytest.fixture
def copy(quarter, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(quarter.path, tmp_path / "copy")
    return Project(tmp_path / "copy")


class Recorder:
    """Stands in for the process that talks to a tracker."""

    def __init__(self, fails_after=None):
        self.runs, self.fits = [], []
        self.fails_after = fails_after

    def __call__(self, *arguments):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def publish(self, runs, within_s=None):
        for run in runs:
            if self.fails_after is not None and len(self.runs) >= self.fails_after:
                raise TrackerError("The tracker is down.")
            self.runs.append(run)
            yield run.id

    def send_fit(self, file, within_s=None):
        self.fits.append(file)


def synced(where, monkeypatch, recorder, **options):
    monkeypatch.setattr(module, "Sender", recorder)
    return Sync(where.loader, TrackingOptions(**options)).run()


def test_every_stage_and_the_curves_of_its_training_are_sent_in_order(copy, monkeypatch):
    recorder = Recorder()
    found = synced(copy, monkeypatch, recorder)
    assert [run.job_type for run in recorder.runs] == [*STAGES, "training", "evaluation", "promotion"]
    assert (found.sent, found.left, found.problem, found.skipped) == (8, 0, None, {})
    assert len(recorder.fits) == 1


def test_nothing_is_sent_twice(copy, monkeypatch):
    synced(copy, monkeypatch, Recorder())
    again = Recorder()
    assert synced(copy, monkeypatch, again).sent == 0
    assert (again.runs, again.fits) == ([], [])


def test_what_a_tracker_refused_is_sent_by_the_next_call(copy, monkeypatch):
    first = Recorder(fails_after=3)
    refused = synced(copy, monkeypatch, first)
    assert (refused.sent, refused.left, refused.problem) == (4, 4, "The tracker is down.")
    second = Recorder()
    synced(copy, monkeypatch, second)
    assert [run.job_type for run in first.runs + second.runs] == [*STAGES, "training", "evaluation", "promotion"]


def test_a_run_that_was_sent_and_not_written_down_is_sent_as_the_same_run(copy, monkeypatch):
    first = Recorder()
    synced(copy, monkeypatch, first)
    shutil.rmtree(copy.path / "data/test/logs/tracking")
    second = Recorder()
    synced(copy, monkeypatch, second)
    assert second.runs == first.runs


def test_a_run_says_what_went_in_and_what_came_out(copy, monkeypatch):
    recorder = Recorder()
    synced(copy, monkeypatch, recorder)
    runs = {run.job_type: run for run in recorder.runs}
    dataset = copy.head("topics", "preparation").outputs["dataset"].sha256
    digest = copy.load("topics.verdict")["challenger_digest"]
    assert runs["training"].config["inputs"]["topics.dataset"]["sha256"] == dataset
    assert [(made.name, made.aliases) for made in runs["training"].makes] == [("topics-model", ("challenger",))]
    assert [(made.sha256, made.aliases) for made in runs["promotion"].makes] == [(digest, ("champion",))]
    assert {used.sha256 for used in runs["evaluation"].uses} == {dataset, digest}
    report = copy.load("topics.evaluation_report")
    assert runs["evaluation"].summary["metrics.macro_f1.value"] == report["metrics"]["macro_f1"]["value"]
    assert {run.group for run in recorder.runs} == {f"topics {CYCLE}"}
    assert "scores" in runs["selection"].tables
    assert "class_balance" in runs["preparation"].tables
    assert {"checks", "classes", "reliability"} <= set(runs["evaluation"].tables)
    assert runs["training"].history
    assert runs["training"].plots


def test_no_page_text_is_sent_unless_that_is_asked_for(copy, monkeypatch):
    without, with_pages = Recorder(), Recorder()
    synced(copy, monkeypatch, without, project="without")
    synced(copy, monkeypatch, with_pages, project="with", log_page_text=True)
    texts = [text for text in copy.load("topics.batch")["text"].to_pylist() if text]
    assert texts
    assert not any(text[:60] in sent(without) for text in texts)
    assert any(text[:60] in sent(with_pages) for text in texts)


def sent(recorder):
    return json.dumps([run.model_dump(mode="json") for run in recorder.runs], ensure_ascii=False)


def test_no_secret_is_sent(copy, monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "topics-2026-10-1")
    recorder = Recorder()
    synced(copy, monkeypatch, recorder)
    assert not re.search("topics-2026-10-1", sent(recorder))
    assert "***" in sent(recorder)


def a_replay(**about):
    runs = [played(strategy, seed, [0.6, 0.7]) for strategy in ("margin", "random") for seed in (0, 1)]
    return replay_figures(runs, name="year", family="topics", about={"played_at": "2026-11-01T00:00:00Z", **about})


def test_a_replay_is_sent_once_and_again_when_it_says_something_new(copy, monkeypatch):
    logs, recorder = open_store(copy.loader.root("logs")), Recorder()
    for played_at in ("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"):
        keep_for_trackers(a_replay(played_at=played_at), logs)
        synced(copy, monkeypatch, recorder)
    keep_for_trackers(a_replay(archive="another.parquet"), logs)
    synced(copy, monkeypatch, recorder)
    assert [run.config.get("archive") for run in recorder.runs if run.job_type == "replay"] == [None, "another.parquet"]


def test_a_replay_is_told_with_the_figures_of_its_report():
    figures = a_replay()
    run = replay_run(figures)
    margin = figures.settings[0]
    assert run.summary["margin-every-3.newest"] == margin.newest.value
    assert run.summary["margin-every-3.against_random"] == margin.against_random.value
    assert run.summary["conclusion"] == figures.conclusions[0]
    assert len(run.tables["months"].rows) == 2 * len(figures.cycles)
    assert "Newest model on each month's traffic" in run.plots


def test_what_a_killed_training_left_on_this_machine_is_sent(copy, monkeypatch, tmp_path):
    from al_platform.catalog.training_logger import unsent_fits

    logs = Sync(copy.loader, TrackingOptions())._logs
    left = unsent_fits(logs.root) / "2026-01-01T00.00.00.000Z-aaaaaa/topics/wandb/offline-run-1-x/run-x.wandb"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"curves")
    recorder = Recorder()
    synced(copy, monkeypatch, recorder)
    assert left in recorder.fits


def test_none_sends_nothing(copy, monkeypatch):
    recorder = Recorder()
    assert synced(copy, monkeypatch, recorder, backend="none").sent == 0
    assert recorder.runs == []
