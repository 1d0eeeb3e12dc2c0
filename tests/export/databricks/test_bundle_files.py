"""The files, what each target changes, and the command that writes and compares them."""

import ast

import pytest
import yaml
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project

from al_platform.cli import al
from al_platform.domain.errors import ConfigError
from al_platform.export.databricks.bundle import notebook
from al_platform.export.databricks.check import merged, require_sound
from al_platform.export.databricks.cli import checked_bundle, difference
from al_platform.governance.access import CLASSES
from al_platform.stages import STAGES
from temporary_project import ROOT


def call(folder, *arguments, env="databricks", monkeypatch):
    monkeypatch.chdir(folder)
    bootstrap_project(folder)
    return CliRunner().invoke(al, ["export", "databricks", "--env", env, *arguments])


def rights(changed, kind, name):
    return {found["principal"]: found["privileges"] for found in changed[kind][name]["grants"]}


def test_the_committed_files_are_those_that_are_generated():
    assert difference(ROOT, checked_bundle(ROOT, "databricks").files()) == ""


def test_the_files_do_not_depend_on_who_exports_them(monkeypatch):
    expected = checked_bundle(ROOT, "databricks").files()
    monkeypatch.setenv("AL_UC_CATALOG", "mine")
    monkeypatch.setenv("AL_UC_SCHEMA", "own")
    monkeypatch.setenv("AL_AUDIT_ANCHOR", "s3://anchor/x")
    assert checked_bundle(ROOT, "databricks").files() == expected


def test_check_fails_with_a_difference_and_writing_heals_it(project, monkeypatch):
    assert call(project.path, monkeypatch=monkeypatch).exit_code == 0
    assert call(project.path, "--check", monkeypatch=monkeypatch).exit_code == 0
    job = project.path / "databricks" / "train.yml"
    job.write_text(job.read_text().replace("max_retries: 0", "max_retries: 7"))
    found = call(project.path, "--check", monkeypatch=monkeypatch)
    assert found.exit_code != 0
    assert "-        max_retries: 7" in found.output
    assert "+        max_retries: 0" in found.output
    assert call(project.path, monkeypatch=monkeypatch).exit_code == 0
    assert call(project.path, "--check", monkeypatch=monkeypatch).exit_code == 0


def test_a_job_that_is_generated_no_more_goes_and_a_users_own_file_stays(project, monkeypatch):
    project.env = "databricks"
    project.configure("export.yml", {"orchestrator": "databricks"})
    call(project.path, monkeypatch=monkeypatch)
    own = project.path / "databricks" / "own.yml"
    own.write_text("resources: {}\n")
    assert (project.path / "databricks" / "monthly.yml").exists()
    project.configure("export.yml", {"orchestrator": "airflow"})
    assert call(project.path, "--check", monkeypatch=monkeypatch).exit_code != 0
    call(project.path, monkeypatch=monkeypatch)
    assert not (project.path / "databricks" / "monthly.yml").exists()
    assert own.exists()


def test_an_environment_whose_data_lies_on_a_local_disk_is_refused(project, monkeypatch):
    found = call(project.path, env="test", monkeypatch=monkeypatch)
    assert found.exit_code != 0
    assert "whose root is no volume" in found.output


def test_an_unknown_environment_is_named(project, monkeypatch):
    found = call(project.path, env="databrick", monkeypatch=monkeypatch)
    assert found.exit_code != 0
    assert "Did you mean 'databricks'?" in found.output


def test_an_unknown_option_is_named(project, monkeypatch):
    project.env = "databricks"
    project.configure("export.yml", {"databricks": {"runtimes": {"cpus": "x"}}})
    found = call(project.path, monkeypatch=monkeypatch)
    assert found.exit_code != 0
    assert "cpus is not a parameter" in found.output


def test_a_permission_for_a_role_that_is_none_is_named(make):
    with pytest.raises(ConfigError, match=r"names the role 'operators'.*Did you mean 'operator'\?"):
        make({"permissions": {"operators": "CAN_VIEW"}}).files()


def test_every_notebook_is_in_databricks_source_format_and_calls_its_stage(under_airflow):
    files = under_airflow.files()
    for stage in STAGES:
        text = files[f"notebooks/{stage.name}.py"]
        assert text == notebook(stage.name)
        assert text.startswith("# Databricks notebook source\n")
        call = ast.parse(text).body[-1].value
        assert [argument.value for argument in call.args[:1]] == [stage.name]


def test_all_that_databricks_yml_includes_is_there_and_every_variable_has_a_value_in_dev(under_airflow):
    settings = yaml.safe_load(under_airflow.files()["databricks.yml"])
    assert settings["include"] == ["databricks/*.yml"]
    given = settings["targets"]["dev"]["variables"].keys()
    assert {name for name, found in settings["variables"].items() if "default" not in found} == given
    assert "service_principal" not in settings["targets"]["prod"]["variables"]


def test_dev_is_each_users_own_and_others_run_as_a_service_principal(under_airflow):
    targets = under_airflow.settings["targets"]
    assert targets["dev"]["mode"] == "development"
    assert targets["dev"]["default"] is True
    assert "${workspace.current_user.short_name}" in targets["dev"]["variables"]["secret_scope"]
    assert under_airflow.changes["dev"] == {}
    for name in ("staging", "prod"):
        assert targets[name]["run_as"] == {"service_principal_name": "${var.service_principal}"}
        assert targets[name]["workspace"]["root_path"].startswith("/Workspace/Users/${var.service_principal}/")
    assert targets["staging"]["presets"] == {"trigger_pause_status": "PAUSED"}
    assert "presets" not in targets["prod"]


def test_jobs_of_staging_and_prod_may_share_a_workspace(under_airflow):
    targets = under_airflow.settings["targets"]
    assert targets["staging"]["variables"]["prefix"] == "al-platform-staging"
    assert "prefix" not in targets["prod"]["variables"]
    assert under_airflow.settings["variables"]["prefix"] == {"default": "al-platform"}
    assert under_airflow.resources["jobs"]["train"]["name"] == "${var.prefix}-train"


def test_each_class_of_data_has_a_volume_and_roles_have_the_rights_that_governance_derives(under_airflow):
    volumes = under_airflow.resources["volumes"]
    assert volumes.keys() == {*CLASSES, "experiments"}
    assert {volume["schema_name"] for volume in volumes.values()} == {"${resources.schemas.al_platform.name}"}
    prod = under_airflow.changes["prod"]
    champion = rights(prod, "volumes", "champion")
    writers = {group for group, privileges in champion.items() if "WRITE_VOLUME" in privileges}
    assert writers == {"al-platform-promotion", "al-platform-eraser"}
    assert rights(prod, "volumes", "labels")["al-platform-training"] == ["READ_VOLUME"]
    assert "al-platform-reader" not in rights(prod, "volumes", "traffic")
    assert rights(prod, "schemas", "al_platform")["al-platform-reader"] == ["USE_SCHEMA"]


def test_production_volumes_lie_on_the_users_bucket_and_are_not_destroyed_with_the_bundle(under_airflow):
    volume = merged(under_airflow.resources["volumes"]["labels"], under_airflow.changes["prod"]["volumes"]["labels"])
    assert volume["volume_type"] == "EXTERNAL"
    assert volume["storage_location"] == "${var.storage_root}/labels"
    assert volume["lifecycle"] == {"prevent_destroy": True}
    assert under_airflow.resources["volumes"]["labels"]["volume_type"] == "MANAGED"


def test_a_target_may_take_its_notebooks_from_the_commit_that_is_deployed(make):
    targets = {
        "dev": {"mode": "development", "catalog": "d", "has_external_volumes": False},
        "prod": {"catalog": "p", "source": "git"},
    }
    bundle = make({"targets": targets}, orchestrator="databricks")
    require_sound(bundle.rendered)
    job = merged(bundle.resources["jobs"]["train"], bundle.changes["prod"]["jobs"]["train"])
    assert job["git_source"]["git_commit"] == "${var.git_commit}"
    assert bundle.settings["variables"]["git_commit"] == {"default": "${bundle.git.commit}"}
    training = next(task for task in job["tasks"] if task["task_key"] == "training")
    assert training["notebook_task"] == {"notebook_path": "notebooks/training", "source": "GIT"}
    assert training["job_cluster_key"] == "gpu_training"
    assert "git_source" not in bundle.changes["prod"]["jobs"]["monthly"]
    assert bundle.resources["jobs"]["train"]["tasks"][0]["notebook_task"]["source"] == "WORKSPACE"


def test_operators_may_start_jobs_and_readers_see_them(under_airflow):
    for changed in under_airflow.changes["prod"]["jobs"].values():
        assert changed["permissions"] == [
            {"group_name": "al-platform-operator", "level": "CAN_MANAGE_RUN"},
            {"group_name": "al-platform-reader", "level": "CAN_VIEW"},
        ]


def test_production_scores_and_trains_a_transformer_on_the_machines_that_have_gpus(under_airflow):
    parameters = yaml.safe_load((ROOT / "conf/databricks/parameters/family_defaults.yml").read_text())
    assert parameters["family_defaults"]["model"]["encoder"] == "transformer"
    for job, stage in (("select", "scoring"), ("train", "training"), ("train", "evaluation")):
        task = next(t for t in under_airflow.resources["jobs"][job]["tasks"] if t["task_key"] == stage)
        assert task["job_cluster_key"].startswith("gpu_")
        assert any("transformers" in found.get("pypi", {}).get("package", "") for found in task["libraries"])
