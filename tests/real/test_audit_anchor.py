"""The audit log's head in a bucket under object lock: who can rewrite the log cannot rewrite that."""

from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from al_platform.storage.audit_check import verify
from al_platform.storage.audit_log import AuditLog
from al_platform.storage.s3_store import S3Store

pytestmark = pytest.mark.real


@pytest.fixture
def locked(s3_server, bucket):
    client, name = s3_server.client(), f"{bucket}-anchor"
    client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    retention = {"Mode": "COMPLIANCE", "Days": 1}
    client.put_object_lock_configuration(
        Bucket=name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": retention}}
    )
    return S3Store(f"s3://{name}/al-platform", client)


@pytest.fixture
def log(s3_server, bucket):
    return S3Store(f"s3://{bucket}/p/logs", s3_server.client())


def write(log, locked, actions):
    audit = AuditLog(log, "someone", locked)
    for action in actions:
        audit.record(action, {"what": action})
    audit.anchor_head()


def test_a_log_that_an_administrator_writes_anew_is_found_by_its_anchor(log, locked):
    write(log, locked, ["commit", "promote"])
    assert verify(log, locked, []).findings == ()
    log.remove("audit")
    forged = AuditLog(log, "someone")
    forged.record("commit", {"what": "commit"})
    forged.record("commit", {"what": "nothing was promoted"})
    assert verify(log, None, []).findings == ()
    assert [finding.kind for finding in verify(log, locked, []).findings] == ["rewritten"]


def test_a_log_whose_end_was_cut_off_is_found_by_its_anchor(s3_server, log, locked):
    write(log, locked, ["commit", "promote"])
    bucket, _, prefix = log.root.removeprefix("s3://").partition("/")
    s3_server.client().delete_object(Bucket=bucket, Key=f"{prefix}/audit/000002.json")
    assert [finding.kind for finding in verify(log, locked, []).findings] == ["missing"]


def test_nobody_can_delete_an_anchor_before_its_time(s3_server, log, locked):
    write(log, locked, ["commit"])
    bucket = locked.root.removeprefix("s3://").partition("/")[0]
    client = s3_server.client()
    [version] = client.list_object_versions(Bucket=bucket)["Versions"]
    kept = client.get_object_retention(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])["Retention"]
    assert kept["RetainUntilDate"] > datetime.now(UTC) + timedelta(hours=20)
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
    locked.remove("anchors")
    assert client.list_object_versions(Bucket=bucket)["Versions"][0]["VersionId"] == version["VersionId"]
