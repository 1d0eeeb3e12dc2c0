"""Faults on an S3 server, of the run and of the server: the state before them reads, and a re-run repairs."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from servers.s3 import S3Server

from al_platform.catalog.outputs import StageOutput
from al_platform.domain.errors import CommitConflictError
from al_platform.runner import RunFailedError
from al_platform.storage import run as run_module
from al_platform.storage.commit_log import Manifest, Output, StageKey, commit, head
from al_platform.storage.run import Run
from al_platform.storage.s3_store import S3Store
from killed_runs import KILLS, is_sound, run_killed
from real.test_loop_on_stores import on
from temporary_project import CYCLE

pytestmark = pytest.mark.real

KEY = StageKey("topics", CYCLE, "training")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A local project, and the state after its monthly and after its quarterly."""
    root = tmp_path_factory.mktemp("undisturbed")
    project = on(str(root / "store"), root / "p")
    project.only("topics")
    states = {}
    for job in ("monthly", "quarterly"):
        project.run(job)
        states[job] = project.state()
    return states


@pytest.fixture
def begun(on_s3, bucket, tmp_path):
    """Returns a project on S3 in which everything before a pipeline has run."""

    def begin(job):
        project = on(f"s3://{bucket}/p", tmp_path / "p")
        project.only("topics")
        if job == "quarterly":
            project.run("monthly")
        return project

    return begin


@pytest.mark.parametrize("point", KILLS)
def test_a_killed_run_is_repaired_by_running_again(begun, undisturbed, on_s3, point):
    kill = KILLS[point]
    project = begun("quarterly" if kill.is_repeated else kill.job)
    run_killed(project, kill, "al_platform.storage.s3_store.S3Store", on_s3)
    project.run(kill.job)
    assert project.state() == undisturbed[kill.job]
    assert is_sound(project)
    assert project.state() == undisturbed[kill.job]


@pytest.mark.parametrize("job", ["monthly", "quarterly"])
def test_a_server_that_dies_under_a_run_loses_nothing_that_was_committed(undisturbed, tmp_path, monkeypatch, job):
    with S3Server(tmp_path / "server") as server:
        server.client().create_bucket(Bucket="dying")
        access, secret = server.credentials()
        for name, value in {
            "AWS_ACCESS_KEY_ID": access,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": server.endpoint,
            "AWS_MAX_ATTEMPTS": "1",
        }.items():
            monkeypatch.setenv(name, value)
        project = on("s3://dying/p", tmp_path / "p")
        project.only("topics")
        if job == "quarterly":
            project.run("monthly")
        committed = project.state()
        with monkeypatch.context() as patch:
            patch.setattr(S3Store, "upload", killing(server, S3Store.upload))
            with pytest.raises(RunFailedError, match="Check AWS_ENDPOINT_URL"):
                project.run(job)
        server.start()
        assert project.state() == committed
        project.run(job)
        assert project.state() == undisturbed[job]
        assert is_sound(project)


def killing(server, upload):
    """An upload during which the server is killed."""

    def upload_and_kill(self, source, path):
        died = threading.Thread(target=server.kill)
        died.start()
        died.join()
        upload(self, source, path)

    return upload_and_kill


def manifest(run_id, digest="1" * 64):
    outputs = {"challenger": Output(path=f"{KEY.attempt(run_id)}/challenger.json", sha256=digest, size=1)}
    return Manifest(
        family="topics", cycle=CYCLE, stage="training", run_id=run_id, outputs=outputs, started_at="t", ended_at="t"
    )


def test_of_six_writers_of_one_entry_one_wins_each_round(s3_server, bucket):
    store = S3Store(f"s3://{bucket}/p", s3_server.client())

    def attempt(round_number, writer):
        try:
            name = f"{round_number}-{writer}"
            return commit(store, manifest(name, digest=name), round_number)
        except CommitConflictError:
            return None

    for round_number in range(10):
        with ThreadPoolExecutor(6) as writers:
            entries = list(writers.map(lambda writer, number=round_number: attempt(number, writer), range(6)))
        won = [entry for entry in entries if entry]
        assert len(won) == 1
        assert head(store, KEY).run_id == won[0].run_id


def test_a_lost_reply_on_a_log_entry_is_taken_for_what_it_is(s3_server, bucket):
    client = s3_server.client(retries={"mode": "standard", "max_attempts": 3})
    store = S3Store(f"s3://{bucket}/p", client)
    lost = []

    def lose_the_first_reply(response, request_dict, **_):
        if "If-None-Match" in request_dict["headers"] and response is not None and not lost:
            lost.append(response[0].status_code)
            return 0  # seconds until botocore asks again, as after a connection that broke off
        return None

    client.meta.events.register("needs-retry.s3.PutObject", lose_the_first_reply)
    entry = commit(store, manifest("ours"), 0)
    assert lost == [200]
    assert entry.number == 1
    assert head(store, KEY).run_id == "ours"


def test_an_exception_in_a_serializer_uploads_nothing(s3_server, on_s3, bucket):
    store = S3Store(f"s3://{bucket}/p", s3_server.client())
    where = {"root": f"s3://{bucket}/p", "family": "topics", "cycle": CYCLE}
    dataset = StageOutput(stage="training", name="training_report", format="json", **where)
    dataset.bind(Run("run-1"))
    with pytest.raises(Exception, match="Out of range float values"):
        dataset.save({"fine": 1, "loss": float("nan")})
    assert store.list("") == []
    assert list(store.leftovers()) == []


def test_a_clock_that_was_moved_back_changes_no_order(begun, undisturbed, monkeypatch):
    project = begun("quarterly")
    project.run("quarterly", parameters={"topics": {"training": {"seed": 7}}})
    monkeypatch.setattr(run_module, "_now", lambda: "1999-12-31T23:59:59.000+00:00")
    project.run("quarterly")
    assert project.head("topics", "training").started_at.startswith("1999")
    assert project.log_numbers("topics", "training") == [1, 2]
    assert project.status()["champion"] == undisturbed["quarterly"]["topics/champion"][0][1]
    assert is_sound(project)
