"""The same on a bucket that keeps what is overwritten."""

from uuid import uuid4

import boto3
import pytest
import yaml
from moto import mock_aws
from quarters import data

from al_platform.lineage.erase import erase_page
from al_platform.lineage.trace import model_lineage
from al_platform.lineage.uses import page_uses


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


def test_no_version_of_any_object_holds_the_page_after_an_erasure(remote, bucket, pages):
    page_id = pages.annotated("train")
    used = {use.path for use in page_uses(remote.loader, page_id) if not use.is_of_model}
    done = erase_page(remote.loader, page_id, "ticket 17", "somebody")
    assert done.versions == len(done.uses) == len(used)
    versions = [version.key for version in bucket.object_versions.all()]
    assert len(versions) == len(set(versions))
    assert not [use for use in page_uses(remote.loader, page_id) if not use.is_of_model]
    assert not model_lineage(remote.loader, "topics").damaged
