"""The same on a bucket that keeps what is overwritten."""

from io import BytesIO
from uuid import uuid4

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from moto import mock_aws
from quarters import data

from al_platform.cli import UserErrors
from al_platform.domain.errors import StoreError
from al_platform.lineage.cli import erase
from al_platform.lineage.erase import erase_page
from al_platform.lineage.trace import model_lineage
from al_platform.lineage.uses import page_uses
from al_platform.storage.erasures import ErasedPages
from al_platform.storage.s3_store import S3Store
from al_platform.storage.store import open_store


@pytest.fixture
def bucket(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        bucket = boto3.resource("s3").Bucket(f"test-{uuid4().hex}")
        bucket.create()
        bucket.Versioning().enable()
        yield bucket


@pytest.fixture
def remote(own, bucket):
    """The quarters, moved to the bucket."""
    for file in data(own).rglob("*"):
        if file.is_file():
            bucket.upload_file(str(file), f"al/{file.relative_to(data(own)).as_posix()}")
    settings = own.path / "conf" / "test" / "globals.yml"
    own.configure("globals.yml", {**yaml.safe_load(settings.read_text()), "root": f"s3://{bucket.name}/al"})
    return own


def former_keys(bucket):
    versions = [version.key for version in bucket.object_versions.all() if version.size is not None]
    return [key for key in versions if versions.count(key) > 1]


def holding(bucket, page_id):
    """Every version of every object that holds a page."""
    found = []
    for version in bucket.object_versions.all():
        if version.size is None:  # the marker of a removal
            continue
        data = version.get()["Body"].read()
        text = (
            str(pq.read_table(BytesIO(data)).to_pylist()) if version.key.endswith("parquet") else data.decode("latin")
        )
        found += [version.key] if page_id in text else []
    return found


def test_no_version_of_any_object_holds_the_page_after_an_erasure(remote, bucket, pages):
    page_id = pages.annotated("train")
    used = {use.path for use in page_uses(remote.loader, page_id) if not use.is_of_model}
    done = erase_page(remote.loader, page_id, "ticket 17", "somebody")
    assert done.versions == len(done.uses) == len(used)
    assert not former_keys(bucket)
    assert not [use for use in page_uses(remote.loader, page_id) if not use.is_of_model]
    assert not model_lineage(remote.loader, "topics").damaged


def test_versions_of_removed_files_and_experiments_go_and_those_without_the_page_stay(remote, bucket, pages):
    page_id, other = pages.annotated("train"), pages.annotated("validation")
    rows = {name: table_of(name) for name in (page_id, other)}
    attempt = "datasets/topics/2026-10/preparation/attempts/killed"
    for path in (attempt, f"experiments/gone/{attempt}"):
        for name, content in rows.items():
            bucket.put_object(Key=f"al/{path}/{name}.parquet", Body=content)
        bucket.objects.filter(Prefix=f"al/{path}/").delete()
    done = erase_page(remote.loader, page_id, "ticket 17", "somebody")
    assert done.versions == len(done.uses) + 2
    assert done.versions_searched == done.versions + 2
    assert not holding(bucket, page_id)
    assert len([key for key in holding(bucket, other) if "killed" in key]) == 2


def test_a_page_of_which_only_former_versions_are_left_is_erased_and_let_in_no_more(remote, bucket):
    key = "al/traffic/2026-10/pages/0009-a.parquet"
    bucket.put_object(Key=key, Body=table_of("only-there"))
    bucket.objects.filter(Prefix=key).delete()
    lines = []
    done = erase_page(remote.loader, "only-there", "ticket 17", "somebody", lambda *line: lines.append(line))
    assert (done.uses, done.versions, done.tombstones) == ((), 1, 2)
    assert [subject["data_class"] for _, subject in lines] == ["traffic", "labels"]
    assert "only-there" in ErasedPages.of(open_store(remote.loader.root("traffic")))
    assert not holding(bucket, "only-there")


def test_the_files_are_read_from_the_server_again_after_they_were_written(remote, pages, monkeypatch):
    page_id = pages.annotated("train")
    for use in page_uses(remote.loader, page_id):
        if not use.is_of_model:
            open_store(use.root).local(use.path)
    monkeypatch.setattr(S3Store, "upload", lambda *_: None)
    with pytest.raises(StoreError, match="wrote the page again"):
        erase_page(remote.loader, page_id, "ticket 17", "somebody")


def test_files_without_the_page_are_read_once_and_leave_no_copy(remote, pages, monkeypatch):
    read, real = [], S3Store.read
    monkeypatch.setattr(S3Store, "read", lambda store, path: read.append((store.root, path)) or real(store, path))
    monkeypatch.setattr(S3Store, "local", lambda store, path: pytest.fail(f"{path} is kept until the process ends"))
    done = erase_page(remote.loader, pages.annotated("train"), "ticket 17", "somebody")
    changed = {use.path for use in done.uses}
    twice = {path for _, path in read if path.endswith(".parquet") and [each[1] for each in read].count(path) > 1}
    assert {path for path in twice if "/platform/" not in path} <= changed


def test_a_look_at_interrupted_writes_that_is_denied_is_a_warning_after_the_work(remote, bucket, pages, monkeypatch):
    def denied(store):
        raise StoreError("denied: these credentials need s3:ListBucketMultipartUploads there.")

    monkeypatch.setattr(S3Store, "leftovers", denied)
    monkeypatch.chdir(remote.path)
    arguments = ["erase", pages.annotated("train"), "--reason", "ticket 17", "--yes", "--env", "test"]
    done = CliRunner().invoke(UserErrors(commands=[erase]), arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "Warning: interrupted writes may hold the page" in done.output
    assert "s3:ListBucketMultipartUploads" in done.output
    assert not holding(bucket, arguments[1])


def table_of(page_id):
    target = BytesIO()
    pq.write_table(pa.table({"page_id": [page_id], "text": ["secret"], "set": ["train"]}), target)
    return target.getvalue()
