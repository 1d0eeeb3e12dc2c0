"""The store's promises on a real S3 server: rights, races, checksums and a server that dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
from servers.s3 import S3Server

from al_platform.domain.errors import StoreError
from al_platform.storage.s3_store import S3Store
from storage.store_contract import AtomicCreateContract, StoreContract

pytestmark = pytest.mark.real


@pytest.fixture
def store(s3_server, bucket):
    return S3Store(f"s3://{bucket}/some/prefix", s3_server.client())


class TestS3Store(StoreContract, AtomicCreateContract):
    pass


@pytest.mark.parametrize(("operation", "right"), [("write", "s3:PutObject"), ("create", "s3:PutObject")])
def test_who_may_only_read_is_told_which_right_is_missing(s3_server, store, bucket, operation, right):
    store.write("a", b"1")
    reader = S3Store(store.root, s3_server.client("reader"))
    assert reader.read("a") == b"1"
    with pytest.raises(StoreError, match=rf"{operation} s3://{bucket}/some/prefix/b, which is denied.*{right}"):
        getattr(reader, operation)("b", b"1")
    assert store.list("") == ["a"]


def test_a_server_that_dies_during_an_upload_leaves_the_old_object(tmp_path):
    content = b"new" * 30_000_000
    (tmp_path / "weights").write_bytes(content)
    with S3Server(tmp_path / "server") as server:
        server.client().create_bucket(Bucket="dying")
        store = S3Store("s3://dying/p", server.client(retries={"max_attempts": 1}))
        store.write("weights", b"old")
        died = threading.Timer(0.15, server.kill)
        died.start()
        with pytest.raises(StoreError, match="weights"):
            store.upload(tmp_path / "weights", "weights")
        died.join()
        server.start()
        fresh = S3Store("s3://dying/p", server.client())
        assert fresh.read("weights") == b"old"
        fresh.upload(tmp_path / "weights", "weights")
        assert fresh.read("weights") == content


UPLOAD = """
import sys
from pathlib import Path
from al_platform.storage.s3_store import S3Store
print("uploading", flush=True)
S3Store("s3://" + sys.argv[1] + "/p").upload(Path(sys.argv[2]), "models/weights")
"""


def test_a_client_that_dies_during_an_upload_leaves_the_old_object_and_a_leftover(s3_server, bucket, tmp_path):
    (tmp_path / "weights").write_bytes(b"new" * 60_000_000)
    store = S3Store(f"s3://{bucket}/p", s3_server.client())
    store.write("models/weights", b"old")
    access, secret = s3_server.credentials()
    keys = {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": "us-east-1"}
    writer = subprocess.Popen(
        [sys.executable, "-c", UPLOAD, bucket, str(tmp_path / "weights")],
        env={**os.environ, **keys, "AWS_ENDPOINT_URL": s3_server.endpoint},
    )
    waited = time.monotonic() + 60
    while not store.leftovers() and time.monotonic() < waited:
        time.sleep(0.02)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert store.read("models/weights") == b"old"
    assert [leftover.path for leftover in store.leftovers()] == ["models/weights"]
    store.remove_leftovers(timedelta(0))
    assert list(store.leftovers()) == []
