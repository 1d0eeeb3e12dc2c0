"""An erasure on a real server that keeps versions: what was removed long ago, and what must not be removed."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from servers.s3 import S3Server

from al_platform.cli import UserErrors
from al_platform.lineage.cli import erase
from al_platform.lineage.erase import erase_page
from al_platform.storage.erasures import ErasedPages
from al_platform.storage.store import open_store
from temporary_project import Project

pytestmark = pytest.mark.real

PAGE, OTHER = "page-of-somebody", "page-of-another"
PAGES = "traffic/2026-10/pages/0001-a.parquet"
ATTEMPT = "datasets/topics/2026-10/preparation/attempts/killed"
REASON = "ticket 17"


@pytest.fixture
def client(s3_server: S3Server) -> Any:
    return s3_server.client()


@pytest.fixture
def versioned(client: Any, bucket: str) -> str:
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


@pytest.fixture
def remote(project: Project, versioned: str, on_s3: Mapping[str, str]) -> Project:
    """A project on the bucket, with two pages of traffic and an attempt that was removed."""
    return _filled(project, versioned)


def _filled(project: Project, bucket: str) -> Project:
    project.only("topics")
    settings = yaml.safe_load((project.path / "conf" / "test" / "globals.yml").read_text())
    project.configure("globals.yml", {**settings, "root": f"s3://{bucket}/al"})
    open_store(project.loader.root("traffic")).write(PAGES.partition("/")[2], table(PAGE, OTHER))
    for folder in ("", "experiments/gone/"):
        store = open_store(f"s3://{bucket}/al")
        store.write(f"{folder}{ATTEMPT}/dataset.parquet", table(PAGE))
        store.write(f"{folder}{ATTEMPT}/quarantine.parquet", table(OTHER))
        store.remove(f"{folder}{ATTEMPT}")
    return project


def table(*page_ids: str) -> bytes:
    target = BytesIO()
    rows = {"page_id": page_ids, "text": [f"text of {page_id}" for page_id in page_ids]}
    pq.write_table(pa.table(rows), target)
    return target.getvalue()


def versions_with(client: Any, bucket: str, page_id: str) -> list[str]:
    """The key of every version of every object that holds a page, read with nothing of ours."""
    listed = client.list_object_versions(Bucket=bucket)
    assert not listed["IsTruncated"]
    found = []
    for version in listed["Versions"]:
        body = client.get_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])["Body"].read()
        content = str(pq.read_table(BytesIO(body)).to_pylist()) if version["Key"].endswith(".parquet") else str(body)
        found += [version["Key"]] if page_id in content else []
    return sorted(found)


def call(project: Project, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    monkeypatch.chdir(project.path)
    words = ["erase", *arguments, "--reason", REASON, "--yes", "--env", "test"]
    return CliRunner().invoke(UserErrors(commands=[erase]), words, catch_exceptions=False)


def test_no_version_of_any_object_holds_an_erased_page_and_others_keep_theirs(
    remote: Project, client: Any, versioned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed = [f"al/{ATTEMPT}/dataset.parquet", f"al/experiments/gone/{ATTEMPT}/dataset.parquet"]
    assert versions_with(client, versioned, PAGE) == sorted([*removed, f"al/{PAGES}"])
    done = call(remote, monkeypatch, PAGE)
    assert done.exit_code == 0, done.output
    assert "Taken out of 1 files (1 rows)." in done.output
    assert "Of 5 former versions, 3 held the page and are removed." in done.output
    assert versions_with(client, versioned, PAGE) == []
    assert [key.rpartition("/")[2] for key in versions_with(client, versioned, OTHER)] == [
        "quarantine.parquet",
        "quarantine.parquet",
        "0001-a.parquet",
    ]
    assert PAGE in ErasedPages.of(open_store(remote.loader.root("labels")))


def test_a_page_that_only_a_removed_attempt_holds_is_erased(remote: Project, client: Any, versioned: str) -> None:
    store = open_store(f"s3://{versioned}/al")
    store.write(f"{ATTEMPT}/labels.json", b'[{"page_id": "page-long-gone"}]')
    store.remove(ATTEMPT)
    done = erase_page(remote.loader, "page-long-gone", REASON, "somebody")
    assert (done.uses, done.versions) == ((), 1)
    assert versions_with(client, versioned, "page-long-gone") == []


def test_a_removed_object_stays_removed(remote: Project, client: Any, versioned: str) -> None:
    before = set(open_store(f"s3://{versioned}/al").list(""))
    erase_page(remote.loader, PAGE, REASON, "somebody")
    after = set(open_store(f"s3://{versioned}/al").list(""))
    assert {path.split("/")[1] for path in after - before} == {"erasures"}


def test_versions_under_a_lock_are_reported_and_all_others_go(
    project: Project, s3_server: S3Server, client: Any, on_s3: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = f"locked-{uuid4().hex[:8]}"
    client.create_bucket(Bucket=locked, ObjectLockEnabledForBucket=True)
    _filled(project, locked)
    key = f"al/{ATTEMPT}/dataset.parquet"
    (version,) = [each for each in client.list_object_versions(Bucket=locked)["Versions"] if each["Key"] == key]
    client.put_object_retention(
        Bucket=locked,
        Key=key,
        VersionId=version["VersionId"],
        Retention={"Mode": "COMPLIANCE", "RetainUntilDate": datetime.now(UTC) + timedelta(days=1)},
    )
    done = call(project, monkeypatch, PAGE)
    assert done.exit_code == 1
    assert "1 of " in done.output
    assert "old versions stay" in done.output
    assert "object lock" in done.output
    assert versions_with(client, locked, PAGE) == [key]


def test_who_may_not_erase_versions_is_told_and_nothing_is_said_to_be_done(
    remote: Project, client: Any, versioned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = f"arn:aws:s3:::{versioned}/*"
    denied = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObjectVersion", "Resource": objects}
    client.put_bucket_policy(Bucket=versioned, Policy=json.dumps({"Version": "2012-10-17", "Statement": [denied]}))
    done = call(remote, monkeypatch, PAGE)
    assert done.exit_code == 1
    assert "these credentials need s3:DeleteObjectVersion" in done.output
    assert "known as" not in done.output
    assert len(versions_with(client, versioned, PAGE)) == 3
    client.delete_bucket_policy(Bucket=versioned)
    assert call(remote, monkeypatch, PAGE).exit_code == 0
    assert versions_with(client, versioned, PAGE) == []
