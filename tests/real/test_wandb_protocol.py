"""W&B's own client before a stand-in for its server: sync that is killed, lineage, questions, and a whole loop online.

The stand-in says what it proves and what not; the last test is for a real account.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter

import pytest
from click.testing import CliRunner

from al_platform.cli import al
from al_platform.publishing.sync import Sync
from al_platform.stages import STAGES
from al_platform.tracking.options import TrackingOptions
from al_platform.tracking.sender import Sender
from temporary_project import CYCLE, Project, make_project
from tracked import DIGEST, model, tracked_run
from wandb_stand_in import KEY, wandb_stand_in

pytestmark = pytest.mark.real
NAMES = [stage.name for stage in STAGES]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with wandb_stand_in() as started:
        yield started
        assert started.unknown == set()


@pytest.fixture(scope="module")
def quarter(tmp_path_factory):
    """A month and a quarter of one family, whose training W&B has followed offline."""
    project = make_project(tmp_path_factory.mktemp("protocol"))
    project.only("topics")
    project.configure("tracking.yml", {"backend": "wandb"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(project.path / "cache"))
        project.run("monthly", "quarterly")
    return project


@pytest.fixture
def copy(quarter, server, tmp_path, monkeypatch):
    shutil.copytree(quarter.path, tmp_path / "copy")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "copy" / "cache"))
    monkeypatch.chdir(tmp_path / "copy")
    project = Project(tmp_path / "copy")
    project.configure("tracking.yml", {"backend": "wandb", "server": server.url, "timeout_s": 300})
    return project


def test_what_a_run_read_is_linked_where_the_server_knows_it(server, tmp_path):
    unknown = model(name="topics-dataset", kind="dataset", sha256="ef" * 32)
    trained, evaluated = tracked_run(), tracked_run("r2", makes=(), uses=(model(), unknown))
    with Sender(TrackingOptions(server=server.url), tmp_path) as sender:
        for run in (trained, evaluated, evaluated):
            assert list(sender.publish([run])) == [run.id]
    assert server.read_by(evaluated.id) == {("topics-model", DIGEST)}
    assert server.read_by(trained.id) == set()


def test_runs_are_found_by_their_config_page_by_page_and_not_one_by_one(server, tmp_path, monkeypatch):
    monkeypatch.setattr("wandb_stand_in.MOST_A_PAGE", 2)
    runs = [tracked_run(f"r{number}", makes=(), plots={}, tables={}) for number in range(5)]
    with Sender(TrackingOptions(server=server.url), tmp_path) as sender:
        list(sender.publish(runs))
        server.asked.clear()
        found = sender.find({"family": "topics", "cycle": "2026-10"})
        assert sender.find({"family": "sentiment"}) == []
    assert {run.id for run in found} == {run.id for run in runs}
    assert server.asked["Runs"] == 3 + 1
    assert "Run" not in server.asked


def killed_sync(project, server, operation, at):
    """Kill ``kedro al sync`` with all its processes when the server is asked for something for the nth time."""
    reached, may_go_on = threading.Event(), threading.Event()

    def before(asked):
        if asked == operation and server.asked[operation] + 1 == at:
            reached.set()
            may_go_on.wait(30)

    server.before = before
    command = [sys.executable, "-m", "kedro", "al", "sync", "--env", project.env]
    environment = {**os.environ, "AL_TRACKING": "wandb"}
    syncing = subprocess.Popen(
        command,
        cwd=project.path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert reached.wait(300), "sync ended before it was killed"
        children = _descendants(syncing.pid)
    finally:
        syncing.kill()
        syncing.communicate()
    for child in children:
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            continue
    server.before = lambda asked: None
    may_go_on.set()


def _descendants(pid):
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in (line.split() for line in listed.splitlines())}
    found, wanted = [], [pid]
    while wanted:
        wanted = [child for child, parent in parents.items() if parent in wanted]
        found += wanted
    return found


# Amid a run's lines, and between its end and what it read. UpsertBucket 3 and CommitArtifact 3 were tried too.
@pytest.mark.parametrize(("operation", "at"), [("file_stream", 9), ("UseArtifact", 1)])
def test_a_sync_that_is_killed_goes_on_with_nothing_twice_and_nothing_lost(copy, server, operation, at):
    killed_sync(copy, server, operation, at)
    before = set(server.runs)
    found = Sync(copy.loader, copy.loader.tracking).run()
    assert (found.problem, found.left, found.skipped) == (None, 0, {})
    assert before
    assert Counter(run.job_type for run in server.runs.values()) == Counter([*NAMES, "fit"])
    assert all(run.is_finished for run in server.runs.values())
    epochs = copy.load("topics.training_report")["epochs"]
    runs = {run.job_type: run for run in server.runs.values()}
    assert [row["epoch"] for row in runs["training"].history if "epoch" in row] == list(range(epochs))
    assert all(len(run.history) == len({row["_step"] for row in run.history}) for run in server.runs.values())
    committed = [job for job in dict.fromkeys(server.runs[run].job_type for run in server.begun) if job != "fit"]
    assert committed == NAMES
    digest = copy.load("topics.verdict")["challenger_digest"]
    assert ("topics-model", digest) in server.read_by(runs["evaluation"].id)
    again = Sync(copy.loader, copy.loader.tracking).run()
    assert (again.sent, again.left) == (0, 0)


def test_online_a_loop_is_followed_live_and_its_runs_are_there_when_it_ends(server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    project = make_project(tmp_path / "online")
    project.only("topics")
    project.configure(
        "tracking.yml",
        {"backend": "wandb", "mode": "online", "server": server.url, "timeout_s": 300, "after_run_s": 300},
    )
    project.run("monthly", "quarterly")
    assert Counter(run.job_type for run in server.runs.values()) == Counter([*NAMES, "fit"])
    (fit,) = (run for run in server.runs.values() if run.job_type == "fit")
    assert fit.is_finished
    losses = [row["train_loss"] for row in fit.history if "train_loss" in row]
    report = project.load("topics.training_report")
    assert losses == pytest.approx([epoch["train_loss"] for epoch in report["history"]])
    # It was sent while it was trained, and so before what was committed.
    assert server.begun.index(fit.id) == 0
    assert Sync(project.loader, project.loader.tracking).run().sent == 0


@pytest.mark.parametrize("backend", ["wandb", "mlflow"])
def test_the_tracker_answers_a_query_as_manifests_do(copy, backend):
    if backend == "mlflow":
        copy.configure("tracking.yml", {"backend": backend})
    Sync(copy.loader, copy.loader.tracking).run()
    asked = ["query", "--env", "test", "--sql", QUESTION]
    by_source = [CliRunner().invoke(al, [*asked, "--from", source]) for source in ("manifests", "tracker")]
    assert [answer.exit_code for answer in by_source] == [0, 0], by_source[1].output
    assert by_source[0].stdout == by_source[1].stdout
    assert "evaluation" in by_source[0].stdout


QUESTION = (
    "select family, cycle, stage, number, run_id, committed_at, dataset, model, code_revision, "
    "inputs->>'topics.dataset' as read, figures->>'metrics.macro_f1.value' as macro_f1, "
    "figures->>'verdict' as verdict from runs order by all"
)


@pytest.mark.skipif(
    not os.environ.get("AL_TEST_WANDB_PROJECT"),
    reason="needs an account: set AL_TEST_WANDB_PROJECT to a project to write to, and WANDB_API_KEY",
)
def test_a_real_account_takes_runs_aliases_and_lineage_and_finds_them(tmp_path):
    options = TrackingOptions(project=os.environ["AL_TEST_WANDB_PROJECT"], timeout_s=300)
    trained, promoted = tracked_run(), tracked_run("r2", makes=(model(aliases=("champion",)),), uses=(model(),))
    with Sender(options, tmp_path) as sender:
        assert [list(sender.publish([run])) for run in (trained, promoted)] == [[trained.id], [promoted.id]]
        found = {run.id: run for run in sender.find({"family": "topics", "cycle": CYCLE})}
    assert found[trained.id].summary["metrics.macro_f1.value"] == pytest.approx(0.75)
