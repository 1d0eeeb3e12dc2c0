"""Real servers, each in a process of its own on this machine."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from servers.s3 import S3Server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    name = f"test-{uuid4().hex[:12]}"
    s3_server.client().create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="session")
def s3_environment(s3_server: S3Server) -> dict[str, str]:
    """The variables by which boto3 finds the server, as its administrator."""
    access, secret = s3_server.credentials()
    keys = {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": "us-east-1"}
    return {**keys, "AWS_ENDPOINT_URL": s3_server.endpoint}


@pytest.fixture
def on_s3(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Let every store of this test's process find the server."""
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    return s3_environment
