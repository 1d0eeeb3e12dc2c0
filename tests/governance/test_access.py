import pytest

from al_platform.domain.errors import ConfigError
from al_platform.governance.access import derive_roles
from al_platform.stages import STAGES

PEOPLE = ["importer", "reader", "analyst", "auditor", "experimenter", "operator", "eraser"]
ROLES = [*(stage.name for stage in STAGES), *PEOPLE]
ATTEMPTS = [f"{stage.data_class}/topics/2026-01/{stage.name}/attempts/run/x.parquet" for stage in STAGES]
LOG_ENTRIES = [
    "champion/topics/log/000001.json",
    "champion/topics/2026-01/promotion/log/000001.json",
    "labels/topics/2026-01/annotation_ingest/log/000001.json",
    "datasets/topics/2026-01/preparation/log/000001.json",
    "models/topics/2026-01/training/log/000001.json",
    "logs/audit/000001.json",
    "labels/erasures/000001.json",
]
LABELS = [
    "labels/topics/2026-01/annotation_ingest/attempts/run/labels.parquet",
    "labels/topics/2026-01/selection/sealed/batch.parquet",
    "labels/topics/imported/0001-a.parquet",
    "labels/topics/platform/inbox/a.jsonl",
]


@pytest.mark.parametrize("role", ROLES)
def test_nobody_deletes_or_replaces_a_log_entry(account, role):
    for entry in LOG_ENTRIES:
        for action in ("DeleteObject", "DeleteObjectVersion", "PutObject"):
            assert not account.allows(role, action, entry), (action, entry)


@pytest.mark.parametrize("role", ROLES)
def test_only_the_gates_role_creates_an_entry_of_the_champion_log(account, role):
    assert account.creates(role, "champion/topics/log/000001.json") == (role == "promotion")


@pytest.mark.parametrize("path", LABELS)
def test_training_writes_no_labels(account, path):
    assert not account.creates("training", path)
    assert not account.allows("training", "PutObject", path)
    assert not account.allows("training", "DeleteObject", path)


@pytest.mark.parametrize("path", LABELS)
def test_training_and_the_reader_see_no_labels(account, path):
    assert not account.allows("training", "GetObject", path)
    assert not account.allows("reader", "GetObject", path)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_writes_its_own_folder_and_no_other_stages(account, stage):
    for other in STAGES:
        folder = f"{other.data_class}/topics/2026-01/{other.name}"
        assert account.creates(stage.name, f"{folder}/log/000001.json") == (stage == other)
        assert account.allows(stage.name, "PutObject", f"{folder}/attempts/run/x.parquet") == (stage == other)
        assert account.allows(stage.name, "DeleteObject", f"{folder}/attempts/run/x.parquet") == (stage == other)


def test_no_wildcard_reaches_into_the_log_of_another_stage(account):
    assert not account.creates("selection", "labels/topics/2026-01/annotation_ingest/log/platform/9.json")
    assert not account.creates("selection", "labels/topics/2026-01/annotation_ingest/log/selection/9.json")
    assert not account.creates("training", "models/topics/2026-01/evaluation/log/by_digest/9.json")


@pytest.mark.parametrize("role", [stage.name for stage in STAGES])
def test_no_stage_writes_traffic_or_imported_labels(account, role):
    assert not account.allows(role, "PutObject", "traffic/2026-01/pages/0001-a.parquet")
    assert not account.allows(role, "PutObject", "labels/topics/imported/0001-a.parquet")


@pytest.mark.parametrize("role", [*(stage.name for stage in STAGES), "importer", "operator", "eraser"])
def test_whoever_writes_adds_to_the_audit_log_and_its_anchor(account, role):
    assert account.creates(role, "logs/audit/000001.json")
    assert account.creates(role, "anchor/anchors/000001-ab.json")
    assert not account.allows(role, "DeleteObject", "anchor/anchors/000001-ab.json")


def test_the_reader_reads_manifests_and_reports_and_writes_nothing(account):
    attempt = "labels/topics/2026-01/annotation_ingest/attempts/run"
    assert account.allows("reader", "GetObject", f"{attempt}/manifest.json")
    assert account.allows("reader", "GetObject", f"{attempt}/annotation_ingest_report.json")
    reader = next(role for role in account.governed.roles if role.name == "reader")
    assert reader.areas("write", "delete", "erase") == ()


def test_the_experimenter_reads_everything_and_changes_experiments_alone(account):
    assert account.allows("experimenter", "GetObject", LABELS[0])
    assert account.allows("experimenter", "PutObject", "experiments/mine/labels/topics/2026-01/selection/log/1.json")
    assert not account.allows("experimenter", "PutObject", LABELS[0])
    experimenter = next(role for role in account.governed.roles if role.name == "experimenter")
    assert experimenter.areas("write", "delete", "erase") == ("experiments",)


def test_the_analyst_reads_everything_and_changes_nothing(account):
    for path in (*LABELS, *LOG_ENTRIES, "traffic/2026-01/pages/0001-a.parquet", "experiments/x/labels/a.parquet"):
        assert account.allows("analyst", "GetObject", path), path
    analyst = next(role for role in account.governed.roles if role.name == "analyst")
    assert analyst.areas("write", "delete", "erase", "clean") == ()


def test_the_operator_removes_attempts_and_models_and_writes_nothing_but_the_logs(account):
    for path in (*ATTEMPTS, "models/topics/by_digest/abc/weights.safetensors"):
        assert account.allows("operator", "DeleteObject", path), path
        assert not account.allows("operator", "PutObject", path), path
    for path in (*LABELS[1:], "traffic/2026-01/pages/0001-a.parquet", "models/encoders/x/config.json"):
        assert not account.allows("operator", "DeleteObject", path), path
    operator = next(role for role in account.governed.roles if role.name == "operator")
    assert operator.areas("write") == ("anchor", "logs")


def test_unfinished_uploads_are_seen_by_the_eraser_and_the_operator_alone(account):
    for role in ROLES:
        assert account.lists(role, "ListBucketMultipartUploads") == (role in ("eraser", "operator")), role
        assert account.lists(role, "ListBucketVersions") == (role == "eraser"), role


def test_training_keeps_checkpoints_and_removes_them_and_no_other_stage_does(account):
    path = "models/topics/2026-01/training/checkpoints/key/step-1/state.json"
    for role in (stage.name for stage in STAGES):
        for action in ("PutObject", "DeleteObject"):
            assert account.allows(role, action, path) == (role == "training"), (role, action)
    assert account.allows("training", "GetObject", "models/encoders/small/model.safetensors")
    assert not account.allows("training", "PutObject", "models/encoders/small/model.safetensors")


def test_only_the_eraser_rewrites_what_was_sealed_and_removes_versions(account):
    for role in ROLES:
        assert account.allows(role, "PutObject", LABELS[1]) == (role == "eraser")
        assert account.allows(role, "DeleteObjectVersion", LABELS[0]) == (role == "eraser")
    assert account.creates("selection", LABELS[1])


def test_without_tls_nothing_is_allowed(account):
    plain = {"aws:SecureTransport": "false"}
    assert not account.allows("experimenter", "GetObject", LABELS[0], plain)


def test_a_dataset_of_a_type_without_known_rights_is_refused():
    with pytest.raises(ConfigError, match=r"Asked for the rights on pages, a CSVDataset\. Known: .*Traffic"):
        derive_roles(["topics"], lambda _: {"type": "pandas.CSVDataset", "root": "r"}, {"r": "traffic"})
