"""Wherever an environment says that everything lies, nothing lies elsewhere."""

import re
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from al_platform.catalog.outputs import StoreDataset
from al_platform.cli import cli
from al_platform.domain.errors import ConfigError
from al_platform.pipeline_registry import register_pipelines
from al_platform.project import EXPERIMENT, project_loader
from al_platform.stages import STAGES
from temporary_project import CYCLE, ROOT, make_project

ENVIRONMENTS = {
    "local": "data",
    "synthetic": "data/synthetic",
    "test": "data/test",
    "s3": "s3://some-bucket/some/prefix",
    "databricks": "/Volumes/some_catalog/some_schema",
}


@pytest.fixture(autouse=True)
def _variables(monkeypatch):
    monkeypatch.setenv("AL_S3_ROOT", "s3://some-bucket/some/prefix/")
    monkeypatch.setenv("AL_UC_CATALOG", "some_catalog")
    monkeypatch.setenv("AL_UC_SCHEMA", "some_schema")


def roots_of(project, env, **parameters):
    """Every place that the catalog of an environment names, by dataset."""
    bootstrap_project(project.path)
    with KedroSession.create(project.path, env=env, runtime_params={"cycle": CYCLE, **parameters}) as session:
        context = session.load_context()
        catalog, loader = context.catalog, context.config_loader
        names = {name for pipeline in register_pipelines().values() for name in pipeline.datasets()}
        datasets = {name: catalog.get(name, fallback_to_runtime_pattern=True) for name in names}
        held = {name: part for name, found in datasets.items() for part in stores_of(found)}
        return {name: store.root for name, store in held.items()}, loader


def stores_of(dataset):
    parts = vars(dataset).values() if isinstance(dataset, StoreDataset) else ()
    return [part for part in parts if hasattr(part, "root") and hasattr(part, "list")]


def test_every_environment_that_ships_is_walked():
    assert {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()} == {*ENVIRONMENTS, "base"}


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_nothing_resolves_outside_the_root(project, env):
    expected = ENVIRONMENTS[env]
    expected = expected if expected.startswith(("s3:", "/")) else str(project.path / expected)
    roots, loader = roots_of(project, env)
    assert {root.startswith(f"{expected}/") for root in roots.values()} == {True}
    assert loader.root("logs") == f"{expected}/logs"
    for stage in STAGES:
        assert roots[f"topics.{stage.report}"] == f"{expected}/{stage.data_class}"


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_an_environment_holds_roots_in_its_globals_alone(env):
    files = [file for file in (ROOT / "conf" / env).rglob("*.yml") if file.name != "globals.yml"]
    assert not [file for file in files if re.search(r"\broots?:", file.read_text())]


def test_a_class_of_data_may_have_a_root_of_its_own(project):
    project.configure("globals.yml", {"root": "s3://one/p", "roots": {"champion": "s3://two/q"}})
    roots, _ = roots_of(project, "test")
    assert roots["topics.promotion_report"] == "s3://two/q"
    assert roots["topics.dataset"] == "s3://one/p/datasets"


def test_a_dbfs_volume_is_taken_as_that_volume(project):
    project.configure("globals.yml", {"root": "dbfs:/Volumes/c/s"})
    roots, _ = roots_of(project, "test")
    assert roots["topics.dataset"] == "/Volumes/c/s/datasets"


@pytest.mark.parametrize("root", ["dbfs:/mnt/al", "/dbfs/mnt/al"])
def test_old_mounts_are_refused_before_anything_runs(project, root):
    project.configure("globals.yml", {"root": root})
    with pytest.raises(ConfigError, match=r"retired.*docs/storage.md"):
        project.run("monthly")
    assert not (project.path / "dbfs:").exists()


def test_an_experiment_reads_production_and_writes_below_its_own_prefix(project):
    roots, loader = roots_of(project, "s3", experiment="bigger-batch")
    own = "s3://some-bucket/some/prefix/experiments/bigger-batch/"
    assert {root.startswith(own) for name, root in roots.items() if name.startswith("topics.")} == {True}
    assert loader.root("models") == {"base": "s3://some-bucket/some/prefix/models", "own": f"{own}models"}
    assert loader.root("logs") == f"{own}logs"


@pytest.mark.parametrize("name", ["../production", "a/b", ""])
def test_an_experiment_cannot_name_another_place(project, name):
    with pytest.raises(ConfigError, match="experiment"):
        roots_of(project, "test", experiment=name)


def test_a_root_that_the_environment_must_give_is_asked_for_by_name(project, monkeypatch):
    monkeypatch.delenv("AL_S3_ROOT")
    with pytest.raises(ConfigError, match=r"AL_S3_ROOT is not set.*s3://my-bucket"):
        roots_of(project, "s3")


def test_every_environment_is_an_overlay_of_a_few_keys():
    for env in ("s3", "databricks"):
        content = yaml.safe_load((Path(ROOT) / "conf" / env / "globals.yml").read_text())
        assert set(content) == {"root", "audit_anchor", *({"engine"} if env == "databricks" else ())}


def test_an_experiment_cannot_touch_the_champion(tmp_path):
    project = make_project(tmp_path / "p")
    project.only("topics")
    project.run("monthly")
    project.run("quarterly")
    before = project.state()
    other = {"experiment": "tiny", "topics": {"training": {"seed": 7}}}
    project.run("quarterly", parameters=other)
    assert project.state() == before
    own = project.path / "data/test/experiments/tiny"
    assert list((own / "models").rglob("challenger.json"))
    assert list((own / "champion").rglob("promotion_report.json"))
    assert not list((own / "labels").rglob("*"))


def test_a_command_looks_at_the_experiment_that_it_is_given(project, monkeypatch):
    monkeypatch.chdir(project.path)
    command = click.Command("asked", callback=lambda: project_loader("test").root("logs"))
    with click.Context(command) as context:
        context.meta[EXPERIMENT] = "tiny"
        assert context.invoke(command) == str(project.path / "data/test/experiments/tiny/logs")
    refused = CliRunner().invoke(cli, ["al", "--experiment", "../production", "status", "--env", "test"])
    assert refused.exit_code == 1
    assert "experiment" in refused.output
