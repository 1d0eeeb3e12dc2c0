"""One whole month and one whole quarter as the exported jobs run them: real notebooks, through Databricks' real SDK.

minilake stands in for a workspace. It runs notebook tasks in processes of their own, in the order of their edges. It
does not run condition tasks and then skips what follows them, so that this test cuts a job at its condition, decides
it by the value that the notebook before it reported, and starts what follows as a job of its own. What a green run does
not show, since minilake leaves it out: retries, task values and other ``{{...}}`` references, clusters with their
variables, libraries, the wheel, schedules, queues, rights. It knows neither ``dbutils`` nor widgets: parameters
arrive as arguments, as on a laptop.
"""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.jobs import JobSettings, Run, RunResultState
from databricks.sdk.service.workspace import ImportFormat, Language
from servers.minilake import MinilakeServer

from al_platform.catalog.champion import champion_log
from al_platform.export.databricks.cli import checked_bundle
from al_platform.stages import STAGES
from al_platform.storage.store import open_store
from temporary_project import CYCLE, ROOT, Project, make_project

pytestmark = pytest.mark.real

NOTEBOOKS = "/Workspace/Shared/al-platform/notebooks"
CONDITION = re.compile(r"\{\{tasks\.(\w+)\.values\.(\w+)\}\}")


class Workspace:
    """minilake with the exported notebooks, whose processes find the project above their working folder."""

    def __init__(self, client: WorkspaceClient) -> None:
        self.client = client
        self.bundle = checked_bundle(ROOT, "databricks")
        for path, content in self.bundle.files().items():
            if path.startswith("notebooks/"):
                self._import(f"{NOTEBOOKS}/{Path(path).name}", content)

    def rendered(self, job: str) -> dict[str, Any]:
        """The exported job as a deployment sends it: with paths in the workspace, and values for variables."""
        variables = self.bundle.settings["variables"]
        text = json.dumps(self.bundle.resources["jobs"][job]).replace("../notebooks", NOTEBOOKS)
        return json.loads(re.sub(r"\$\{var\.(\w+)\}", lambda found: str(variables[found[1]].get("default", "")), text))

    def create(self, job: dict[str, Any]) -> int:
        """Make a job through the SDK."""
        settings = {name: value for name, value in vars(JobSettings.from_dict(job)).items() if value is not None}
        return self.client.jobs.create(**settings).job_id

    def run(self, job: str, family: str) -> tuple[Run, dict[str, str]]:
        """Run an exported job for one family, to its end or to a condition that says no; return what was reported."""
        reported: dict[str, str] = {}
        for condition, part in parts(self.rendered(job)):
            if condition and reported[CONDITION.fullmatch(condition["left"])[2]] != condition["right"]:
                break
            parameters = {"family": family, "cycle": CYCLE, "env": "test"}
            run = self.client.jobs.run_now(self.create(part), job_parameters=parameters).result()
            reported |= self.reported(run)
        return run, reported

    def reported(self, run: Run) -> dict[str, str]:
        """What the notebooks of a run printed as their outcome."""
        return dict(re.findall(r"^(\w+)=(\w+)$", self.logs(run), flags=re.MULTILINE))

    def logs(self, run: Run) -> str:
        return "\n".join(self.client.jobs.get_run_output(task.run_id).logs or "" for task in run.tasks if task.run_id)

    def _import(self, path: str, content: str) -> None:
        self.client.workspace.mkdirs(NOTEBOOKS)
        encoded = base64.b64encode(content.encode()).decode()
        self.client.workspace.import_(
            path, content=encoded, format=ImportFormat.SOURCE, language=Language.PYTHON, overwrite=True
        )


def parts(job: dict[str, Any]) -> Iterator[tuple[dict[str, Any] | None, dict[str, Any]]]:
    """Yield a job cut at its conditions: each part with the condition before it, and edges within the part alone."""
    condition, tasks = None, []
    for task in job["tasks"]:
        if "condition_task" in task:
            yield condition, {**job, "tasks": within(tasks)}
            condition, tasks = task["condition_task"], []
        else:
            tasks.append(task)
    yield condition, {**job, "tasks": within(tasks)}


def within(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    keys = {task["task_key"] for task in tasks}
    return [
        {**task, "depends_on": [edge for edge in task.get("depends_on", []) if edge["task_key"] in keys]}
        for task in tasks
    ]


def states(run: Run) -> dict[str, RunResultState | None]:
    return {task.task_key: task.state.result_state for task in run.tasks}


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
    workspace: Workspace, project: Project
) -> None:
    failed, _ = workspace.run("select", "sentiment")
    assert failed.state.result_state is RunResultState.FAILED
    assert states(failed) == {"scoring": RunResultState.SUCCESS, "selection": RunResultState.FAILED}
    assert "Asked for 100000" in workspace.logs(failed).replace(",", "")

    month = [workspace.run(job, "topics") for job in ("select", "ingest")]
    again, told = workspace.run("ingest", "topics")
    quarter = workspace.run("train", "topics")

    assert [run.state.result_state for run, _ in [*month, quarter]] == [RunResultState.SUCCESS] * 3
    assert month[1][1]["is_new"] == "true"
    assert told["is_new"] == "false"
    assert set(states(again)) == {"annotation_ingest"}
    assert quarter[1]["is_promotion_due"] == "true"
    assert set(states(quarter[0])) == {"promotion"}

    assert {stage.name: project.log_numbers("topics", stage.name) for stage in STAGES} == {
        stage.name: [1] for stage in STAGES
    }
    (entry,) = champion_log(open_store(project.loader.root("champion")), "topics")
    assert entry.cycle == CYCLE
    trained = project.head("topics", "training").outputs["challenger"]
    assert entry.model_digest in open_store(project.loader.root("models")).read(trained.path).decode()
    assert project.head("sentiment", "scoring") is not None
    assert project.head("sentiment", "selection") is None


def test_a_run_for_a_family_that_is_none_fails_and_names_the_known_ones(workspace: Workspace) -> None:
    run, _ = workspace.run("select", "topic")
    assert run.state.result_state is RunResultState.FAILED
    assert "There is no family 'topic'. Known: sentiment, topics." in workspace.logs(run)
