from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from servers.s3 import S3Server

pytestmark = pytest.mark.real


def _error_code(call: Callable[[], object]) -> str | None:
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return None


def test_an_object_comes_back_as_it_was_put(s3_server: S3Server, bucket: str) -> None:
    client = s3_server.client()
    client.put_object(Bucket=bucket, Key="a/b", Body=b"hello")

    assert client.get_object(Bucket=bucket, Key="a/b")["Body"].read() == b"hello"


def test_of_eight_writers_who_create_one_object_one_wins(s3_server: S3Server, bucket: str) -> None:
    client = s3_server.client(max_pool_connections=8)

    def create(writer: int) -> str | None:
        body = str(writer).encode()
        return _error_code(lambda: client.put_object(Bucket=bucket, Key="log/1", Body=body, IfNoneMatch="*"))

    with ThreadPoolExecutor(8) as writers:
        codes = list(writers.map(create, range(8)))

    assert codes.count(None) == 1
    assert client.get_object(Bucket=bucket, Key="log/1")["Body"].read() == str(codes.index(None)).encode()


def test_the_reader_reads_and_is_denied_writing(s3_server: S3Server, bucket: str) -> None:
    s3_server.client().put_object(Bucket=bucket, Key="a", Body=b"hello")
    reader = s3_server.client("reader")

    assert reader.get_object(Bucket=bucket, Key="a")["Body"].read() == b"hello"
    assert _error_code(lambda: reader.put_object(Bucket=bucket, Key="b", Body=b"")) == "AccessDenied"
    assert _error_code(lambda: reader.delete_object(Bucket=bucket, Key="a")) == "AccessDenied"


def test_an_acknowledged_object_survives_a_kill(s3_server: S3Server, bucket: str) -> None:
    s3_server.client().put_object(Bucket=bucket, Key="a", Body=b"hello")

    s3_server.kill()
    s3_server.start()

    assert s3_server.client().get_object(Bucket=bucket, Key="a")["Body"].read() == b"hello"


def test_a_second_server_on_the_same_data_keeps_keys_and_objects(tmp_path: Path) -> None:
    with S3Server(tmp_path) as first:
        first.client().create_bucket(Bucket="kept")
        first.client().put_object(Bucket="kept", Key="a", Body=b"hello")
    with S3Server(tmp_path, identities={"trainer": ["Read"]}) as second:
        assert second.credentials() == first.credentials()
        assert second.client("trainer").get_object(Bucket="kept", Key="a")["Body"].read() == b"hello"


def test_a_hundred_buckets_find_room(s3_server: S3Server) -> None:
    client = s3_server.client(max_pool_connections=8)

    def fill(number: int) -> None:
        client.create_bucket(Bucket=f"room-{number}")
        client.put_object(Bucket=f"room-{number}", Key="a", Body=b"hello")

    with ThreadPoolExecutor(8) as writers:
        list(writers.map(fill, range(100)))
