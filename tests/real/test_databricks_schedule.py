"""The exported jobs where Databricks is the scheduler, from the moment a schedule is due, on our Jobs API server.

Notebooks are executed with ``dbutils``; task values, conditions, retries and jobs in jobs are the server's, whose
docstring says what that does not prove. The bundle's variables are filled in here as a deployment does.
"""

import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from servers.databricks_jobs import DatabricksJobsServer, Outcome, StartedRun
from servers.databricks_jobs.bundle import deployed

from al_platform.catalog.champion import champion_log
from al_platform.export.databricks.cli import checked_bundle
from al_platform.storage.store import open_store
from temporary_project import ROOT, Project, make_project

pytestmark = pytest.mark.real

NEW_YEAR = datetime(2027, 1, 1, 0, 30, tzinfo=UTC)
CYCLE = "2026-12"
FAMILIES = ("topics", "sentiment")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DatabricksJobsServer]:
    with DatabricksJobsServer(tmp_path / "server", retry_scale=0.001) as running:
        yield running


def deploy(server: DatabricksJobsServer, project: Project, *families: str) -> None:
    """Create every job of the bundle for these families, those that others start first."""
    project.env = "databricks"
    project.only(*families)
    project.configure("export.yml", {"orchestrator": "databricks"})
    project.env = "test"
    project.only(*families)
    bundle = checked_bundle(project.path, "databricks")
    jobs = dict(bundle.resources["jobs"])
    ids: dict[str, int] = {}
    for key in sorted(jobs, key=lambda key: "schedule" in jobs[key]):
        settings = deployed(jobs[key], bundle.settings, ids, env="test")
        made = server.client().api_client.do("POST", "/api/2.2/jobs/create", body=settings)
        ids[key] = made["job_id"]


def due(server: DatabricksJobsServer, job: str) -> StartedRun:
    """Let a schedule fall due, and return its run when it has ended."""
    return server.wait(server.trigger(f"al-platform-{job}", NEW_YEAR), timeout_s=300)


def results(server: DatabricksJobsServer, job: str, family: str) -> list[tuple[str, str]]:
    """Each attempt at a task of a family's newest run of a job, and its result."""
    runs = [run for run in server.runs() if run.job == f"al-platform-{job}" and run.parameters.get("family") == family]
    tasks = server.client().jobs.get_run(runs[-1].run_id).tasks or []
    return [(str(t.task_key), t.state.result_state.value) for t in tasks if t.state and t.state.result_state]


def test_months_and_quarters_run_from_their_schedules_alone(tmp_path: Path) -> None:
    """The cycle is December: on New Year's day it is the last month that is over."""
    project = make_project(tmp_path / "project")
    shutil.copytree(ROOT / "notebooks", project.path / "notebooks")
    with DatabricksJobsServer(tmp_path / "server", Path(sys.executable), project.path) as server:
        deploy(server, project, "topics")
        states = [due(server, job).state for job in ("monthly", "ingest-weekly", "quarterly")]
        assert states == ["SUCCESS"] * 3, [(call.path, call.body) for call in server.calls()]
        assert ("promotion", "SUCCESS") in results(server, "train", "topics")
        # Nothing came in after the month's own ingest.
        assert results(server, "ingest", "topics")[-2:] == [("is_new", "SUCCESS"), ("preparation", "EXCLUDED")]
    champions = champion_log(open_store(project.loader.root("champion")), "topics")
    assert [entry.cycle for entry in champions] == [CYCLE]


def test_a_family_that_always_fails_is_tried_as_often_as_configured_and_fails_alone(
    server: DatabricksJobsServer, tmp_path: Path
) -> None:
    deploy(server, make_project(tmp_path / "project"), *FAMILIES)
    server.script("annotation_ingest", [Outcome(values={"is_new": "true"})])
    server.script("scoring", ["FAILED"], family="sentiment")
    assert due(server, "monthly").state == "FAILED"
    assert results(server, "select", "sentiment").count(("scoring", "FAILED")) == 3
    assert ("preparation", "SUCCESS") in results(server, "ingest", "topics")
    started = [(run.job, run.parameters.get("family")) for run in server.runs()]
    assert ("al-platform-ingest", "sentiment") not in started


def test_a_stage_that_fails_once_is_tried_again_within_its_run(server: DatabricksJobsServer, tmp_path: Path) -> None:
    deploy(server, make_project(tmp_path / "project"), "topics")
    server.script("annotation_ingest", [Outcome(values={"is_new": "true"})])
    server.script("selection", ["FAILED", "SUCCESS"])
    assert due(server, "monthly").state == "SUCCESS"
    assert [run.job for run in server.runs()] == ["al-platform-monthly", "al-platform-select", "al-platform-ingest"]


def test_a_gate_that_says_no_leaves_promotion_out(server: DatabricksJobsServer, tmp_path: Path) -> None:
    deploy(server, make_project(tmp_path / "project"), "topics")
    server.script("evaluation", [Outcome(values={"verdict": "iterate", "is_promotion_due": "false"})])
    assert due(server, "quarterly").state == "SUCCESS"
    assert results(server, "train", "topics")[-2:] == [("gate", "SUCCESS"), ("promotion", "EXCLUDED")]
