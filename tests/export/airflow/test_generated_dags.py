"""What is written for Airflow, read as text and as Python; what Airflow makes of it is in ``tests/real``."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from kedro.framework.startup import bootstrap_project

from al_platform.cli import cli
from al_platform.domain.errors import ConfigError
from al_platform.export.airflow.cli import generated
from temporary_project import ROOT, Project

KINDS = ("cpu", "cpu_single", "gpu_scoring", "gpu_training")
CLUSTERS = {name: {"is_single_node": True, "policy_id": None} for name in KINDS}
WHEEL = {"whl": '/Volumes/it\'s/"ours"/al_platform-0.1.0-py3-none-any.whl'}
NOTEBOOK = {"clusters": CLUSTERS, "libraries": [WHEEL]}
NAMES = ("monthly", "ingest", "quarterly")


@pytest.fixture
def files(project: Project) -> Any:
    """Return a function that generates the DAGs of the test environment with these options."""
    bootstrap_project(project.path)

    def generate(**options: Any) -> dict[str, str]:
        project.configure("export.yml", options)
        return generated(project.path, "test")

    return generate


def dag(found: dict[str, str], name: str) -> str:
    return found[f"al_platform_test_{name}_dag.py"]


def test_the_committed_dags_are_what_is_generated_for_databricks() -> None:
    bootstrap_project(ROOT)
    folder = ROOT / "airflow_dags"
    committed = {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if is_source(file)}
    assert committed == generated(ROOT, "databricks")


def is_source(file: Path) -> bool:
    return file.is_file() and "__pycache__" not in file.parts


def imported(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).partition(".")[0]
        elif isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)


@pytest.mark.parametrize("orchestrator", ["airflow", "databricks"])
@pytest.mark.parametrize("flavour", ["workflow", "notebook", "worker"])
def test_nothing_that_airflow_reads_imports_kedro_or_the_project(files: Any, flavour: str, orchestrator: str) -> None:
    options = {"flavour": flavour, "notebook": NOTEBOOK}
    found = files(airflow=options, orchestrator=orchestrator)
    modules = {module for name, text in found.items() if name.endswith(".py") for module in imported(text)}
    assert {"airflow", "al_airflow"} <= modules
    assert not modules & {"kedro", "al_platform"}


def test_each_dag_has_an_id_of_its_own(files: Any) -> None:
    found = files()
    for name in NAMES:
        assert f'dag_id="al-platform-{name}"' in dag(found, name)


def test_where_databricks_schedules_airflow_does_not(files: Any) -> None:
    found = files(orchestrator="databricks", notifications={"emails": ["team@example.org"]})
    for name in NAMES:
        text = dag(found, name)
        assert "schedule=None" in text
        assert '"retries": 0' in text
        assert not [word for word in ("Cron", "deadline", "callback", "example.org", " retries=") if word in text]


def test_where_airflow_schedules_it_retries_and_alerts(files: Any) -> None:
    found = files(orchestrator="airflow", notifications={"emails": ["team@example.org"]})
    for name in NAMES:
        text = dag(found, name)
        assert "schedule=CronTriggerTimetable(" in text
        assert '"on_failure_callback": on_failure(**CHANNELS)' in text
        assert '"emails": ["team@example.org"]' in text
        assert "deadline=late(" in text


def test_an_environment_changes_what_it_names_and_keeps_the_rest(files: Any) -> None:
    monthly = dag(files(schedules={"monthly": "30 4 1 * *"}, airflow={"retry_delay_minutes": 7}), "monthly")
    assert 'CronTriggerTimetable("30 4 1 * *", timezone=TIME_ZONE)' in monthly
    assert 'TIME_ZONE = "UTC"' in monthly
    assert '"retry_delay": timedelta(minutes=7.0)' in monthly
    assert '"max_retry_delay": timedelta(minutes=60.0)' in monthly


def test_a_job_may_take_as_long_as_its_stages_and_is_tried_as_often_as_any_of_them(files: Any) -> None:
    stages = {"training": {"timeout_minutes": 100, "retries": 5}, "evaluation": {"timeout_minutes": 20, "retries": 0}}
    quarterly = dag(files(stages=stages, airflow={"spare_minutes": 10}), "quarterly")
    assert "timedelta(minutes=160)" in quarterly
    assert "retries=5" in quarterly


def test_a_notebooks_cluster_is_written_as_python_writes_it(files: Any) -> None:
    monthly = dag(files(airflow={"flavour": "notebook", "notebook": NOTEBOOK}), "monthly")
    clusters = [
        node.value for node in ast.walk(ast.parse(monthly)) if isinstance(node, ast.keyword) and node.arg == "cluster"
    ]
    assert [ast.literal_eval(cluster) for cluster in clusters] == [CLUSTERS["cpu"]] * 4


def test_a_notebook_without_a_cluster_is_an_error_that_names_it(files: Any) -> None:
    with pytest.raises(ConfigError, match=r"notebook of scoring runs on 'gpu_scoring'.*Known: cpu"):
        files(airflow={"flavour": "notebook", "notebook": {**NOTEBOOK, "clusters": {"cpu": {}}}})


def test_a_notebooks_cluster_installs_what_is_named_and_that_must_be_said(files: Any) -> None:
    monthly = dag(files(airflow={"flavour": "notebook", "notebook": NOTEBOOK}), "monthly")
    assigned = {node.targets[0].id: node.value for node in ast.parse(monthly).body if isinstance(node, ast.Assign)}
    assert ast.literal_eval(assigned["LIBRARIES"]) == [WHEEL]
    with pytest.raises(ConfigError, match=r"airflow\.notebook\.libraries .* does not say where"):
        files(airflow={"flavour": "notebook", "notebook": {"clusters": CLUSTERS}})


def test_the_jobs_that_are_started_are_those_of_a_target(files: Any) -> None:
    assert 'JOBS = "al-platform-staging"\n' in dag(files(airflow={"target": "staging"}), "monthly")


@pytest.mark.parametrize(("target", "what"), [("pord", "Did you mean 'prod'"), ("dev", "carry their user's name")])
def test_a_target_whose_jobs_cannot_be_found_is_named(files: Any, target: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        files(airflow={"target": target})


def test_an_option_that_is_not_known_is_named_with_the_nearest(files: Any) -> None:
    with pytest.raises(ConfigError, match=r"airflow\.is_deferable is not a parameter.*Did you mean 'is_deferrable'"):
        files(airflow={"is_deferable": True})


def export(project: Project, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.chdir(project.path)
    bootstrap_project(project.path)
    return CliRunner().invoke(cli, ["al", "export", "airflow", *arguments])


def test_a_difference_is_shown_and_fails_the_check(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    export(project, monkeypatch, "--env=test")
    assert export(project, monkeypatch, "--env=test", "--check").exit_code == 0
    file = project.path / "airflow_dags" / "al_platform_test_monthly_dag.py"
    file.write_text(file.read_text().replace("retries=2", "retries=9"))
    failed = export(project, monkeypatch, "--env=test", "--check")
    assert failed.exit_code == 1
    assert "-                    retries=9,\n+                    retries=2," in failed.output


def test_dags_of_another_environment_do_not_stay_beside_them(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    export(project, monkeypatch, "--env=test")
    export(project, monkeypatch, "--env=synthetic")
    written = {file.name for file in (project.path / "airflow_dags").glob("*.py")}
    assert written == {f"al_platform_synthetic_{name}_dag.py" for name in NAMES}


def test_an_environment_that_is_not_there_is_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = export(project, monkeypatch, "--env=tset")
    assert failed.exit_code == 1
    assert "There is no environment 'tset'" in failed.output
    assert "Did you mean 'test'?" in failed.output
