"""The Jobs API test server, asked through the SDK that users have."""

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import DatabricksError, InvalidParameterValue, ResourceDoesNotExist, Unauthenticated
from databricks.sdk.service.jobs import JobSettings, Run
from servers.databricks_jobs import DatabricksJobsServer, Outcome
from servers.minilake import MinilakeServer

pytestmark = pytest.mark.real

NOTEBOOK = {"notebook_path": "/Workspace/somewhere/notebooks/print_parameters"}
SOURCE = """# Databricks notebook source
import os
from pathlib import Path

# COMMAND ----------
dbutils.widgets.text("family", "topics")
family = dbutils.widgets.get("family")
print(sorted(dbutils.widgets.getAll().items()), os.environ.get("AL_SEEN"), Path.cwd().name)
dbutils.jobs.taskValues.set(key="is_due", value=dbutils.widgets.getAll().get("due") == "yes")
if family == "broken":
    raise RuntimeError("no such family")
if family == "endless":
    import time
    Path("started").touch()
    time.sleep(60)
    Path("finished").touch()
"""
READER = """# Databricks notebook source
print(dbutils.jobs.taskValues.get(taskKey="a", key="is_due"))
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DatabricksJobsServer]:
    with DatabricksJobsServer(tmp_path, retry_scale=0.001) as running:
        yield running


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "notebooks").mkdir(parents=True)
    (folder / "notebooks" / "print_parameters.py").write_text(SOURCE)
    (folder / "notebooks" / "reader.py").write_text(READER)
    return folder


@pytest.fixture
def executing(tmp_path: Path, project: Path) -> Iterator[DatabricksJobsServer]:
    with DatabricksJobsServer(tmp_path / "server", Path(sys.executable), project) as running:
        yield running


def create(server: DatabricksJobsServer, *tasks: dict[str, Any], **settings: Any) -> int:
    job = {"name": "al-platform-train", "tasks": list(tasks), **settings}
    body = server.client().api_client.do("POST", "/api/2.2/jobs/create", body=job)
    return int(body["job_id"])


def task(key: str, *needs: str, **settings: Any) -> dict[str, Any]:
    kind = {} if any(name.endswith("_task") for name in settings) else {"notebook_task": NOTEBOOK}
    return {"task_key": key, "depends_on": [{"task_key": need} for need in needs], **kind, **settings}


def gate(key: str, left: str, op: str = "EQUAL_TO", right: str = "true", needs: tuple[str, ...] = ()) -> dict[str, Any]:
    return task(key, *needs, condition_task={"left": left, "op": op, "right": right})


def behind(key: str, condition: str, outcome: str) -> dict[str, Any]:
    return {**task(key), "depends_on": [{"task_key": condition, "outcome": outcome}]}


def run(server: DatabricksJobsServer, job_id: int, **parameters: str) -> Run:
    started = server.client().jobs.run_now(job_id, job_parameters=parameters)
    server.wait(started.run_id)
    return server.client().jobs.get_run(started.run_id)


def results(found: Run) -> dict[str, str]:
    """The result of the last attempt at each task."""
    return {str(t.task_key): t.state.result_state.value for t in found.tasks or [] if t.state and t.state.result_state}


def result(found: Run) -> str:
    assert found.state
    assert found.state.result_state
    return found.state.result_state.value


def until(is_met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_met():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def life(client: WorkspaceClient, run_id: int) -> str:
    state = client.jobs.get_run(run_id).state
    assert state
    assert state.life_cycle_state
    return state.life_cycle_state.value


class TestJobs:
    def test_a_job_comes_back_as_it_was_created(self, server: DatabricksJobsServer) -> None:
        job_id = create(server, task("training"), tags={"family": "all"}, max_concurrent_runs=3)
        settings = server.client().jobs.get(job_id).settings
        assert settings == JobSettings.from_dict(
            {
                "name": "al-platform-train",
                "tasks": [task("training")],
                "tags": {"family": "all"},
                "max_concurrent_runs": 3,
            }
        )

    def test_jobs_are_listed_by_name_page_after_page(self, server: DatabricksJobsServer) -> None:
        made = [create(server, task("a")) for _ in range(5)]
        create(server, task("a"), name="another")
        listed = [job.job_id for job in server.client().jobs.list(name="AL-platform-train", limit=2)]
        assert listed == made[::-1]

    def test_an_update_changes_one_task_and_a_reset_all(self, server: DatabricksJobsServer) -> None:
        client = server.client()
        job_id = create(server, task("a"), task("b"), tags={"x": "y"})
        client.jobs.update(job_id, new_settings=JobSettings.from_dict({"tasks": [task("b", max_retries=2)]}))
        settings = client.jobs.get(job_id).settings
        assert settings
        assert [(t.task_key, t.max_retries) for t in settings.tasks or []] == [("a", None), ("b", 2)]
        client.jobs.reset(job_id, new_settings=JobSettings.from_dict({"name": "new", "tasks": [task("c")]}))
        settings = client.jobs.get(job_id).settings
        assert settings
        assert (settings.name, settings.tags) == ("new", None)

    def test_a_deleted_job_does_not_exist(self, server: DatabricksJobsServer) -> None:
        job_id = create(server, task("a"))
        server.client().jobs.delete(job_id)
        with pytest.raises(ResourceDoesNotExist, match=f"Job {job_id} does not exist"):
            server.client().jobs.get(job_id)

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"tasks": [task("a", "missing")]}, "depends on 'missing'"),
            ({"tasks": [task("a", "b"), task("b", "a")]}, "cycle"),
            ({"tasks": [task("a"), task("a")]}, "Duplicate task_key 'a'"),
            ({"tasks": [{"notebook_task": NOTEBOOK}]}, "task_key"),
            ({"tasks": [task("a", job_cluster_key="gpu")]}, "job_cluster_key 'gpu'"),
            ({"tasks": [{"task_key": "a"}]}, "exactly one task type"),
            ({"tasks": [task("a", notebook_task=NOTEBOOK, condition_task={})]}, "exactly one task type"),
            ({"tasks": [task("a", run_if="SOMETIMES")]}, "run_if 'SOMETIMES'"),
            ({"tasks": [task("a"), behind("b", "a", "true")]}, "needs a condition task"),
            ({"tasks": [gate("a", "1", op="ABOUT")]}, "op 'ABOUT'"),
            ({"tasks": [gate("a", "{{tasks.b.values.x}}")]}, "tasks.b.values.x"),
            ({"tasks": [gate("a", "{{job.naem}}")]}, "job.naem"),
            ({"schedule": {"quartz_cron_expression": "0 3 1 * *", "timezone_id": "UTC"}}, "quartz_cron_expression"),
            ({"schedule": {"quartz_cron_expression": "0 0 3 1 * ?", "timezone_id": "Mars"}}, "timezone_id"),
        ],
    )
    def test_settings_that_cannot_run_are_refused(
        self, server: DatabricksJobsServer, settings: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(InvalidParameterValue, match=said):
            create(server, **{"tasks": [task("a")], **settings})
        assert not list(server.client().jobs.list())

    def test_a_wrong_token_and_an_unknown_endpoint_are_refused(self, server: DatabricksJobsServer) -> None:
        with pytest.raises(Unauthenticated):
            WorkspaceClient(host=server.url, token="wrong", auth_type="pat").jobs.run_now(1)
        with pytest.raises(DatabricksError, match="No API found"):
            server.client().api_client.do("GET", "/api/2.0/repos")
        assert server.client().current_user.me().active


class TestRuns:
    def test_a_run_is_pending_then_running_then_ends_and_says_where(self, tmp_path: Path) -> None:
        with DatabricksJobsServer(tmp_path, pause_s=0.5) as server:
            client = server.client()
            server.hold("a")
            started = client.jobs.run_now(create(server, task("a")))
            assert life(client, started.run_id) == "PENDING"
            until(lambda: life(client, started.run_id) == "RUNNING")
            server.release("a")
            found = started.result(timedelta(seconds=30))
        assert result(found) == "SUCCESS"
        assert found.run_page_url == f"{server.url}/#job/runs/{started.run_id}"

    def test_parameters_override_the_job_s_defaults(self, server: DatabricksJobsServer) -> None:
        job_id = create(
            server, task("a"), parameters=[{"name": "family", "default": "x"}, {"name": "env", "default": "e"}]
        )
        run(server, job_id, family="topics")
        assert server.runs()[0].parameters == {"family": "topics", "env": "e"}

    def test_older_kinds_of_parameters_are_refused_beside_job_parameters(self, server: DatabricksJobsServer) -> None:
        job_id = create(server, task("a"), parameters=[{"name": "family", "default": "x"}])
        with pytest.raises(InvalidParameterValue, match="notebook_params"):
            server.client().jobs.run_now(job_id, notebook_params={"family": "topics"})
        assert server.runs() == []

    def test_one_idempotency_token_starts_one_run(self, server: DatabricksJobsServer) -> None:
        job_id = create(server, task("a"))
        first, second = (server.client().jobs.run_now(job_id, idempotency_token="t").run_id for _ in range(2))
        assert first == second
        assert len(server.runs()) == 1
        with pytest.raises(InvalidParameterValue, match="at most 64"):
            server.client().jobs.run_now(job_id, idempotency_token="t" * 65)

    def test_a_run_over_the_limit_is_skipped_or_queued(self, server: DatabricksJobsServer) -> None:
        client = server.client()
        server.hold("a")
        for queue, expected in ((False, "SKIPPED"), (True, "QUEUED")):
            job_id = create(server, task("a"), max_concurrent_runs=1, queue={"enabled": queue})
            client.jobs.run_now(job_id)
            second = client.jobs.run_now(job_id)
            assert life(client, second.run_id) == expected
        server.release()
        assert result(second.result(timedelta(seconds=30))) == "SUCCESS"
        assert [found.state for found in server.runs()].count("MAXIMUM_CONCURRENT_RUNS_REACHED") == 1

    def test_a_cancelled_run_ends_and_starts_nothing_more(self, server: DatabricksJobsServer) -> None:
        server.hold("a")
        started = server.client().jobs.run_now(create(server, task("a"), task("b", "a")))
        until(lambda: life(server.client(), started.run_id) == "RUNNING")
        server.client().jobs.cancel_run(started.run_id)
        server.wait(started.run_id)
        found = server.client().jobs.get_run(started.run_id)
        assert result(found) == "CANCELED"
        assert results(found) == {"a": "CANCELED", "b": "CANCELED"}

    def test_all_runs_of_a_job_are_cancelled_at_once(self, server: DatabricksJobsServer) -> None:
        server.hold("a")
        job_id = create(server, task("a"), max_concurrent_runs=2)
        started = [server.client().jobs.run_now(job_id) for _ in range(2)]
        server.client().jobs.cancel_all_runs(job_id=job_id)
        assert [server.wait(each.run_id).state for each in started] == ["CANCELED", "CANCELED"]

    def test_active_runs_are_listed_newest_first(self, server: DatabricksJobsServer) -> None:
        client = server.client()
        ended = run(server, create(server, task("a")))
        server.hold("a")
        active = [client.jobs.run_now(create(server, task("a"))).run_id for _ in range(2)]
        assert [found.run_id for found in client.jobs.list_runs(active_only=True, limit=1)] == active[::-1]
        assert [found.run_id for found in client.jobs.list_runs(completed_only=True)] == [ended.run_id]

    def test_a_submitted_notebook_runs_once_in_the_older_form_too(self, server: DatabricksJobsServer) -> None:
        older = {"run_name": "scoring", "existing_cluster_id": "c", "notebook_task": NOTEBOOK}
        newer = {"run_name": "once", "tasks": [task("scoring", max_retries=1)]}
        server.script("scoring", ["FAILED", "SUCCESS"])
        states = []
        for body in (older, newer):
            made = server.client().api_client.do("POST", "/api/2.2/jobs/runs/submit", body=body)
            states.append(server.wait(made["run_id"]).state)
        assert states == ["FAILED", "SUCCESS"]

    def test_a_run_goes_on_while_no_client_is_there(self, server: DatabricksJobsServer) -> None:
        server.hold("a")
        started = server.client().jobs.run_now(create(server, task("a")))
        server.release()
        assert server.wait(started.run_id).state == "SUCCESS"
        assert result(server.client().jobs.get_run(started.run_id)) == "SUCCESS"


class TestTasks:
    def test_tasks_run_after_those_they_depend_on(self, executing: DatabricksJobsServer) -> None:
        found = run(executing, create(executing, task("c", "b"), task("b", "a"), task("a")))
        starts = {t.task_key: (t.start_time, t.end_time) for t in found.tasks or []}
        assert starts["a"][1] <= starts["b"][0]
        assert starts["b"][1] <= starts["c"][0]

    def test_behind_a_failed_task_nothing_runs_but_what_waits_for_failures(self, server: DatabricksJobsServer) -> None:
        server.script("a", [Outcome("FAILED", "out of memory")])
        found = run(server, create(
            server, task("a"), task("b", "a"), task("c", "b"), task("mourn", "c", run_if="AT_LEAST_ONE_FAILED"),
            task("report", "a", run_if="ALL_DONE"), task("other"),
        ))  # fmt: skip
        assert results(found) == {
            "a": "FAILED", "b": "UPSTREAM_FAILED", "c": "UPSTREAM_FAILED", "mourn": "SUCCESS", "report": "SUCCESS",
            "other": "SUCCESS",
        }  # fmt: skip
        assert result(found) == "SUCCESS_WITH_FAILURES"

    def test_what_waits_for_failures_is_excluded_without_one(self, server: DatabricksJobsServer) -> None:
        found = run(server, create(server, task("a"), task("mourn", "a", run_if="ALL_FAILED"), task("b", "mourn")))
        assert results(found) == {"a": "SUCCESS", "mourn": "EXCLUDED", "b": "EXCLUDED"}
        assert result(found) == "SUCCESS"

    @pytest.mark.parametrize(("value", "promoted"), [(True, "SUCCESS"), ("true", "SUCCESS"), (False, "EXCLUDED")])
    def test_a_gate_decides_by_a_task_value_as_json_writes_it(
        self, server: DatabricksJobsServer, value: object, promoted: str
    ) -> None:
        server.script("evaluation", [Outcome(values={"is_due": value})])
        found = run(server, create(
            server, task("evaluation"), gate("gate", "{{tasks.evaluation.values.is_due}}", needs=("evaluation",)),
            behind("promotion", "gate", "true"),
        ))  # fmt: skip
        assert results(found)["promotion"] == promoted
        assert result(found) == "SUCCESS"

    def test_a_gate_without_its_value_fails(self, server: DatabricksJobsServer) -> None:
        tasks = [task("a"), gate("gate", "{{tasks.a.values.is_due}}", needs=("a",)), behind("b", "gate", "true")]
        found = run(server, create(server, *tasks))
        assert results(found) == {"a": "SUCCESS", "gate": "FAILED", "b": "UPSTREAM_FAILED"}
        assert "tasks.a.values.is_due" in str(found.state.state_message if found.state else "")

    @pytest.mark.parametrize(
        ("left", "op", "outcome"),
        [
            ("12.0", "EQUAL_TO", "false"),
            ("12.0", "NOT_EQUAL", "true"),
            ("12.0", "GREATER_THAN_OR_EQUAL", "true"),
            ("9", "LESS_THAN", "true"),
        ],
    )
    def test_equality_compares_text_and_order_numbers(
        self, server: DatabricksJobsServer, left: str, op: str, outcome: str
    ) -> None:
        found = run(server, create(server, gate("gate", left, op, "12")))
        assert found.tasks
        assert found.tasks[0].condition_task
        assert found.tasks[0].condition_task.outcome == outcome

    def test_a_failed_task_is_tried_again_within_the_run(self, server: DatabricksJobsServer) -> None:
        server.script("a", ["FAILED", "FAILED", "SUCCESS"])
        found = run(server, create(server, task("a", max_retries=2, min_retry_interval_millis=60_000), task("b", "a")))
        attempts = [(t.task_key, t.attempt_number) for t in found.tasks or []]
        assert attempts == [("a", 0), ("b", 0), ("a", 1), ("a", 2)]
        assert results(found) == {"a": "SUCCESS", "b": "SUCCESS"}

    def test_after_the_last_try_the_task_has_failed_and_says_why(self, server: DatabricksJobsServer) -> None:
        server.script("a", [Outcome("FAILED", "out of memory")])
        found = run(server, create(server, task("a", max_retries=1)))
        assert result(found) == "FAILED"
        assert [t.attempt_number for t in found.tasks or []] == [0, 1]
        output = server.client().jobs.get_run_output((found.tasks or [])[-1].run_id or 0)
        assert output.error == "out of memory"

    def test_a_task_over_its_time_is_stopped_and_not_tried_again(self, server: DatabricksJobsServer) -> None:
        server.hold("a")
        found = run(server, create(server, task("a", timeout_seconds=1, max_retries=3)))
        assert results(found) == {"a": "TIMEDOUT"}
        assert len(found.tasks or []) == 1
        assert result(found) == "FAILED"

    def test_a_run_over_its_time_ends_with_its_tasks(self, server: DatabricksJobsServer) -> None:
        server.hold("a")
        found = run(server, create(server, task("a"), task("b", "a"), timeout_seconds=1))
        assert result(found) == "TIMEDOUT"
        assert results(found)["b"] == "TIMEDOUT"

    @pytest.mark.parametrize("kind", ["python_wheel_task", "for_each_task", "spark_python_task"])
    def test_what_the_server_cannot_run_fails_instead_of_being_skipped(
        self, server: DatabricksJobsServer, kind: str
    ) -> None:
        found = run(server, create(server, task("a", max_retries=5, **{kind: {"inputs": "[]"}})))
        assert result(found) == "FAILED"
        assert f"{kind} is not supported" in str(found.state.state_message if found.state else "")
        assert len(found.tasks or []) == 1

    def test_a_script_may_be_meant_for_one_family(self, server: DatabricksJobsServer) -> None:
        job_id = create(server, task("a"), parameters=[{"name": "family", "default": ""}], max_concurrent_runs=2)
        server.script("al-platform-train", ["FAILED"], family="sentiment")
        assert [result(run(server, job_id, family=name)) for name in ("sentiment", "topics")] == ["FAILED", "SUCCESS"]


class TestJobsInJobs:
    def test_the_other_job_runs_with_the_parameters_and_its_failure_is_the_task_s(
        self, server: DatabricksJobsServer
    ) -> None:
        child = create(server, task("a"), parameters=[{"name": "family", "default": ""}], max_concurrent_runs=2)
        tasks = [
            task(name, run_job_task={"job_id": child, "job_parameters": {"family": name}})
            for name in ("topics", "sentiment")
        ]
        server.script("a", ["FAILED"], family="sentiment")
        parent = run(
            server, create(server, *tasks, name="al-platform-quarterly", parameters=[{"name": "env", "default": "e"}])
        )
        assert results(parent) == {"topics": "SUCCESS", "sentiment": "FAILED"}
        children = [found for found in server.runs() if found.trigger == "RUN_JOB_TASK"]
        assert {(c.parameters["family"], c.parameters["env"], c.state) for c in children} == {
            ("topics", "e", "SUCCESS"), ("sentiment", "e", "FAILED"),
        }  # fmt: skip

    def test_a_parameter_of_the_outer_job_wins_over_the_task_s(self, server: DatabricksJobsServer) -> None:
        child = create(server, task("a"))
        inner = task("run", run_job_task={"job_id": child, "job_parameters": {"cycle": "2026-10"}})
        run(server, create(server, inner, parameters=[{"name": "cycle", "default": "2026-09"}]))
        assert server.runs()[1].parameters["cycle"] == "2026-09"

    def test_the_inner_run_is_cancelled_with_the_outer(self, server: DatabricksJobsServer) -> None:
        server.hold("a")
        child = create(server, task("a"))
        started = server.client().jobs.run_now(create(server, task("run", run_job_task={"job_id": child})))
        until(lambda: len(server.runs()) == 2)
        server.client().jobs.cancel_run(started.run_id)
        server.wait(started.run_id)
        assert [found.state for found in server.runs()] == ["CANCELED", "CANCELED"]


class TestRepair:
    def test_only_what_failed_runs_again_and_sees_the_values_of_before(self, server: DatabricksJobsServer) -> None:
        client = server.client()
        server.script("a", [Outcome(values={"n": 1})])
        server.script("b", ["FAILED", "SUCCESS"])
        tasks = [task("a"), task("b", "a"), gate("gate", "{{tasks.a.values.n}}", right="1", needs=("b",))]
        found = run(server, create(server, *tasks))
        assert results(found) == {"a": "SUCCESS", "b": "FAILED", "gate": "UPSTREAM_FAILED"}
        client.jobs.repair_run(found.run_id or 0, rerun_all_failed_tasks=True).result(timedelta(seconds=30))
        repaired = client.jobs.get_run(found.run_id or 0, include_history=True)
        assert result(repaired) == "SUCCESS"
        assert [(t.task_key, t.attempt_number) for t in repaired.tasks or []] == [
            ("a", 0), ("b", 0), ("gate", 0), ("b", 1), ("gate", 1),
        ]  # fmt: skip
        assert [repair.type.value for repair in repaired.repair_history or [] if repair.type] == ["ORIGINAL", "REPAIR"]

    def test_a_second_repair_needs_the_first_one_s_id(self, server: DatabricksJobsServer) -> None:
        client = server.client()
        server.script("a", ["FAILED"])
        run_id = run(server, create(server, task("a"))).run_id or 0
        first = client.jobs.repair_run(run_id, rerun_tasks=["a"])
        server.wait(run_id)
        with pytest.raises(InvalidParameterValue, match="latest_repair_id"):
            client.jobs.repair_run(run_id, rerun_tasks=["a"])
        client.jobs.repair_run(run_id, rerun_tasks=["a"], latest_repair_id=first.response.repair_id)
        server.wait(run_id)
        assert [t.attempt_number for t in client.jobs.get_run(run_id).tasks or []] == [0, 1, 2]

    def test_a_late_repair_keeps_the_time_of_the_trigger(self, executing: DatabricksJobsServer) -> None:
        notebook = {**NOTEBOOK, "base_parameters": {"at": "{{job.trigger.time.iso_date}}"}}
        schedule = {"quartz_cron_expression": "0 0 3 1 * ?", "timezone_id": "UTC", "pause_status": "UNPAUSED"}
        parameters = [{"name": "family", "default": "broken"}]
        create(executing, task("a", notebook_task=notebook), schedule=schedule, parameters=parameters)
        run_id = executing.trigger("al-platform-train", datetime(2027, 1, 1, 3, 0, 59, tzinfo=UTC))
        executing.wait(run_id)
        executing.client().jobs.repair_run(run_id, rerun_all_failed_tasks=True, job_parameters={"family": "topics"})
        executing.wait(run_id)
        tasks = executing.client().jobs.get_run(run_id).tasks or []
        logs = [executing.client().jobs.get_run_output(found.run_id or 0).logs or "" for found in tasks]
        assert ["('at', '2027-01-01')" in text for text in logs] == [True, True]

    def test_a_paused_schedule_starts_nothing(self, server: DatabricksJobsServer) -> None:
        schedule = {"quartz_cron_expression": "0 0 3 1 * ?", "timezone_id": "UTC", "pause_status": "PAUSED"}
        create(server, task("a"), schedule=schedule)
        with pytest.raises(RuntimeError, match="Nothing is due"):
            server.trigger("al-platform-train", datetime(2027, 1, 1, 3, tzinfo=UTC))
        assert server.runs() == []


class TestNotebooks:
    def test_a_notebook_gets_parameters_environment_and_folder(self, executing: DatabricksJobsServer) -> None:
        cluster = {"job_cluster_key": "cpu", "new_cluster": {"spark_env_vars": {"AL_SEEN": "from the cluster"}}}
        notebook = {**NOTEBOOK, "base_parameters": {"family": "own", "stage": "{{task.name}}"}}
        job_id = create(
            executing, task("scoring", notebook_task=notebook, job_cluster_key="cpu"), job_clusters=[cluster],
            parameters=[{"name": "family", "default": "topics"}],
        )  # fmt: skip
        found = run(executing, job_id)
        output = executing.client().jobs.get_run_output((found.tasks or [])[0].run_id or 0)
        assert output.logs == "[('family', 'topics'), ('stage', 'scoring')] from the cluster notebooks\n"

    @pytest.mark.parametrize(("due", "promoted"), [("yes", "SUCCESS"), ("no", "EXCLUDED")])
    def test_a_gate_reads_what_a_notebook_set(self, executing: DatabricksJobsServer, due: str, promoted: str) -> None:
        tasks = [task("a"), gate("gate", "{{tasks.a.values.is_due}}", needs=("a",)), behind("b", "gate", "true")]
        assert results(run(executing, create(executing, *tasks), due=due))["b"] == promoted

    def test_a_notebook_reads_what_another_set(self, executing: DatabricksJobsServer) -> None:
        reader = task("b", "a", notebook_task={"notebook_path": "../notebooks/reader.py"})
        found = run(executing, create(executing, task("a"), reader), due="yes")
        output = executing.client().jobs.get_run_output((found.tasks or [])[-1].run_id or 0)
        assert output.logs == "True\n"

    def test_a_notebook_that_fails_says_why(self, executing: DatabricksJobsServer) -> None:
        found = run(executing, create(executing, task("a")), family="broken")
        assert result(found) == "FAILED"
        output = executing.client().jobs.get_run_output((found.tasks or [])[0].run_id or 0)
        assert output.error == "RuntimeError: no such family"
        assert "print_parameters.py" in str(output.error_trace)

    def test_a_cancelled_notebook_is_ended(self, executing: DatabricksJobsServer, project: Path) -> None:
        started = executing.client().jobs.run_now(create(executing, task("a")), job_parameters={"family": "endless"})
        until(lambda: (project / "notebooks" / "started").exists())
        began = time.monotonic()
        executing.client().jobs.cancel_run(started.run_id)
        executing.wait(started.run_id)
        assert time.monotonic() - began < 15
        assert not (project / "notebooks" / "finished").exists()

    def test_a_missing_notebook_fails_at_once(self, executing: DatabricksJobsServer) -> None:
        found = run(executing, create(executing, task("a", notebook_task={"notebook_path": "/no/such"}, max_retries=3)))
        assert result(found) == "FAILED"
        assert len(found.tasks or []) == 1


class TestFaults:
    def test_as_many_requests_fail_as_asked_for(self, server: DatabricksJobsServer) -> None:
        job_id = create(server, task("a"))
        server.fault("run-now", 429, times=2, retry_after=0)
        run(server, job_id)
        statuses = [call.status for call in server.calls() if call.path.endswith("run-now")]
        assert statuses == [429, 429, 200]
        assert len(server.runs()) == 1

    def test_an_answer_may_be_lost_after_the_request_took_effect(self, server: DatabricksJobsServer) -> None:
        job_id = create(server, task("a"))
        server.fault("run-now", 503, times=1, is_done=True)
        assert _status(server, "/api/2.2/jobs/run-now", {"job_id": job_id}) == 503
        assert len(server.runs()) == 1


def _status(server: DatabricksJobsServer, path: str, body: dict[str, Any]) -> int:
    headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
    request = urllib.request.Request(server.url + path, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_what_minilake_answers_of_a_run_is_answered_here_too(tmp_path: Path, server: DatabricksJobsServer) -> None:
    shapes = []
    with MinilakeServer(tmp_path / "minilake") as other:
        for client in (other.client(), server.client()):
            settings = {
                "name": "al-platform-train",
                "tasks": [task("a", run_if="ALL_SUCCESS"), gate("gate", "1", right="1", needs=("a",))],
            }
            job_id = client.api_client.do("POST", "/api/2.2/jobs/create", body=settings)["job_id"]
            run_id = client.jobs.run_now(job_id, job_parameters={"family": "topics"}).run_id
            until(lambda client=client, run_id=run_id: life(client, run_id) in ("TERMINATED", "INTERNAL_ERROR"))
            asked = [
                ("jobs/get", {"job_id": job_id}),
                ("jobs/list", {"expand_tasks": "true"}),
                ("jobs/runs/get", {"run_id": run_id}),
            ]
            asked.append(("jobs/runs/list", {"expand_tasks": "true"}))
            shapes.append([client.api_client.do("GET", f"/api/2.2/{path}", query=query) for path, query in asked])
    assert [_missing(*pair) for pair in zip(*shapes, strict=True)] == [set()] * 4


def _missing(theirs: object, ours: object, path: str = "") -> set[str]:
    """The fields that hold something in one answer and lack in the other; of lists their first elements'."""
    if isinstance(theirs, list) and isinstance(ours, list):
        return _missing(theirs[0], ours[0], path) if theirs and ours else set()
    if not isinstance(theirs, dict) or not isinstance(ours, dict):
        return set()
    below = (_missing(theirs[name], ours[name], f"{path}.{name}") for name in theirs.keys() & ours.keys())
    return {f"{path}.{name}" for name in theirs.keys() - ours.keys() if theirs[name]}.union(*below)
