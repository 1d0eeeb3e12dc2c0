"""The Jobs API 2.2, as far as the SDK and Airflow's provider call it: one function for each endpoint."""

from collections.abc import Callable
from typing import Any

from servers.databricks_jobs.conditions import ended
from servers.databricks_jobs.errors import ApiError
from servers.databricks_jobs.execution import Executor
from servers.databricks_jobs.model import USER, Job, Run
from servers.databricks_jobs.settings import check_settings

Body = dict[str, Any]
Endpoint = Callable[[Executor, Body], Body]

_LEGACY = (
    *("notebook_params", "python_params", "python_named_params", "jar_params"),
    *("spark_submit_params", "dbt_commands", "sql_params", "pipeline_params"),
)
_TOKEN_LENGTH = 64
_PAGE = 20
_MOST_JOBS = 100
_MOST_RUNS = 25
_OF_A_TASK = ("new_cluster", "existing_cluster_id", "libraries", "environment_key", "timeout_seconds")


def answer(executor: Executor, method: str, path: str, body: Body) -> Body:
    """Return what an endpoint answers.

    Raises:
        ApiError: It refuses, or there is no such endpoint.
    """
    endpoint = _ENDPOINTS.get((method, path))
    if endpoint is None:
        raise ApiError(f"No API found for '{method} {path}'", 404)
    with executor.lock:
        return endpoint(executor, body)


def _create(executor: Executor, body: Body) -> Body:
    check_settings(body)
    job = Job(executor.new_id(), body)
    executor.jobs[job.job_id] = job
    return {"job_id": job.job_id}


def _get(executor: Executor, body: Body) -> Body:
    return executor.job(_id(body, "job_id")).shown()


def _list(executor: Executor, body: Body) -> Body:
    name = str(body.get("name") or "").lower()
    jobs = [job for job in executor.jobs.values() if not name or str(job.settings.get("name")).lower() == name]
    page, following = _page(list(reversed(jobs)), body, _MOST_JOBS)
    return {"jobs": [job.shown(_is_true(body.get("expand_tasks"))) for job in page], **following}


def _reset(executor: Executor, body: Body) -> Body:
    job = executor.job(_id(body, "job_id"))
    check_settings(body.get("new_settings") or {})
    job.settings = body["new_settings"]
    return {}


def _update(executor: Executor, body: Body) -> Body:
    job = executor.job(_id(body, "job_id"))
    removed = set(body.get("fields_to_remove") or [])
    settings = {name: value for name, value in job.settings.items() if name not in removed}
    for name, value in (body.get("new_settings") or {}).items():
        settings[name] = _merged(settings.get(name) or [], value, name)
    check_settings(settings)
    job.settings = settings
    return {}


def _merged(old: Any, new: Any, name: str) -> Any:
    # An update replaces a field whole, but these two element by element.
    key = {"tasks": "task_key", "job_clusters": "job_cluster_key"}.get(name)
    return new if key is None else list({part[key]: part for part in [*old, *new]}.values())


def _delete(executor: Executor, body: Body) -> Body:
    job = executor.job(_id(body, "job_id"))
    _cancel_all(executor, {"job_id": job.job_id})
    del executor.jobs[job.job_id]
    return {}


def _run_now(executor: Executor, body: Body) -> Body:
    job = executor.job(_id(body, "job_id"))
    parameters = _parameters(body)
    if legacy := [name for name in _LEGACY if body.get(name)]:
        if "job_parameters" in body or job.settings.get("parameters"):
            raise ApiError(f"Parameters {legacy} cannot be used together with job parameters.")
        raise ApiError(f"{legacy}: this server takes job parameters only.", 501, "NOT_IMPLEMENTED")
    if body.get("only"):
        raise ApiError("only: this server runs all tasks of a job.", 501, "NOT_IMPLEMENTED")
    settings = {**job.settings, **({"queue": body["queue"]} if "queue" in body else {})}
    run = executor.start(settings, parameters, job_id=job.job_id, token=_token(body))
    return {"run_id": run.run_id, "number_in_job": run.run_id}


def _submit(executor: Executor, body: Body) -> Body:
    settings = {**body, "name": body.get("run_name") or "Untitled"}
    if not settings.get("tasks"):
        settings["tasks"] = [_single_task(body)]
    check_settings(settings)
    return {"run_id": executor.start(settings, {}, token=_token(body)).run_id}


def _single_task(body: Body) -> Body:
    # The older form, which Airflow's notebook operator still sends: the task's fields lie beside the run's.
    task = {name: value for name, value in body.items() if name.endswith("_task") or name in _OF_A_TASK}
    return {"task_key": body.get("run_name") or "main", **task}


def _get_run(executor: Executor, body: Body) -> Body:
    run_id = _id(body, "run_id")
    if found := executor.attempt(run_id):
        run, attempt = found
        return run.shown_task(attempt)
    return executor.run(run_id).shown(with_history=_is_true(body.get("include_history")))


def _list_runs(executor: Executor, body: Body) -> Body:
    runs = [run for run in reversed(executor.runs.values()) if _is_listed(run, body)]
    page, following = _page(runs, body, _MOST_RUNS)
    return {"runs": [run.shown(_is_true(body.get("expand_tasks"))) for run in page], **following}


def _is_listed(run: Run, body: Body) -> bool:
    if body.get("job_id") and run.job_id != _id(body, "job_id"):
        return False
    if _is_true(body.get("active_only")) and run.state.is_over:
        return False
    return not _is_true(body.get("completed_only")) or run.state.is_over


def _get_output(executor: Executor, body: Body) -> Body:
    run_id = _id(body, "run_id")
    found = executor.attempt(run_id)
    if found is None:
        run = executor.run(run_id)
        if len(run.tasks) != 1:
            raise ApiError(
                "Retrieving the output of runs with multiple tasks is not supported: ask for each task's run."
            )
        found = run, run.attempts[-1]
    run, attempt = found
    output: Body = {"metadata": run.shown_task(attempt), "logs": attempt.outcome.logs, "logs_truncated": False}
    if attempt.child_run_id:
        output["run_job_output"] = {"run_id": attempt.child_run_id}
    if attempt.state.is_over and ended(attempt.state.result) == "failed":
        output |= {"error": attempt.state.message, "error_trace": attempt.outcome.trace or attempt.state.message}
    return output


def _cancel(executor: Executor, body: Body) -> Body:
    run_id = _id(body, "run_id")
    if executor.attempt(run_id):
        raise ApiError(f"Run {run_id} is a task's: this server cancels whole runs.", 501, "NOT_IMPLEMENTED")
    executor.cancel(executor.run(run_id))
    return {}


def _cancel_all(executor: Executor, body: Body) -> Body:
    job_id = _id(body, "job_id")
    for run in list(executor.runs.values()):
        if run.job_id == job_id:
            executor.cancel(run)
    return {}


def _delete_run(executor: Executor, body: Body) -> Body:
    run = executor.run(_id(body, "run_id"))
    if not run.state.is_over:
        raise ApiError(f"Run {run.run_id} is active and cannot be deleted.")
    del executor.runs[run.run_id]
    return {}


def _repair(executor: Executor, body: Body) -> Body:
    run = executor.run(_id(body, "run_id"))
    if not run.state.is_over:
        raise ApiError(f"Run {run.run_id} is active: only an ended run can be repaired.")
    latest = run.repairs[-1].repair_id
    if latest and _id(body, "latest_repair_id") != latest:
        raise ApiError(f"latest_repair_id must be {latest}, found {body['latest_repair_id']!r}.")
    return {"repair_id": executor.repair(run, _repaired(run, body), _parameters(body)).repair_id}


def _repaired(run: Run, body: Body) -> list[str]:
    keys = [task["task_key"] for task in run.tasks]
    if _is_true(body.get("rerun_all_failed_tasks")):
        again = [key for key in keys if ended(run.latest(key).state.result) in ("failed", "canceled")]
    else:
        again = [str(key) for key in body.get("rerun_tasks") or []]
    if not again or (unknown := set(again) - {*keys}):
        raise ApiError(f"Run {run.run_id} has nothing to repair: asked for {sorted(unknown if again else keys)}.")
    return again


def _me(executor: Executor, body: Body) -> Body:
    return {"id": "1", "userName": USER, "displayName": "Tester", "active": True}


def _spark_versions(executor: Executor, body: Body) -> Body:
    return {"versions": []}


def _parameters(body: Body) -> dict[str, str]:
    return {str(name): str(value) for name, value in (body.get("job_parameters") or {}).items()}


def _token(body: Body) -> str:
    token = str(body.get("idempotency_token") or "")
    if len(token) > _TOKEN_LENGTH:
        raise ApiError(f"idempotency_token has {len(token)} characters, at most {_TOKEN_LENGTH} are allowed.")
    return token


def _id(body: Body, name: str) -> int:
    # Airflow's operators send numbers as text.
    text = str(body.get(name, ""))
    if not text.isdigit():
        raise ApiError(f"{name} must be a number, found {body.get(name)!r}.")
    return int(text)


def _page(found: list[Any], body: Body, most: int) -> tuple[list[Any], Body]:
    limit = int(body.get("limit") or _PAGE)
    if not 0 < limit <= most:
        raise ApiError(f"limit must lie between 1 and {most}, found {limit}.")
    start = int(body.get("page_token") or 0)
    stop = start + limit
    return found[start:stop], {"next_page_token": str(stop)} if stop < len(found) else {}


def _is_true(value: Any) -> bool:
    return str(value).lower() == "true"


_ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    ("POST", "/api/2.2/jobs/create"): _create,
    ("GET", "/api/2.2/jobs/get"): _get,
    ("GET", "/api/2.2/jobs/list"): _list,
    ("POST", "/api/2.2/jobs/reset"): _reset,
    ("POST", "/api/2.2/jobs/update"): _update,
    ("POST", "/api/2.2/jobs/delete"): _delete,
    ("POST", "/api/2.2/jobs/run-now"): _run_now,
    ("POST", "/api/2.2/jobs/runs/submit"): _submit,
    ("GET", "/api/2.2/jobs/runs/get"): _get_run,
    ("GET", "/api/2.2/jobs/runs/list"): _list_runs,
    ("GET", "/api/2.2/jobs/runs/get-output"): _get_output,
    ("POST", "/api/2.2/jobs/runs/cancel"): _cancel,
    ("POST", "/api/2.2/jobs/runs/cancel-all"): _cancel_all,
    ("POST", "/api/2.2/jobs/runs/delete"): _delete_run,
    ("POST", "/api/2.2/jobs/runs/repair"): _repair,
    ("GET", "/api/2.0/preview/scim/v2/Me"): _me,
    ("GET", "/api/2.1/clusters/spark-versions"): _spark_versions,
}
