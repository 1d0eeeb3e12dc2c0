import json

import pytest
from aws_account import ANCHOR, S3_ROOT, s3_loader

from al_platform.config import FamilyConfigLoader
from al_platform.domain.errors import ConfigError
from al_platform.governance.documents import different_files, documents, write_files
from al_platform.governance.options import GovernanceOptions
from al_platform.governance.s3 import Place, bucket_documents
from al_platform.settings import CONFIG_LOADER_ARGS

MANAGED_POLICY_CHARACTERS = 6144
BUCKET_POLICY_BYTES = 20 * 1024


@pytest.fixture
def on_s3(monkeypatch):
    monkeypatch.setenv("AL_S3_ROOT", S3_ROOT)
    monkeypatch.setenv("AL_AUDIT_ANCHOR", ANCHOR)
    return s3_loader()


@pytest.fixture
def on_volumes(monkeypatch):
    monkeypatch.setenv("AL_UC_CATALOG", "main")
    monkeypatch.delenv("AL_AUDIT_ANCHOR", raising=False)
    return s3_loader("databricks")


def test_every_policy_fits_the_size_that_aws_allows(on_s3):
    for name, content in documents(on_s3, GovernanceOptions()).items():
        compact = "".join(content.split())
        assert len(compact) < (MANAGED_POLICY_CHARACTERS if name.startswith("roles/") else BUCKET_POLICY_BYTES), name


def test_the_same_environment_gives_the_same_bytes(on_s3):
    assert documents(on_s3, GovernanceOptions()) == documents(s3_loader(), GovernanceOptions())


def test_check_names_what_is_missing_what_differs_and_what_is_too_much(on_s3, tmp_path):
    expected = documents(on_s3, GovernanceOptions())
    write_files(tmp_path, expected)
    assert different_files(tmp_path, expected) == []
    (tmp_path / "roles" / "reader.json").unlink()
    (tmp_path / "roles" / "training.json").write_text("{}")
    (tmp_path / "roles" / "somebody.json").write_text("{}")
    assert different_files(tmp_path, expected) == ["roles/reader.json", "roles/somebody.json", "roles/training.json"]


def test_the_anchor_is_under_object_lock_in_a_bucket_of_its_own(on_s3, monkeypatch):
    lock = json.loads(documents(on_s3, GovernanceOptions())["buckets/anchor/object-lock.json"])
    assert lock["Rule"]["DefaultRetention"] == {"Mode": "COMPLIANCE", "Days": 400}
    monkeypatch.setenv("AL_AUDIT_ANCHOR", "s3://data/anchor")
    with pytest.raises(ConfigError, match="bucket of its own"):
        documents(s3_loader(), GovernanceOptions())


def test_a_kms_key_encrypts_the_buckets_and_every_role_may_use_it(on_s3):
    key = "arn:aws:kms:eu-west-1:123456789012:key/a"
    found = documents(on_s3, GovernanceOptions(kms_key=key))
    rule = json.loads(found["buckets/data/encryption.json"])["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    assert all(key in content for name, content in found.items() if name.startswith("roles/"))


def test_lifecycle_ends_uploads_old_versions_and_experiments_and_nothing_else():
    places = {"labels": Place("data", "p/labels"), "experiments": Place("data", "p/experiments")}
    rules = bucket_documents(places, Place("data", "p"), GovernanceOptions())["data"]["lifecycle"]["Rules"]
    current = [rule["Filter"]["Prefix"] for rule in rules if "Days" in rule.get("Expiration", {})]
    assert current == ["p/experiments/"]
    assert [rule["Filter"]["Prefix"] for rule in rules] == ["p/", "p/", "p/experiments/"]


def test_a_class_in_another_bucket_has_its_own_documents():
    places = {"labels": Place("secret", "labels"), "models": Place("data", "p/models")}
    found = bucket_documents(places, Place("data", "p"), GovernanceOptions())
    assert list(found) == ["data", "secret"]
    assert "labels" not in json.dumps(found["data"])


def test_a_server_that_knows_no_condition_keys_gets_no_statement_with_one():
    places = {"champion": Place("data", "champion")}
    policy = bucket_documents(places, Place("data", ""), GovernanceOptions(server="seaweedfs"))["data"]["policy"]
    assert [statement["Sid"] for statement in policy["Statement"]] == ["AlPlatformLogEntriesAreNeverDeleted"]


def test_a_local_root_is_refused_with_what_to_do():
    with pytest.raises(ConfigError, match=r"local folder.*--env s3"):
        documents(s3_loader("test"), GovernanceOptions())


def test_on_volumes_every_class_has_one_and_only_the_gate_and_the_eraser_write_the_champions(on_volumes):
    sql = documents(on_volumes, GovernanceOptions(external_location="s3://lake/al"))["unity_catalog.sql"]
    assert "EXTERNAL VOLUME IF NOT EXISTS `main`.`al_platform`.`labels` LOCATION 's3://lake/al/labels';" in sql
    write = [line for line in sql.splitlines() if "GRANT WRITE" in line]
    assert _groups(write, "champion") == ["al-platform-eraser", "al-platform-promotion"]
    assert "al-platform-training" not in _groups(write, "labels")
    assert "al-platform-reader" not in " ".join(write)


def _groups(lines, volume):
    return sorted(line.split("`")[-2] for line in lines if f"`{volume}` TO" in line)


def test_a_mistyped_governance_option_is_an_error(project):
    project.configure("governance.yml", {"old_version_days": 3})
    conf = str(project.path / "conf")
    loader = FamilyConfigLoader(conf_source=conf, env=project.env, **CONFIG_LOADER_ARGS)
    with pytest.raises(ConfigError, match=r"(?s)old_version_days.*Known: .*old_versions_days"):
        loader.options("governance", GovernanceOptions)
