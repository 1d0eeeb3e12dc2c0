"""Against moto: quick, and blind to rights, to checksums and to races; ``tests/real`` has a server for those."""

from datetime import timedelta
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws
from store_contract import StoreContract

from al_platform.domain.errors import ConfigError, StoreError
from al_platform.storage.s3_store import S3Store
from al_platform.storage.store import open_store


@pytest.fixture
def client(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield boto3.client("s3")


@pytest.fixture
def bucket(client):
    name = f"test-{uuid4().hex}"
    client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def store(client, bucket):
    return S3Store(f"s3://{bucket}/some/prefix", client)


class TestS3Store(StoreContract):
    pass


class Answering:
    """A client whose PUT fails with one code after another, and then succeeds."""

    def __init__(self, client, *codes, is_done=False):
        self._client, self._codes, self._is_done = client, list(codes), is_done

    def __getattr__(self, name):
        return getattr(self._client, name)

    def put_object(self, **request):
        if self._codes:
            if self._is_done:
                self._client.put_object(**request)
            raise ClientError({"Error": {"Code": self._codes.pop(0), "Message": "said the server"}}, "PutObject")
        return self._client.put_object(**request)


def test_a_conditional_write_that_meets_another_one_is_tried_again(client, bucket):
    store = S3Store(f"s3://{bucket}", Answering(client, "ConditionalRequestConflict"))
    store.create("log/000001.json", b"ours")
    assert store.read("log/000001.json") == b"ours"


def test_a_write_that_the_server_refuses_says_where_and_which_right_is_missing(client, bucket):
    store = S3Store(f"s3://{bucket}/p", Answering(client, "AccessDenied"))
    with pytest.raises(StoreError, match=rf"write s3://{bucket}/p/a.json, which is denied.*s3:PutObject"):
        store.write("a.json", b"1")


def test_a_bucket_that_does_not_exist_is_named(client):
    with pytest.raises(StoreError, match="there is no bucket 'absent-bucket'"):
        S3Store("s3://absent-bucket/p", client).write("a", b"1")


def test_a_server_that_cannot_be_reached_is_an_error_that_says_so(client, bucket):
    class Unreachable:
        def __getattr__(self, name):
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1:9")

    with pytest.raises(StoreError, match=r"Could not connect.*AWS_ENDPOINT_URL"):
        S3Store(f"s3://{bucket}", Unreachable()).read("a")


def test_an_upload_that_is_refused_is_a_store_error(client, bucket, tmp_path):
    class Denying:
        def __getattr__(self, name):
            return getattr(client, name)

        def upload_file(self, *_, **__):
            from boto3.exceptions import S3UploadFailedError

            try:
                raise ClientError({"Error": {"Code": "AccessDenied", "Message": ""}}, "PutObject")
            except ClientError as error:
                raise S3UploadFailedError("Failed to upload") from error

    (tmp_path / "f").write_bytes(b"1")
    with pytest.raises(StoreError, match=r"denied.*s3:PutObject"):
        S3Store(f"s3://{bucket}", Denying()).upload(tmp_path / "f", "a")


@pytest.mark.parametrize("root", ["s3://", "s3:///prefix"])
def test_a_root_without_a_bucket_is_refused(root):
    with pytest.raises(ConfigError, match="names no bucket"):
        open_store(root)


@pytest.mark.parametrize("secret", ["very-secret", "very-secret/with/slashes"])
def test_credentials_in_a_root_are_refused_and_not_repeated(secret):
    with pytest.raises(ConfigError, match="holds credentials") as refused:
        open_store(f"s3://AKIAEXAMPLE:{secret}@bucket/prefix")
    assert "very-secret" not in str(refused.value)


def test_a_folder_that_somebody_made_in_a_console_is_no_file(store, client, bucket):
    client.put_object(Bucket=bucket, Key="some/prefix/log/", Body=b"")
    store.write("log/000001.json", b"1")
    assert store.list("log") == ["log/000001.json"]


def test_a_server_that_ignores_the_condition_of_a_write_is_refused(client, bucket):
    class Ignoring:
        def __getattr__(self, name):
            return getattr(client, name)

        def put_object(self, IfNoneMatch=None, **request):  # noqa: N803  boto3's own name
            return client.put_object(**request)

    with pytest.raises(StoreError, match="ignores If-None-Match"):
        S3Store(f"s3://{bucket}", Ignoring()).create("log/000001.json", b"ours")


def test_former_versions_are_listed_read_and_erased_one_by_one(client, bucket):
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    store = S3Store(f"s3://{bucket}/p", client)
    for content in (b"with the page", b"still with it", b"without"):
        store.write("a.parquet", content)
    store.write("attempt/removed", b"with it too")
    store.remove("attempt")
    client.put_object(Bucket=bucket, Key="elsewhere", Body=b"1")
    client.put_object(Bucket=bucket, Key="elsewhere", Body=b"2")
    found = {store.read_version(former): former for former in store.former_versions()}
    assert {content: former.path for content, former in found.items()} == {
        b"with the page": "a.parquet",
        b"still with it": "a.parquet",
        b"with it too": "attempt/removed",
    }
    store.erase_versions([found[b"with the page"], found[b"with it too"]])
    assert [store.read_version(former) for former in store.former_versions()] == [b"still with it"]
    with pytest.raises(FileNotFoundError):
        store.read_version(found[b"with it too"])
    assert store.read("a.parquet") == b"without"


def test_an_unfinished_upload_is_a_leftover_that_can_be_removed(client, bucket):
    store = S3Store(f"s3://{bucket}/p", client)
    client.create_multipart_upload(Bucket=bucket, Key="p/models/weights")
    client.create_multipart_upload(Bucket=bucket, Key="elsewhere/weights")
    assert [leftover.path for leftover in store.leftovers()] == ["models/weights"]
    store.remove_leftovers(timedelta(0))
    assert list(store.leftovers()) == []


def test_more_than_a_thousand_objects_are_listed_and_removed(store):
    for number in range(1_003):
        store.write(f"many/{number:05d}", b"")
    assert len(store.list("many")) == 1_003
    store.remove("many")
    assert store.list("many") == []
