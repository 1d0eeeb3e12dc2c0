"""A whole month and a whole quarter on minilake, as a real Airflow starts them: real notebooks, real API calls.

minilake stands in for a workspace. It runs notebook tasks in processes of their own. It does not run condition tasks
and then skips what follows them, so that the DAGs here are of the flavour ``notebook``, whose tasks are single runs;
jobs with their conditions are executed in ``test_databricks_schedule``, on a server of ours. What a green run does not
show, since minilake leaves it out: retries, task values and other ``{{...}}`` references, clusters with their
variables, libraries, the wheel, schedules, queues, rights. It knows neither ``dbutils`` nor widgets: parameters
arrive as arguments, as on a laptop. It does not read a GET's body, in which Airflow's triggerer sends its questions, so
that the worker waits here. Airflow runs the DAGs as ``dag.test`` does, task after task in one process.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.jobs import JobSettings, Run, RunResultState
from databricks.sdk.service.workspace import ImportFormat, Language
from kedro.framework.startup import bootstrap_project
from servers.airflow import AirflowHome, AirflowSession
from servers.airflow_trial import QUICK
from servers.databricks_jobs.bundle import deployed
from servers.minilake import MinilakeServer

from al_platform.catalog.champion import champion_log
from al_platform.export.airflow.cli import generated
from al_platform.export.databricks.cli import checked_bundle
from al_platform.stages import STAGES
from al_platform.storage.store import open_store
from temporary_project import CYCLE, ROOT, Project, make_project

pytestmark = pytest.mark.real

NOTEBOOKS = "/Workspace/Shared/al-platform/notebooks"
MONTHLY = ("scoring", "selection", "annotation_ingest", "preparation")
COMPUTES = ("cpu", "cpu_single", "gpu_scoring", "gpu_training")
CLUSTER = {"spark_version": "17.3.x-cpu-ml-scala2.13", "node_type_id": "m5d.xlarge", "num_workers": 0}


class Workspace:
    """minilake with the exported notebooks, whose processes find the project above their working folder."""

    def __init__(self, client: WorkspaceClient) -> None:
        self.client = client
        self.bundle = checked_bundle(ROOT, "databricks")
        for path, content in self.bundle.files().items():
            if path.startswith("notebooks/"):
                # A workspace knows a notebook by either name; minilake by the one it was given.
                for name in (Path(path).name, Path(path).stem):
                    self._import(f"{NOTEBOOKS}/{name}", content)

    def rendered(self, job: str) -> dict[str, Any]:
        """The exported job as a deployment sends it: with paths in the workspace, and values for variables."""
        text = json.dumps(deployed(self.bundle.resources["jobs"][job], self.bundle.settings))
        return json.loads(text.replace("../notebooks", NOTEBOOKS))

    def create(self, job: dict[str, Any]) -> int:
        """Make a job through the SDK."""
        settings = {name: value for name, value in vars(JobSettings.from_dict(job)).items() if value is not None}
        return self.client.jobs.create(**settings).job_id

    def failures(self) -> list[str]:
        """What the failed runs printed."""
        failed = [run for run in self.client.jobs.list_runs() if run.state.result_state is RunResultState.FAILED]
        return [self.logs(self.client.jobs.get_run(run.run_id)) for run in failed]

    def logs(self, run: Run) -> str:
        return "\n".join(self.client.jobs.get_run_output(task.run_id).logs or "" for task in run.tasks if task.run_id)

    def _import(self, path: str, content: str) -> None:
        self.client.workspace.mkdirs(NOTEBOOKS)
        encoded = base64.b64encode(content.encode()).decode()
        self.client.workspace.import_(
            path, content=encoded, format=ImportFormat.SOURCE, language=Language.PYTHON, overwrite=True
        )


@dataclass
class Airflow:
    """A real Airflow whose connection leads to minilake."""

    home: AirflowHome
    session: AirflowSession

    def use(self, project: Project) -> None:
        """Generate the DAGs, of the flavour whose tasks are single notebooks."""
        notebook = {"folder": NOTEBOOKS, "libraries": [], "clusters": dict.fromkeys(COMPUTES, CLUSTER)}
        options = {**QUICK, "flavour": "notebook", "notebook": notebook}
        stages = {stage.name: {"retries": 0} for stage in STAGES}
        project.configure("export.yml", {"airflow": options, "stages": stages})
        self.home.use(generated(project.path, "test"))

    def run(self, name: str) -> dict[str, Any]:
        """Run a DAG for the cycle."""
        return self.session.run(f"al-platform-{name}", conf={"cycle": CYCLE})


def of_family(run: dict[str, Any], family: str) -> dict[str, str]:
    """Return the state of each stage of a family."""
    parts = {tuple(task_id.split(".")): task["state"] for task_id, task in run["tasks"].items()}
    return {stage: state for (_, of, *rest), state in parts.items() if of == family for stage in rest}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(tmp_path_factory.mktemp("databricks") / "p")
    project.only("topics", "sentiment")
    # More pages than a month has: this family fails, alone.
    project.configure("parameters/sentiment.yml", {"sentiment": {"selection": {"budget": 100_000}}})
    return project


@pytest.fixture(scope="module")
def workspace(project: Project) -> Iterator[Workspace]:
    with MinilakeServer(project.path / "minilake") as server:
        yield Workspace(server.client())


@pytest.fixture(scope="module")
def airflow(workspace: Workspace, project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    address = urlsplit(workspace.client.config.host)
    connection = {"conn_type": "databricks", "host": address.hostname, "schema": "http", "port": address.port}
    variables = {"AIRFLOW_CONN_DATABRICKS_DEFAULT": json.dumps({**connection, "password": MinilakeServer.token})}
    home = AirflowHome(tmp_path_factory.mktemp("airflow"), variables)
    bootstrap_project(project.path)
    with home.session() as session:
        found = Airflow(home, session)
        found.use(project)
        yield found


def test_the_workspace_takes_every_job_through_the_sdk(workspace: Workspace) -> None:
    for job in ("select", "ingest", "train"):
        rendered = workspace.rendered(job)
        kept = workspace.client.jobs.get(workspace.create(rendered)).settings
        # minilake writes one default down, and forgets where a notebook comes from.
        for task in rendered["tasks"]:
            task["run_if"] = "ALL_SUCCESS"
            task.get("notebook_task", {}).pop("source", None)
        assert kept.as_dict() == rendered


def test_a_whole_month_and_a_whole_quarter_end_with_a_champion_while_another_family_fails(
    workspace: Workspace, project: Project, airflow: Airflow
) -> None:
    month = airflow.run("monthly")
    assert month["state"] == "failed"
    assert of_family(month, "topics") == dict.fromkeys(MONTHLY, "success")
    assert of_family(month, "sentiment") == {
        "scoring": "success",
        "selection": "failed",
        "annotation_ingest": "upstream_failed",
        "preparation": "upstream_failed",
    }
    assert any("Asked for 100000" in text.replace(",", "") for text in workspace.failures())

    assert project.head("sentiment", "scoring") is not None
    assert project.head("sentiment", "selection") is None

    project.configure("parameters/sentiment.yml", {})
    project.only("topics")
    airflow.use(project)
    assert [airflow.run(name)["state"] for name in ("ingest", "quarterly")] == ["success"] * 2
    assert {stage.name: project.log_numbers("topics", stage.name) for stage in STAGES} == {
        stage.name: [1] for stage in STAGES
    }
    (entry,) = champion_log(open_store(project.loader.root("champion")), "topics")
    assert entry.cycle == CYCLE
    trained = project.head("topics", "training").outputs["challenger"]
    assert entry.model_digest in open_store(project.loader.root("models")).read(trained.path).decode()


def test_a_run_for_a_family_that_is_none_fails_and_names_the_known_ones(workspace: Workspace) -> None:
    job_id = workspace.create(workspace.rendered("select"))
    parameters = {"family": "topic", "cycle": CYCLE, "env": "test"}
    run = workspace.client.jobs.run_now(job_id, job_parameters=parameters).result()
    assert run.state.result_state is RunResultState.FAILED
    assert "There is no family 'topic'. Known:" in workspace.logs(run)
