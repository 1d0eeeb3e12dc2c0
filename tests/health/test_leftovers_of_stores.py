"""Of unfinished writes, the old ones go and the young ones stay."""

import os
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from al_platform.domain.errors import StoreError
from al_platform.storage.s3_store import S3Store
from al_platform.storage.store import LocalStore

BUCKET = "test-leftovers"
NOW = timedelta(0)


@pytest.fixture
def client(monkeypatch):
    for name, value in {
        "ACCESS_KEY_ID": "testing",
        "SECRET_ACCESS_KEY": "testing",
        "DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        yield client


def test_on_a_disk_only_those_as_old_as_asked_are_removed(tmp_path):
    then = (datetime.now(UTC) - timedelta(hours=30)).timestamp()
    for name in ("old", "young"):
        (tmp_path / f".{name}.abc.part").write_bytes(b"half")
    os.utime(tmp_path / ".old.abc.part", (then, then))
    store = LocalStore(tmp_path)
    store.remove_leftovers(timedelta(hours=24))
    assert [leftover.path for leftover in store.leftovers()] == [".young.abc.part"]


def test_on_s3_only_those_as_old_as_asked_are_given_up(client):
    store = S3Store(f"s3://{BUCKET}/p", client)
    client.create_multipart_upload(Bucket=BUCKET, Key="p/weights")
    # moto begins every upload in 2010.
    (age,) = (leftover.age for leftover in store.leftovers())
    store.remove_leftovers(age + timedelta(hours=1))
    assert [leftover.path for leftover in store.leftovers()] == ["weights"]
    store.remove_leftovers(NOW)
    assert list(store.leftovers()) == []


class Refusing:
    """A client that does not give up uploads."""

    def __init__(self, client, code):
        self._client, self._code = client, code

    def __getattr__(self, name):
        return getattr(self._client, name)

    def abort_multipart_upload(self, **request):
        raise ClientError({"Error": {"Code": self._code, "Message": "said the server"}}, "AbortMultipartUpload")


def test_an_upload_that_ended_meanwhile_is_no_error(client):
    client.create_multipart_upload(Bucket=BUCKET, Key="p/weights")
    S3Store(f"s3://{BUCKET}/p", Refusing(client, "NoSuchUpload")).remove_leftovers(NOW)


def test_a_right_that_is_missing_is_named(client):
    client.create_multipart_upload(Bucket=BUCKET, Key="p/weights")
    with pytest.raises(StoreError, match="s3:AbortMultipartUpload"):
        S3Store(f"s3://{BUCKET}/p", Refusing(client, "AccessDenied")).remove_leftovers(NOW)
