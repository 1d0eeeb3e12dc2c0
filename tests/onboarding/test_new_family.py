"""A fourth family: added by one command, found everywhere, removed without a trace."""

import json
import shutil
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project

from al_platform.annotation.label_studio.labelling_config import labelling_config
from al_platform.catalog.labels import labels_folder
from al_platform.catalog.traffic import add_table
from al_platform.cli import al
from al_platform.config import FamilyConfigLoader
from al_platform.domain.cycles import shift_cycle
from al_platform.domain.taxonomy import Taxonomy
from al_platform.onboarding.family import FamilyFiles, taxonomy_of
from al_platform.pipeline_registry import register_pipelines
from al_platform.settings import CONFIG_LOADER_ARGS
from al_platform.sources import SourceOptions, open_source
from al_platform.stages import STAGES
from al_platform.storage.store import open_store
from temporary_project import CYCLE, ROOT, make_project

NEXT = shift_cycle(CYCLE, 1)
LABELS = ("negative", "neutral", "positive")
GENERATED = ("airflow_dags", "databricks", "notebooks")


def git(project, *words):
    user = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    command = ["git", "-C", str(project.path), *user, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def call(project, *words):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.path)
        bootstrap_project(project.path)
        result = CliRunner().invoke(al, list(words))
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def checked_out(path):
    """A project as in a checkout, with all that is generated."""
    project = make_project(path)
    for name in GENERATED:
        shutil.copytree(ROOT / name, project.path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "databricks.yml", project.path)
    (project.path / ".gitignore").write_text("data/\n__pycache__/\n")
    git(project, "init", "--quiet")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message=before")
    return project


def bring_in_pages(project):
    """Months of the synthetic web, whose sentiment is what pages of the new family are labelled with."""
    settings = {"root": "data/test", "traffic": {"source": "imported"}}
    project.configure("globals.yml", settings)
    project.only("tone")
    source = open_source("synthetic", SourceOptions(pages_per_month=300, seed_labels=240))
    for cycle in (CYCLE, NEXT):
        pages = source.pages(cycle)
        names = ["truth_tone" if name == "truth_sentiment" else name for name in pages.column_names]
        add_table(open_store(project.loader.root("traffic")), f"{cycle}/pages", pages.rename_columns(names))
    labels = open_store(project.loader.root("labels"))
    add_table(labels, labels_folder("tone"), source.seed_labels("sentiment"))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project to which the family was added, with two months and a quarter of it; read only."""
    project = checked_out(tmp_path_factory.mktemp("onboarding") / "project")
    project.told = call(project, "new-family", "tone", "--labels=negative,neutral,positive", "--task=single")
    project.changed = git(project, "status", "--porcelain", "--untracked-files=all").splitlines()
    project.difference = git(project, "diff")
    bring_in_pages(project)
    project.run("monthly")
    project.run("quarterly")
    project.run("monthly", cycle=NEXT)
    return project


def test_it_writes_labels_tests_and_a_name_and_no_shared_code(project):
    new = {line[3:] for line in project.changed if line.startswith("??")}
    assert new == {"conf/base/parameters/tone.yml", "tests/families/test_tone.py"}
    edited = {line[3:] for line in project.changed if not line.startswith("??")}
    generated = {name for name in edited if name.startswith(("airflow_dags/al_platform", "databricks/"))}
    assert edited - generated == {"conf/base/families.yml"}


def test_the_list_of_families_keeps_its_comments(project):
    lines = [line for line in project.difference.splitlines() if line[:1] in "+-" and "famil" in line]
    assert "-families: [topics, brand_safety, sentiment]" in lines
    assert "+families: [topics, brand_safety, sentiment, tone]" in lines


def test_it_says_that_the_demo_has_no_answers_for_it(project):
    assert "no answers of tone" in project.told


def test_the_exports_hold_it(project):
    dags = list((project.path / "airflow_dags").glob("*_dag.py"))
    assert dags
    assert all('"tone"' in dag.read_text() for dag in dags)
    # Jobs of the bundle are told the family when they are run: they name none.
    jobs = [project.path / "databricks" / f"{name}.yml" for name in ("select", "ingest", "train")]
    assert all("name: family" in job.read_text() for job in jobs)


def test_its_stages_are_registered(project):
    assert project.loader.families == ["tone"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.path)
        namespaces = {node.namespace for pipeline in register_pipelines().values() for node in pipeline.nodes}
    assert {f"tone.{stage.name}" for stage in STAGES} <= namespaces


def test_two_months_and_a_quarter_of_it_have_run(project):
    for stage in STAGES:
        assert project.head("tone", stage.name) is not None
    assert project.head("tone", "preparation", NEXT) is not None


def test_status_and_dashboard_show_it(project):
    status = json.loads(call(project, "status", "--json", "--env=test"))
    assert status["families"]["tone"]["verdict"] in {"promote", "iterate", "reject"}
    call(project, "dashboard", "--env=test")
    (page,) = (project.path / "data/test/logs/dashboard").glob("index.html")
    assert "tone" in page.read_text()


def test_queries_find_its_runs(project):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(project.path.parent / "cache"))
        found = json.loads(call(project, "query", "--family=tone", "--stage=evaluation", "--json", "--env=test"))
    assert [(run["family"], run["cycle"]) for run in found] == [("tone", CYCLE)]


def test_a_replay_plays_it(project):
    months = [open_source("synthetic", SourceOptions(pages_per_month=300)).pages(cycle) for cycle in (CYCLE, NEXT)]
    archive = project.path / "data" / "archive.parquet"
    pq.write_table(pa.concat_tables(months).select(["page_id", "text", "domain", "truth_sentiment"]), archive)
    size = ("--cycles=1", "--seeds=1", "--strategies=random", "--workers=1", "--start-labels=60", "--measured-pages=50")
    columns = ("--map=values=truth_sentiment", "--id=page_id")
    told = call(project, "replay", "--family=tone", "--env=test", f"--archive={archive}", *columns, *size)
    assert "replays/tone/replay.html" in "".join(told.split())


def test_annotators_are_offered_its_labels(project):
    parameters = project.loader["parameters"]["tone"]
    shown = labelling_config(Taxonomy.model_validate(parameters["taxonomy"]), None)
    assert all(label in shown for label in LABELS)


def test_the_roles_may_write_its_folders(project):
    from al_platform.governance.documents import documents
    from al_platform.governance.options import GovernanceOptions

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AL_S3_ROOT", "s3://bucket/al-platform")
        loader = FamilyConfigLoader(conf_source=str(project.path / "conf"), env="s3", **CONFIG_LOADER_ARGS)
        options = GovernanceOptions.model_validate(loader["governance"])
        assert any("tone/" in text for text in documents(loader, options).values())


def test_kedro_viz_shows_its_datasets(project):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.path)
        assert "tone.labels" in register_pipelines()["monthly"].datasets()


def test_its_own_tests_pass(project, tmp_path):
    project_conf = yaml.safe_load((project.path / "conf/base/families.yml").read_text())
    assert "tone" in project_conf["families"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/families/test_tone.py"]
    done = subprocess.run(command, cwd=project.path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_removed_it_leaves_no_trace(tmp_path):
    project = checked_out(tmp_path / "project")
    call(project, "new-family", "tone", "--labels=good,bad", "--task=multi")
    call(project, "new-family", "tone", "--remove")
    assert git(project, "status", "--porcelain", "--untracked-files=all") == ""


@pytest.mark.parametrize(
    "listed",
    [
        "families: [a, b]\n",
        "# Why.\nfamilies: [a]   # one\n",
        "families:\n  - a\n  - b   # the second\n",
        "families:\n- a\n- b\n",
        "families: [a, b]",
    ],
)
def test_a_list_in_any_form_is_as_it_was_when_the_family_is_gone(tmp_path, listed):
    files = FamilyFiles(tmp_path, "tone")
    files.names.parent.mkdir(parents=True)
    files.names.write_text(listed)
    files.add(taxonomy_of("single", "x,y"))
    assert yaml.safe_load(files.names.read_text())["families"][-1] == "tone"
    files.remove()
    assert files.names.read_text() == listed
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [files.names]


@pytest.mark.parametrize("label", ["yes", "007", "a: b", "ünï", "it's", "#1"])
def test_labels_are_what_was_said_whatever_yaml_makes_of_such_words(tmp_path, label):
    files = FamilyFiles(tmp_path, "tone")
    files.names.parent.mkdir(parents=True)
    files.names.write_text("families: [a]\n")
    files.add(taxonomy_of("single", f"{label},other"))
    written = yaml.safe_load(files.parameters.read_text())["tone"]["taxonomy"]["labels"]
    assert written == [label, "other"]
    compile(files.tests.read_text(), "test", "exec")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["topics", "--labels=a,b"], "There is a family 'topics' already"),
        (["Tone", "--labels=a,b"], "cannot be used"),
        (["cycle", "--labels=a,b"], "cannot be used"),
        (["tone"], "Which labels does it have?"),
        (["tone", "--labels=a"], "at least two to choose from"),
        (["tone", "--labels=a,a"], "labels must be distinct"),
        (["tonic", "--remove"], "There is no family 'tonic'. Known"),
        (["tone", "--labels=a,b", "--env=s3"], "no list of families of its own"),
    ],
)
def test_what_cannot_be_added_or_removed_is_told_and_changes_nothing(tmp_path, words, told):
    project = make_project(tmp_path / "project")
    before = {file: file.read_bytes() for file in project.path.rglob("*") if file.is_file()}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.path)
        result = CliRunner().invoke(al, ["new-family", *words])
    assert result.exit_code != 0
    assert told in " ".join(result.output.split())
    assert {file: file.read_bytes() for file in project.path.rglob("*") if file.is_file()} == before
