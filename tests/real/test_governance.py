"""The generated documents on a real server.

SeaweedFS evaluates bucket policies for every identity, the administrator among them: Allow and Deny, principals,
and wildcards in resources. The statements of each role are put in force as they are generated, with the role as their
principal: an identity that has no right of its own. What it cannot enforce, and only the evaluator in
``tests/governance`` covers: TLS only (it would lock out this server), ``s3:if-none-match`` (it has no value there, so
that an entry may be replaced by who may create it) and ``aws:PrincipalArn`` (what only the gate or the eraser may do is
left to the roles' own statements). It has no public access block, and whether it carries lifecycle rules out is not
tested.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project
from servers.s3 import S3Server

from al_platform import families
from al_platform.config import FamilyConfigLoader
from al_platform.domain.errors import StoreError
from al_platform.governance.apply import apply_settings
from al_platform.governance.cli import governance
from al_platform.governance.documents import Governed, governed_s3
from al_platform.governance.options import GovernanceOptions
from al_platform.governance.s3 import role_policy
from al_platform.settings import CONFIG_LOADER_ARGS
from al_platform.storage.s3_store import S3Store
from temporary_project import ROOT, Project

pytestmark = pytest.mark.real

# A bucket's policy holds the statements of so many roles.
ROLES = ("selection", "training", "promotion", "reader", "importer", "eraser")
CLEANERS = ("training", "operator", "eraser")
OPTIONS = GovernanceOptions(server="seaweedfs")
LABELS = "labels/topics/2026-01/annotation_ingest/attempts/run/labels.parquet"
CHAMPION = "champion/topics/log/000001.json"


@dataclass(frozen=True)
class Store:
    """A bucket in which the documents are in force."""

    server: S3Server
    governed: Governed

    def put(self, role: str, path: str, **options: str) -> str | None:
        """Put an object as ``role``; the error's code, None where it was allowed."""
        return _code(lambda client, where: client.put_object(**where, Body=b"{}", **options), self, role, path)

    def get(self, role: str, path: str) -> str | None:
        return _code(lambda client, where: client.get_object(**where), self, role, path)

    def delete(self, role: str, path: str, **options: str) -> str | None:
        return _code(lambda client, where: client.delete_object(**where, **options), self, role, path)

    def at(self, path: str) -> dict[str, str]:
        area, _, below = path.partition("/")
        place = self.governed.places[area]  # type: ignore[index]
        return {"Bucket": place.bucket, "Key": place.key(below)}


def _code(ask: Callable[[Any, Mapping[str, str]], object], store: Store, role: str, path: str) -> str | None:
    try:
        ask(store.server.client(role), store.at(path))
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("governed"), identities=dict.fromkeys({*ROLES, *CLEANERS}, ())) as found:
        yield found


@pytest.fixture
def buckets(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Two new buckets, of data and of the anchor, to which the environment s3 points."""
    data, anchor = f"d-{uuid4().hex[:6]}", f"a-{uuid4().hex[:6]}"
    server.client().create_bucket(Bucket=data)
    server.client().create_bucket(Bucket=anchor, ObjectLockEnabledForBucket=True)
    monkeypatch.setenv("AL_S3_ROOT", f"s3://{data}/p")
    monkeypatch.setenv("AL_AUDIT_ANCHOR", f"s3://{anchor}/p")
    return data, anchor


@pytest.fixture
def governed(buckets: tuple[str, str]) -> Governed:
    loader = FamilyConfigLoader(conf_source=str(ROOT / "conf"), env="s3", **CONFIG_LOADER_ARGS)
    families.configure(loader.families)
    return governed_s3(loader, OPTIONS)


@pytest.fixture
def store(server: S3Server, governed: Governed) -> Store:
    return _in_force(server, governed, ROLES)


@pytest.fixture
def cleaned(server: S3Server, governed: Governed) -> Store:
    return _in_force(server, governed, CLEANERS)


def _in_force(server: S3Server, governed: Governed, roles: Iterable[str]) -> Store:
    admin = server.client()
    list(apply_settings(admin, governed.buckets))
    for bucket, documents in governed.buckets.items():
        allowed = [statement for role in roles for statement in _as_bucket_policy(governed, role, bucket)]
        policy = {**documents["policy"], "Statement": [*documents["policy"]["Statement"], *allowed]}
        # All roles at once are near the 20 kB that a policy may have.
        admin.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy, separators=(",", ":")))
    return Store(server, governed)


def _as_bucket_policy(governed: Governed, name: str, bucket: str) -> Iterator[dict[str, Any]]:
    role = next(found for found in governed.roles if found.name == name)
    arn = f"arn:aws:s3:::{bucket}"
    for statement in role_policy(role, governed.places, OPTIONS)["Statement"]:
        here = [resource for resource in statement["Resource"] if resource == arn or resource.startswith(f"{arn}/")]
        principal = {"AWS": [f"arn:aws:iam::000000000000:user/{name}"]}
        if here:
            yield {**statement, "Sid": f"{name}{statement['Sid']}", "Principal": principal, "Resource": here}


def test_training_writes_its_folder_and_neither_labels_nor_the_champion(store: Store) -> None:
    assert store.put("training", "models/topics/2026-01/training/attempts/run/challenger.json") is None
    assert store.put("training", "models/topics/2026-01/training/log/000001.json", IfNoneMatch="*") is None
    for path in (LABELS, CHAMPION, "models/topics/2026-01/evaluation/log/000001.json"):
        assert store.put("training", path, IfNoneMatch="*") == "AccessDenied"
    assert store.get("training", LABELS) == "AccessDenied"


def test_the_gate_promotes_and_nobody_takes_the_entry_back(store: Store) -> None:
    assert store.put("promotion", CHAMPION, IfNoneMatch="*") is None
    assert store.put("promotion", CHAMPION, IfNoneMatch="*") == "PreconditionFailed"
    for role in ("promotion", "eraser", "admin"):
        assert store.delete(role, CHAMPION) == "AccessDenied"
    assert store.get("reader", CHAMPION) is None


def test_an_equal_attempt_is_removed_by_its_stage_and_by_no_other(store: Store) -> None:
    attempt = "models/topics/2026-01/training/attempts/run/challenger.json"
    assert store.put("training", attempt) is None
    assert store.delete("selection", attempt) == "AccessDenied"
    assert store.delete("training", attempt) is None


def test_the_reader_writes_nothing_and_sees_no_labels(store: Store) -> None:
    store.put("admin", LABELS)
    assert store.get("reader", LABELS) == "AccessDenied"
    for path in (LABELS, CHAMPION, "logs/audit/000001.json", "traffic/2026-01/pages/0001-a.parquet"):
        assert store.put("reader", path) == "AccessDenied"


def test_a_key_that_is_not_there_is_told_from_a_denial(store: Store) -> None:
    assert store.get("training", "models/topics/2026-01/training/log/000009.json") == "NoSuchKey"
    assert store.get("training", LABELS) == "AccessDenied"


def test_an_erasure_removes_old_versions_and_no_one_else_does(store: Store) -> None:
    admin = store.server.client()
    old = admin.put_object(**store.at(LABELS), Body=b"somebody")["VersionId"]
    assert store.put("eraser", LABELS) is None
    assert store.delete("training", LABELS, VersionId=old) == "AccessDenied"
    assert store.delete("eraser", LABELS, VersionId=old) is None
    with pytest.raises(ClientError):
        admin.get_object(**store.at(LABELS), VersionId=old)


def test_the_operator_sees_unfinished_uploads_and_gives_them_up_and_training_does_not(
    cleaned: Store, server: S3Server
) -> None:
    models = cleaned.governed.places["models"]
    root = f"s3://{models.bucket}/{models.prefix}"
    server.client().create_multipart_upload(**cleaned.at("models/topics/by_digest/abc/weights"))
    with pytest.raises(StoreError, match="s3:ListBucketMultipartUploads"):
        S3Store(root, server.client("training")).leftovers()
    for role in ("eraser", "operator"):
        (leftover,) = S3Store(root, server.client(role)).leftovers()
        assert leftover.path == "topics/by_digest/abc/weights"
    S3Store(root, server.client("operator")).remove_leftovers(timedelta(0))
    assert list(S3Store(root, server.client()).leftovers()) == []


def test_the_operator_removes_attempts_and_writes_none(cleaned: Store) -> None:
    cleaned.put("admin", LABELS)
    assert cleaned.put("operator", LABELS) == "AccessDenied"
    assert cleaned.delete("operator", LABELS) is None


def test_a_denied_write_stays_denied_after_a_restart(store: Store) -> None:
    assert store.put("training", LABELS) == "AccessDenied"
    store.server.kill()
    store.server.start()
    assert store.put("training", LABELS) == "AccessDenied"
    assert store.put("training", CHAMPION) == "AccessDenied"


def test_nobody_deletes_an_anchor_while_its_retention_lasts(store: Store, server: S3Server) -> None:
    anchor = store.at("anchor/anchors/000001-ab.json")
    assert store.put("training", "anchor/anchors/000001-ab.json", IfNoneMatch="*") is None
    admin = server.client()
    # Without the bucket's policy, so that the lock alone refuses.
    admin.delete_bucket_policy(Bucket=anchor["Bucket"])
    version = admin.head_object(**anchor)["VersionId"]
    for options in ({}, {"BypassGovernanceRetention": True}):
        with pytest.raises(ClientError, match="AccessDenied"):
            admin.delete_object(**anchor, VersionId=version, **options)
    assert admin.get_object_retention(**anchor)["Retention"]["Mode"] == "COMPLIANCE"


def test_applying_twice_sets_nothing_the_second_time(server: S3Server, governed: Governed) -> None:
    first = {(done.bucket, done.setting): done.outcome for done in apply_settings(server.client(), governed.buckets)}
    again = {done.outcome for done in apply_settings(server.client(), governed.buckets)}
    unsupported = {setting for (_, setting), outcome in first.items() if outcome == "not supported by this server"}
    assert unsupported == {"public-access-block"}
    assert again == {"already set", "not supported by this server"}


def test_a_policy_of_somebody_else_is_not_replaced(server: S3Server, governed: Governed) -> None:
    bucket = governed.places["labels"].bucket
    theirs = {"Sid": "Theirs", "Effect": "Deny", "Principal": "*", "Action": "s3:GetObject"}
    policy = {"Version": "2012-10-17", "Statement": [{**theirs, "Resource": f"arn:aws:s3:::{bucket}/x/*"}]}
    server.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    with pytest.raises(StoreError, match="Theirs"):
        list(apply_settings(server.client(), governed.buckets))


def test_the_command_applies_to_the_server_of_the_environment(
    project: Project, server: S3Server, buckets: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    access, secret = server.credentials()
    settings = {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret, "AWS_ENDPOINT_URL": server.endpoint}
    for name, value in {**settings, "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(project.path)
    bootstrap_project(project.path)
    done = CliRunner().invoke(governance, ["--env", "s3", "--apply"])
    assert done.exit_code == 0, done.output
    assert f"{buckets[0]} policy: set" in done.output
    assert f"{buckets[1]} object-lock: " in done.output
