"""The doctor removes what interrupted runs left and nothing else, and names what is damaged."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

import pytest
from click.testing import CliRunner

from al_platform.domain.errors import ConfigError, StoreError
from al_platform.health import damage, leftovers
from al_platform.health.cli import audit, doctor
from al_platform.health.commits import Commits, StoredCommit, references
from al_platform.health.doctor import diagnose
from al_platform.health.stores import TendedStores
from al_platform.stages import STAGES
from al_platform.storage.audit_log import AuditLog, entry_subject, last_lines
from al_platform.storage.commit_log import Manifest, Output, StageKey, commit, file_sha256, log_length, to_json
from al_platform.storage.erasures import ErasedFile, Tombstone, create_tombstone
from al_platform.storage.run_record import record_end, record_start, start_of
from al_platform.storage.store import LocalStore, open_store
from al_platform.stores import CLASSES
from killed_runs import KILLS, run_killed
from temporary_project import CYCLE, Project, make_project

SCORING = StageKey("topics", CYCLE, "scoring")
RUN = "run-of-the-test"
OUTPUTS = sum(len(stage.outputs) for stage in STAGES)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A project whose month and quarter ran undisturbed."""
    project = make_project(tmp_path_factory.mktemp("undisturbed") / "project")
    project.only("topics")
    project.run("monthly")
    project.run("quarterly")
    return project


@pytest.fixture
def patient(undisturbed, tmp_path, monkeypatch):
    """A copy of it, to do harm to."""
    shutil.copytree(undisturbed.path, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return Project(tmp_path / "project")


def call(command, *arguments):
    return CliRunner().invoke(command, [*arguments, "--env", "test"])


def examined(*arguments):
    result = call(doctor, "--json", *arguments)
    assert result.exit_code in (0, 1), result.output
    found = json.loads(result.stdout)
    assert found["is_clean"] == (result.exit_code == 0)
    return found


def kinds(problems):
    return sorted(problem["kind"] for problem in problems)


def store_of(project, data_class):
    return open_store(project.loader.root(data_class))


def folder_of(project, data_class):
    return Path(project.loader.root(data_class))


def files_of(project):
    return sorted(file for file in project.path.rglob("data/**/*") if file.is_file() and "audit" not in file.parts)


PAGE = "a" * 64


def tombstone_of(*files):
    return Tombstone(number=1, page_sha256=PAGE, reason="asked", at="2026-11-01", actor="ada", files=files)


def begin(project, **known):
    """Leave the attempt of a run that began, in this process unless said otherwise."""
    start = start_of(RUN, "test", ("monthly",), CYCLE).model_copy(update=known)
    record_start(store_of(project, "logs"), start)
    store_of(project, "datasets").write(f"{SCORING.attempt(RUN)}/predictions.parquet", b"half")


def test_an_undisturbed_store_is_sound(patient):
    result = call(doctor)
    assert result.exit_code == 0
    assert f"The stores are sound: 8 log entries and {OUTPUTS} outputs were looked at." in result.output
    assert examined("--quick")["is_clean"]


def test_a_store_that_nothing_was_written_to_is_sound(tmp_path, monkeypatch):
    project = make_project(tmp_path / "project")
    monkeypatch.chdir(project.path)
    assert examined()["entries"] == 0


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A project whose monthly was killed between a line in the audit log and its entry."""
    project = make_project(tmp_path_factory.mktemp("killed") / "project")
    project.only("topics")
    kill = KILLS["between a line in the audit log and its entry"]
    run_killed(project, kill, "al_platform.storage.store.LocalStore")
    return project


def test_what_a_killed_run_left_is_found_and_removed(killed, tmp_path, monkeypatch):
    shutil.copytree(killed.path, tmp_path / "project")
    project = Project(tmp_path / "project")
    monkeypatch.chdir(project.path)
    before = project.state()
    found = examined()
    assert "abandoned attempt" in kinds(found["leftovers"])
    assert found["damage"] == []
    fixed = examined("--fix")
    assert fixed["is_clean"]
    assert fixed["removed"] == found["leftovers"]
    assert examined()["removed"] == []
    assert project.state() == before
    project.run("monthly")
    assert examined()["is_clean"]
    audited = json.loads(call(audit, "--verify", "--json").stdout)
    assert (audited["findings"], len(audited["announced_only"])) == ([], 1)
    assert f"announced only {audited['announced_only'][0]}" in call(audit, "--verify").output


def test_an_attempt_of_a_living_process_is_listed_and_left_alone(patient):
    begin(patient)
    found = examined("--fix", "--older-than", "0")
    assert found["is_clean"]
    assert found["at_work"] == [f"datasets/{SCORING.attempt(RUN)}"]
    assert store_of(patient, "datasets").exists(f"{SCORING.attempt(RUN)}/predictions.parquet")


def test_an_attempt_of_a_process_that_is_gone_is_removed(patient):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    begin(patient, pid=ended.pid)
    assert kinds(examined("--fix")["removed"]) == ["abandoned attempt"]


def test_an_attempt_of_a_run_that_ended_is_removed(patient):
    begin(patient)
    record_end(store_of(patient, "logs"), RUN, "injected")
    assert kinds(examined("--fix")["removed"]) == ["abandoned attempt"]


def dated(hours):
    """Return a run's id as Kedro makes them."""
    began_at = datetime.now(UTC) - timedelta(hours=hours)
    return f"{began_at:%Y-%m-%dT%H.%M.%S}.{began_at.microsecond // 1000:03d}Z-abc123"


@pytest.mark.parametrize(("hours", "removed"), [(1, []), (30, ["abandoned attempt"])], ids=["young", "old"])
def test_an_attempt_without_a_record_is_judged_by_the_time_in_its_run_s_id(patient, hours, removed):
    store_of(patient, "datasets").write(f"{SCORING.attempt(dated(hours))}/predictions.parquet", b"half")
    found = examined("--fix")
    assert kinds(found["removed"]) == removed
    assert len(found["at_work"]) == 1 - len(removed)


def test_without_patience_a_young_attempt_without_a_record_is_a_leftover(patient):
    store_of(patient, "datasets").write(f"{SCORING.attempt(dated(1))}/predictions.parquet", b"half")
    assert kinds(examined("--older-than", "0")["leftovers"]) == ["abandoned attempt"]


def test_a_run_in_another_container_of_this_machine_is_not_judged_by_its_pid(patient):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    begin(patient, pid=ended.pid, pid_namespace="pid:[1]")
    found = examined("--fix")
    assert (found["is_clean"], len(found["at_work"])) == (True, 1)


@pytest.mark.parametrize(("hours", "removed"), [(1, []), (30, ["abandoned attempt"])], ids=["young", "old"])
def test_a_run_on_another_machine_is_given_a_day(patient, hours, removed):
    began_at = (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
    begin(patient, host="elsewhere", began_at=began_at)
    assert kinds(examined("--fix")["removed"]) == removed


def test_how_long_another_machine_is_waited_for_can_be_set(patient):
    began_at = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    begin(patient, host="elsewhere", began_at=began_at)
    assert kinds(examined("--older-than", "0.5")["leftovers"]) == ["abandoned attempt"]


def test_a_run_that_commits_while_the_doctor_looks_keeps_its_attempt(patient, monkeypatch):
    store, path = store_of(patient, "datasets"), f"{SCORING.attempt(RUN)}/predictions.parquet"
    begin(patient)
    outputs = {"predictions": Output(path=path, sha256=sha256(b"half").hexdigest(), size=4)}
    key, times = {"family": "topics", "cycle": CYCLE, "stage": "scoring"}, {"started_at": "", "ended_at": ""}
    real = leftovers.runs_at_work

    def ends_first(logs, attempts, patience):
        if log_length(store, SCORING) == 1:
            commit(store, Manifest(run_id=RUN, outputs=outputs, **key, **times), 1)
            record_end(logs, RUN, None)
        return real(logs, attempts, patience)

    monkeypatch.setattr(leftovers, "runs_at_work", ends_first)
    found = examined("--fix")
    assert (found["is_clean"], found["removed"]) == (True, [])
    assert store.exists(path)


def test_a_model_that_nothing_refers_to_is_removed(patient):
    store = store_of(patient, "models")
    store.write("topics/by_digest/aa/model.safetensors", b"x")
    store.write("topics/by_digest/bb/config.json", b"{}")
    found = examined("--fix")
    assert [(problem["kind"], problem["path"]) for problem in found["removed"]] == [
        ("unreferenced model", "topics/by_digest/aa"),
        ("unreferenced model", "topics/by_digest/bb"),
    ]
    assert "incomplete" in found["removed"][0]["detail"]
    assert found["is_clean"]
    assert not store.list("topics/by_digest/aa")


CHECKPOINT = "checkpoints/aa/step-000000003/state.json"


def test_checkpoints_of_a_training_that_is_committed_are_removed(patient):
    # A run that is killed between its commit and their removal leaves them.
    store = store_of(patient, "models")
    store.write(f"topics/{CYCLE}/training/{CHECKPOINT}", b"{}")
    found = examined("--fix")
    assert [(problem["kind"], problem["path"]) for problem in found["removed"]] == [
        ("finished checkpoints", f"topics/{CYCLE}/training/checkpoints")
    ]
    assert found["is_clean"]
    assert not store.list(f"topics/{CYCLE}/training/checkpoints")


def test_checkpoints_that_a_training_will_go_on_from_are_kept(patient):
    store_of(patient, "models").write(f"topics/2027-01/training/{CHECKPOINT}", b"{}")
    assert examined("--fix")["is_clean"]
    assert store_of(patient, "models").list("topics/2027-01/training/checkpoints")


def test_models_and_checkpoints_are_left_alone_while_a_run_is_at_work(patient):
    store_of(patient, "models").write(f"topics/{CYCLE}/training/{CHECKPOINT}", b"{}")
    store_of(patient, "models").write("topics/by_digest/aa/model.safetensors", b"x")
    begin(patient)
    found = examined("--fix")
    assert (found["leftovers"], found["removed"]) == ([], [])
    assert RUN in found["notes"][0]


PART = "attempts/parts-0123456789abcdef/predictions.00000-0123456789ab.parquet"


def test_parts_that_a_scoring_will_go_on_from_are_kept(patient):
    store_of(patient, "datasets").write(f"topics/2027-01/scoring/{PART}", b"part")
    found = examined("--fix")
    assert (found["is_clean"], found["removed"]) == (True, [])
    assert store_of(patient, "datasets").exists(f"topics/2027-01/scoring/{PART}")


def test_parts_that_no_entry_of_a_committed_scoring_refers_to_are_removed(patient):
    store_of(patient, "datasets").write(f"topics/{CYCLE}/scoring/{PART}", b"part")
    found = examined("--fix")
    assert [(problem["kind"], problem["path"]) for problem in found["removed"]] == [
        ("superseded parts", f"topics/{CYCLE}/scoring/attempts/parts-0123456789abcdef")
    ]
    assert found["is_clean"]


def test_parts_are_left_alone_while_a_run_is_at_work(patient):
    store_of(patient, "datasets").write(f"topics/{CYCLE}/scoring/{PART}", b"part")
    begin(patient)
    assert examined("--fix")["removed"] == []
    assert store_of(patient, "datasets").exists(f"topics/{CYCLE}/scoring/{PART}")


def test_the_model_of_a_superseded_training_is_kept(patient):
    store = store_of(patient, "models")
    log = f"topics/{CYCLE}/training/log"
    entry = json.loads(store.read(f"{log}/000001.json"))
    store.create(f"{log}/000002.json", json.dumps({**entry, "number": 2}).encode())
    for file in store_of(patient, "champion").list("topics/log"):
        (folder_of(patient, "champion") / file).unlink()
    assert examined("--fix")["is_clean"]
    assert store.list("topics/by_digest")


@pytest.mark.parametrize(("hours", "removed"), [(1, []), (30, ["unfinished write"])], ids=["young", "old"])
def test_an_unfinished_write_is_given_a_day(patient, hours, removed):
    unfinished = folder_of(patient, "traffic") / CYCLE / "pages" / ".0002-x.parquet.abc.part"
    unfinished.write_bytes(b"half")
    then = (datetime.now(UTC) - timedelta(hours=hours)).timestamp()
    os.utime(unfinished, (then, then))
    found = examined("--fix")
    assert kinds(found["removed"]) == removed
    assert found["is_clean"]
    assert unfinished.exists() == (not removed)


def test_a_young_unfinished_write_keeps_no_old_one_from_being_removed(patient):
    folder = folder_of(patient, "traffic") / CYCLE / "pages"
    then = (datetime.now(UTC) - timedelta(hours=30)).timestamp()
    for name in ("old", "young"):
        (folder / f".{name}.parquet.abc.part").write_bytes(b"half")
    os.utime(folder / ".old.parquet.abc.part", (then, then))
    found = examined("--fix")
    assert (kinds(found["removed"]), found["leftovers"]) == (["unfinished write"], [])
    assert [leftover.path for leftover in LocalStore(folder).leftovers()] == [".young.parquet.abc.part"]


def test_every_removal_is_in_the_audit_log(patient):
    store_of(patient, "datasets").write(f"{SCORING.attempt(RUN)}/predictions.parquet", b"half")
    examined()
    (line,) = last_lines(store_of(patient, "logs"), 1)
    assert line.action == "commit"
    examined("--fix")
    (line,) = last_lines(store_of(patient, "logs"), 1)
    expected = {"data_class": "datasets", "path": SCORING.attempt(RUN), "removed": "abandoned attempt"}
    assert (line.action, line.subject) == ("repair", expected)


def test_fixing_leaves_the_state_as_it_was(patient):
    before, files = patient.state(), files_of(patient)
    store_of(patient, "datasets").write(f"{SCORING.attempt(RUN)}/predictions.parquet", b"half")
    store_of(patient, "models").write("topics/by_digest/aa/model.safetensors", b"x")
    assert len(examined("--fix")["removed"]) == 2
    assert patient.state() == before
    assert files_of(patient) == files


def one(project, data_class, pattern):
    return next(iter(sorted(folder_of(project, data_class).glob(pattern))))


def spoil(file):
    file.write_bytes(file.read_bytes() + b" ")


DAMAGE = {
    "a missing output": ("datasets", "topics/*/scoring/attempts/*/predictions.parquet", Path.unlink, "output"),
    "a changed output": ("labels", "topics/*/selection/attempts/*/receipt.json", spoil, "output"),
    "a missing manifest": ("labels", "topics/*/selection/attempts/*/manifest.json", Path.unlink, "manifest"),
    "a changed manifest": ("champion", "topics/*/promotion/attempts/*/manifest.json", spoil, "manifest"),
    "an unreadable entry": ("datasets", "topics/*/scoring/log/000001.json", lambda f: f.write_bytes(b"{"), "log entry"),
    "an entry out of place": (
        "datasets",
        "topics/*/scoring/log/000001.json",
        lambda f: f.with_name("000002.json").write_bytes(f.read_bytes()),
        "log entry",
    ),
    "a missing entry": (
        "datasets",
        "topics/*/scoring/log/000001.json",
        lambda f: f.with_name("000003.json").write_text(json.dumps({**json.loads(f.read_text()), "number": 3})),
        "gap in a log",
    ),
    "a changed sealed batch": ("labels", "topics/*/selection/sealed/batch.parquet", spoil, "sealed batch"),
    "an unreadable champion": ("champion", "topics/log/000001.json", lambda f: f.write_bytes(b"{"), "log entry"),
    "a missing model": ("models", "topics/by_digest/*", shutil.rmtree, "champion"),
    "a changed model": ("models", "topics/by_digest/*/model.safetensors", spoil, "champion"),
    "an incomplete model": ("models", "topics/by_digest/*/config.json", Path.unlink, "champion"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_with_what_to_do_and_nothing_is_removed(patient, name):
    data_class, pattern, harm, kind = DAMAGE[name]
    harm(one(patient, data_class, pattern))
    files = files_of(patient)
    found = examined("--fix")
    assert set(kinds(found["damage"])) == {kind}
    assert all("Restore it" in problem["remedy"] for problem in found["damage"])
    assert found["removed"] == []
    assert files_of(patient) == files


def test_what_an_erasure_changed_is_no_damage(patient):
    receipt = one(patient, "labels", "topics/*/selection/attempts/*/receipt.json")
    before = file_sha256(receipt)
    spoil(receipt)
    path = receipt.relative_to(folder_of(patient, "labels")).as_posix()
    erased = ErasedFile(path=path, sha256_before=before, sha256_after=file_sha256(receipt), rows=1)
    for data_class in ("traffic", "labels"):
        create_tombstone(store_of(patient, data_class), tombstone_of(erased))
    assert examined()["is_clean"]
    spoil(receipt)
    assert kinds(examined()["damage"]) == ["output"]


def test_where_a_tombstone_is_damaged_too_the_changed_file_is_still_named(patient):
    spoil(one(patient, "labels", "topics/*/selection/attempts/*/receipt.json"))
    store_of(patient, "labels").write("erasures/000001.json", b"{")
    changed, tombstone = examined()["damage"]
    assert "erasures/000001.json" in changed["detail"]
    assert (tombstone["kind"], tombstone["path"]) == ("tombstone", "erasures/000001.json")


def test_an_erasure_that_was_killed_before_a_file_is_to_be_finished(patient):
    receipt = one(patient, "labels", "topics/*/selection/attempts/*/receipt.json")
    path, before = receipt.relative_to(folder_of(patient, "labels")).as_posix(), file_sha256(receipt)
    erased = ErasedFile(path=path, sha256_before=before, sha256_after="b" * 64, rows=1)
    for data_class in ("traffic", "labels"):
        create_tombstone(store_of(patient, data_class), tombstone_of(erased))
    found = examined("--fix")
    (problem,) = found["to_finish"]
    assert (problem["kind"], problem["path"], found["damage"]) == ("unfinished erasure", path, [])
    assert "kedro al erase again" in problem["remedy"]
    assert PAGE in problem["remedy"]
    assert "1 to finish" in call(doctor).output


def test_an_erasure_that_was_killed_before_pages_are_refused_everywhere_is_to_be_finished(patient):
    create_tombstone(store_of(patient, "labels"), tombstone_of())
    (problem,) = examined("--quick")["to_finish"]
    assert (problem["data_class"], problem["path"]) == ("traffic", "erasures/000001.json")


def test_a_forged_tombstone_is_found_by_the_check_of_the_audit_log(patient):
    receipt = one(patient, "labels", "topics/*/selection/attempts/*/receipt.json")
    path, before = receipt.relative_to(folder_of(patient, "labels")).as_posix(), file_sha256(receipt)
    spoil(receipt)
    forged = tombstone_of(ErasedFile(path=path, sha256_before=before, sha256_after=file_sha256(receipt), rows=1))
    create_tombstone(store_of(patient, "labels"), forged.model_copy(update={"number": 9}))
    found = json.loads(call(audit, "--verify", "--json").stdout)
    assert [(finding["kind"], finding["path"]) for finding in found["findings"]] == [
        ("unannounced", "erasures/000009.json")
    ]


def test_an_announced_tombstone_is_sound(patient):
    log = AuditLog(store_of(patient, "logs"), "ada")
    for data_class in ("traffic", "labels"):
        log.record("erase", entry_subject(data_class, "erasures/000001.json", to_json(tombstone_of())))
        create_tombstone(store_of(patient, data_class), tombstone_of())
    assert call(audit, "--verify").exit_code == 0
    assert examined()["is_clean"]


def test_a_stage_s_newest_entry_that_was_deleted_is_found(patient):
    one(patient, "datasets", "topics/*/scoring/log/000001.json").unlink()
    found = json.loads(call(audit, "--verify", "--json").stdout)
    path = f"topics/{CYCLE}/scoring/log/000001.json"
    assert [(finding["kind"], finding["path"]) for finding in found["findings"]] == [("vanished", path)]


def test_a_champion_s_newest_entry_that_was_deleted_is_found(patient):
    one(patient, "champion", "topics/log/000001.json").unlink()
    found = json.loads(call(audit, "--verify", "--json").stdout)
    expected = [("vanished", "topics/log/000001.json")]
    assert [(finding["kind"], finding["path"]) for finding in found["findings"]] == expected


def test_a_family_that_is_configured_no_more_is_looked_after_all_the_same(patient):
    patient.only("sentiment")
    spoil(one(patient, "labels", "topics/*/selection/attempts/*/receipt.json"))
    store_of(patient, "datasets").write(f"{SCORING.attempt(RUN)}/predictions.parquet", b"half")
    found = examined()
    assert (kinds(found["damage"]), kinds(found["leftovers"])) == (["output"], ["abandoned attempt"])
    assert found["entries"] == 8
    assert any(note.startswith("topics:") for note in found["notes"])
    checked = call(audit, "--verify")
    assert "topics: in the stores, but not in families.yml" in checked.output
    assert "8 commits checked" in checked.output


def test_models_of_a_family_without_any_log_are_left_alone(patient):
    store_of(patient, "models").write("forgotten/by_digest/aa/config.json", b"{}")
    assert examined("--fix")["is_clean"]
    assert store_of(patient, "models").exists("forgotten/by_digest/aa/config.json")


def test_classes_of_data_that_share_a_root_are_told_apart(patient):
    folder = patient.path / "shared"
    for data_class in CLASSES:
        shutil.copytree(folder_of(patient, data_class), folder, dirs_exist_ok=True)
    patient.configure("globals.yml", {"root": "data/test", "roots": dict.fromkeys(CLASSES, "shared")})
    found = examined()
    assert (found["is_clean"], found["entries"], found["outputs"]) == (True, 8, OUTPUTS)
    assert json.loads(call(audit, "--verify", "--json").stdout)["findings"] == []


class CountsCopies(LocalStore):
    """Counts the local copies that are asked for."""

    copies: ClassVar[list[str]] = []

    def local(self, path):
        self.copies.append(path)
        return super().local(path)


def test_of_small_outputs_no_local_copy_is_made(patient, monkeypatch):
    monkeypatch.setattr(CountsCopies, "copies", [])
    stores = TendedStores.of(patient.loader)
    counting = {name: CountsCopies(store.root) for name, store in stores.by_class.items()}
    assert diagnose(replace(stores, by_class=counting), timedelta(hours=24)).is_clean
    assert all("/by_digest/" in path for path in CountsCopies.copies)


def test_a_large_output_is_hashed_from_a_local_copy(patient, monkeypatch):
    monkeypatch.setattr(damage, "_LARGE", 0)
    spoil(one(patient, "labels", "topics/*/selection/attempts/*/receipt.json"))
    assert kinds(examined()["damage"]) == ["output"]


def test_quick_sees_what_is_missing_and_not_what_was_changed(patient):
    spoil(one(patient, "labels", "topics/*/selection/attempts/*/receipt.json"))
    assert examined("--quick")["is_clean"]
    one(patient, "labels", "topics/*/selection/attempts/*/receipt.json").unlink()
    assert kinds(examined("--quick")["damage"]) == ["output"]


def test_an_attempt_is_kept_where_damage_hides_whether_it_was_committed(patient):
    store_of(patient, "datasets").write(f"{SCORING.attempt(RUN)}/predictions.parquet", b"half")
    one(patient, "datasets", "topics/*/scoring/log/000001.json").write_bytes(b"{")
    found = examined("--fix")
    assert found["removed"] == []
    assert any(SCORING.attempt(RUN) in note for note in found["notes"])
    assert store_of(patient, "datasets").exists(f"{SCORING.attempt(RUN)}/predictions.parquet")


def test_no_model_is_removed_where_damage_hides_what_refers_to_it(patient):
    spoil(one(patient, "models", "topics/*/training/attempts/*/challenger.json"))
    (folder_of(patient, "champion") / "topics/log/000001.json").unlink()
    found = examined("--fix")
    assert kinds(found["damage"]) == ["output"]
    assert found["removed"] == []
    assert store_of(patient, "models").list("topics/by_digest")


def test_the_simpler_model_beside_a_challenger_is_referred_to(patient):
    store, stores = store_of(patient, "models"), TendedStores.of(patient.loader)
    path = f"topics/{CYCLE}/training/attempts/{RUN}/challenger.json"
    data = b'{"model_digest": "aa", "simpler_model": "bb"}'
    store.write(path, data)
    output = Output(path=path, sha256=sha256(data).hexdigest(), size=len(data))
    key, times = {"family": "topics", "cycle": CYCLE, "stage": "training"}, {"started_at": "", "ended_at": ""}
    manifest = Manifest(run_id=RUN, outputs={"challenger": output}, **key, **times)
    commit = StoredCommit("models", f"topics/{CYCLE}/training/log/000001.json", None, manifest)
    assert references(stores, Commits((), (commit,), ()), "topics").stages == {"aa", "bb"}


def test_within_an_experiment_the_doctor_refuses(patient):
    patient.configure("globals.yml", {"root": "data/test", "experiment": "bold"})
    with pytest.raises(ConfigError, match="experiment 'bold'"):
        TendedStores.of(patient.loader)


def test_people_read_what_was_found_and_what_to_do(patient):
    store_of(patient, "datasets").write(f"{SCORING.attempt(RUN)}/predictions.parquet", b"half")
    spoil(one(patient, "labels", "topics/*/selection/sealed/batch.parquet"))
    result = call(doctor)
    assert result.exit_code == 1
    assert f"abandoned attempt datasets/{SCORING.attempt(RUN)}" in result.output
    assert "sealed batch labels/topics/2026-10/selection/sealed/batch.parquet" in result.output
    assert "1 damaged, 1 left over" in result.output
    assert "abandoned attempt" in call(doctor, "--fix").output


def test_the_audit_log_of_a_project_is_shown_checked_and_anchored(patient):
    patient.configure("globals.yml", {"root": "data/test", "audit_anchor": "data/outside"})
    store_of(patient, "datasets").write(f"{SCORING.attempt(RUN)}/predictions.parquet", b"half")
    examined("--fix")
    assert "repair" in call(audit).output
    assert json.loads(call(audit, "--json", "--last", "1").stdout)[0]["action"] == "repair"
    assert "is anchored" in call(audit, "--anchor").output
    assert "nothing new to anchor" in call(audit, "--anchor").output
    lines = folder_of(patient, "logs") / "audit"
    max(lines.iterdir()).unlink()
    result = call(audit, "--verify", "--anchor")
    assert result.exit_code == 1
    assert "an anchor holds their digest" in result.output
    assert "Nothing was anchored" in result.output


def test_a_check_without_an_anchor_says_what_it_cannot_notice(patient):
    checked = call(audit, "--verify")
    assert "rewriting of the whole chain cannot be noticed" in checked.output
    assert json.loads(call(audit, "--verify", "--json").stdout)["anchors"] is None


def test_a_commit_that_no_line_announces_is_found(patient):
    shutil.rmtree(folder_of(patient, "logs") / "audit", ignore_errors=True)
    found = json.loads(call(audit, "--verify", "--json").stdout)
    assert (kinds(found["findings"]), found["commits"]) == (["unannounced"] * 8, 8)


def test_commits_that_are_older_than_the_audit_log_are_adopted_with_a_reason(patient):
    shutil.rmtree(folder_of(patient, "logs") / "audit", ignore_errors=True)
    adopted = call(audit, "--adopt", "copied from the old bucket, see OPS-17")
    assert "8 commits were older than the audit log" in adopted.output
    assert call(audit, "--verify").exit_code == 0
    assert call(audit, "--json", "--last", "1").stdout.count("OPS-17") == 1
    assert json.loads(call(audit, "--adopt", "again", "--json").stdout) == []
    assert call(audit, "--adopt", " ").exit_code == 2
    patient.run("monthly", cycle="2026-11")
    assert call(audit, "--verify").exit_code == 0


def test_what_was_changed_under_a_line_is_not_adopted(patient):
    log = folder_of(patient, "datasets") / SCORING.prefix / "log"
    entry = json.loads((log / "000001.json").read_text())
    (log / "000001.json").write_text(json.dumps({**entry, "manifest_sha256": "d" * 64}))
    (log / "000002.json").write_text(json.dumps({**entry, "number": 2}))
    assert json.loads(call(audit, "--adopt", "why not", "--json").stdout) == []
    assert call(audit, "--verify").exit_code == 1


def test_into_an_audit_log_that_is_not_sound_nothing_is_adopted(patient):
    lines = sorted((folder_of(patient, "logs") / "audit").iterdir())
    lines[1].unlink()
    result = call(audit, "--adopt", "why not")
    assert isinstance(result.exception, StoreError)
    assert "not sound" in str(result.exception)
    assert sorted((folder_of(patient, "logs") / "audit").iterdir()) == [lines[0], *lines[2:]]
