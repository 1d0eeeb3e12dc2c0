"""What commands really ask of S3, against what the role that is meant for them is granted."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pyarrow.parquet as pq
import pytest
import yaml
from aws_account import ANCHOR, S3_ROOT, Account
from click.testing import CliRunner
from moto import mock_aws

from al_platform.cli import cli
from al_platform.storage import s3_store
from al_platform.storage.store import open_store
from temporary_project import Project, make_project

CYCLE = "2026-08"
DATA, ANCHORS = "data", "anchor"
# What each operation of boto3's client needs; uploads in parts need what a plain upload does.
_OF_OBJECTS = {
    "GetObject": "GetObject",
    "HeadObject": "GetObject",
    "PutObject": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "DeleteObject": "DeleteObject",
    "AbortMultipartUpload": "AbortMultipartUpload",
}
_OF_BUCKETS = {
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "ListMultipartUploads": "ListBucketMultipartUploads",
}
_OF_VERSIONS = {"GetObject": "GetObjectVersion", "DeleteObject": "DeleteObjectVersion"}


@dataclass
class Recorder:
    """Writes down every request to S3 as action, bucket, key (None of a bucket) and whether it is conditional."""

    asked: set[tuple[str, str, str | None, bool]] = field(default_factory=set)

    def __call__(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        operation, bucket = model.name, params["Bucket"]
        if operation in _OF_BUCKETS:
            self.asked.add((_OF_BUCKETS[operation], bucket, None, False))
        elif operation == "DeleteObjects":
            for each in params["Delete"]["Objects"]:
                action = "DeleteObjectVersion" if "VersionId" in each else "DeleteObject"
                self.asked.add((action, bucket, each["Key"], False))
        else:
            action = (_OF_VERSIONS if "VersionId" in params else _OF_OBJECTS)[operation]
            self.asked.add((action, bucket, params["Key"], "IfNoneMatch" in params))

    def denied(self, account: Account, role: str) -> set[tuple[str, str, str | None]]:
        """Return what the role is not granted, in one example for each shape of a key."""
        found = set()
        for action, bucket, key, is_conditional in sorted(self.asked, key=str):
            context = {"s3:if-none-match": "*"} if is_conditional else {}
            if not account.answers(role, action, bucket, key, context):
                found.add((action, bucket, key))
        return found


@pytest.fixture(scope="module")
def quarter(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A quarter of one family on the local disk."""
    project = make_project(tmp_path_factory.mktemp("quarter"))
    project.only("topics")
    project.run("monthly", "quarterly", cycle=CYCLE)
    return project


@pytest.fixture
def recorder(quarter: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """The same on buckets of the names that the documents are made for, with leftovers and former versions."""
    for name, value in {"ACCESS_KEY_ID": "testing", "SECRET_ACCESS_KEY": "testing", "REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    settings_file = quarter.path / "conf" / "test" / "globals.yml"
    settings = settings_file.read_text()
    with mock_aws():
        _upload(quarter)
        found = Recorder()
        client = boto3.client("s3")
        client.meta.events.register("provide-client-params.s3", lambda params, model, **more: found(params, model))
        monkeypatch.setattr(s3_store, "_client", lambda _: client)
        quarter.configure("globals.yml", {**yaml.safe_load(settings), "root": S3_ROOT, "audit_anchor": ANCHOR})
        monkeypatch.chdir(quarter.path)
        yield found
    settings_file.write_text(settings)


def _upload(project: Project) -> None:
    client = boto3.client("s3")
    for bucket in (DATA, ANCHORS):
        client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=DATA, VersioningConfiguration={"Status": "Enabled"})
    folder = project.path / "data" / "test"
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            client.upload_file(str(file), DATA, f"production/{file.relative_to(folder).as_posix()}")
    _leave(client)


def _leave(client: Any) -> None:
    """Leave what killed runs leave: an attempt in each class, a model, an upload, and a former version."""
    attempts = ("datasets/{}/preparation", "labels/{}/annotation_ingest", "models/{}/training", "champion/{}/promotion")
    for attempt in (each.format(f"topics/{CYCLE}") for each in attempts):
        client.put_object(Bucket=DATA, Key=f"production/{attempt}/attempts/killed/x.json", Body=b"{}")
    client.put_object(Bucket=DATA, Key="production/models/topics/by_digest/abc/config.json", Body=b"{}")
    removed = f"production/datasets/topics/{CYCLE}/preparation/attempts/removed/x.json"
    client.put_object(Bucket=DATA, Key=removed, Body=b"{}")
    client.delete_object(Bucket=DATA, Key=removed)
    client.create_multipart_upload(Bucket=DATA, Key="production/models/topics/by_digest/abc/weights")


def page_of(project: Project) -> str:
    store = open_store(project.loader.root("datasets"))
    dataset = next(path for path in store.list("") if path.endswith("/dataset.parquet"))
    rows = pq.read_table(store.local(dataset)).to_pylist()
    return str(next(row["page_id"] for row in rows if row["set"] == "train" and row["source"] != "imported"))


Words = Callable[[Project], list[str]]
COMMANDS: list[tuple[str, Words, int]] = [
    ("reader", lambda _: ["status"], 0),
    ("reader", lambda _: ["audit"], 0),
    ("auditor", lambda _: ["audit", "--verify", "--anchor"], 0),
    ("analyst", lambda _: ["lineage", "topics"], 0),
    ("analyst", lambda project: ["lineage", "--page", page_of(project)], 0),
    ("analyst", lambda _: ["rebuild", "topics"], 0),
    ("operator", lambda _: ["doctor", "--older-than", "0"], 1),
    ("operator", lambda _: ["doctor", "--older-than", "0", "--fix"], 0),
    ("operator", lambda _: ["audit", "--adopt", "ticket 8"], 0),
    ("operator", lambda _: ["dashboard"], 0),
    ("operator", lambda _: ["monitor"], 0),
    ("analyst", lambda _: ["query"], 0),
    ("analyst", lambda _: ["plan-budget"], 0),
    ("analyst", lambda _: ["selfcheck"], 0),
    ("eraser", lambda project: ["erase", page_of(project), "--reason", "ticket 7", "--yes"], 0),
]


@pytest.mark.parametrize(("role", "words", "code"), COMMANDS)
def test_a_command_is_granted_all_that_it_asks_for(
    account: Account, quarter: Project, recorder: Recorder, role: str, words: Words, code: int
) -> None:
    arguments = words(quarter)
    recorder.asked.clear()
    done = CliRunner().invoke(cli, ["al", *arguments, "--env", "test"], catch_exceptions=False)
    assert done.exit_code == code, done.output
    assert recorder.asked
    assert recorder.denied(account, role) == set()


@pytest.mark.parametrize(
    ("role", "words", "action"),
    [("reader", ["lineage", "topics"], "GetObject"), ("analyst", ["doctor"], "ListBucketMultipartUploads")],
)
def test_the_recorder_notices_what_a_role_is_not_granted(
    account: Account, recorder: Recorder, role: str, words: list[str], action: str
) -> None:
    CliRunner().invoke(cli, ["al", *words, "--env", "test"], catch_exceptions=False)
    assert action in {asked for asked, _, _ in recorder.denied(account, role)}
