"""What Databricks refuses of a job's settings."""

from collections import Counter
from collections.abc import Iterable
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from servers.databricks_jobs.conditions import OPERATORS, RUN_IF
from servers.databricks_jobs.errors import ApiError
from servers.databricks_jobs.references import check_references

_QUARTZ_FIELDS = (6, 7)
_MOST_RUNS = 1000


def kind_of(task: dict[str, Any]) -> str:
    """Return the field that says what a task is, for instance ``notebook_task``.

    Raises:
        ApiError: There is none, or more than one.
    """
    kinds = [name for name in task if name.endswith("_task")]
    if len(kinds) != 1:
        raise ApiError(f"Task {task.get('task_key')!r} must have exactly one task type, found {sorted(kinds)}.")
    return kinds[0]


def check_settings(settings: dict[str, Any]) -> None:
    """Refuse settings that Databricks refuses when a job is created.

    Raises:
        ApiError: With the task and what is wrong.
    """
    tasks = settings.get("tasks") or []
    if any(not task.get("task_key") for task in tasks):
        raise ApiError("Every task needs a task_key.")
    _refuse_repeated((task["task_key"] for task in tasks), "task_key")
    _refuse_repeated(
        (cluster.get("job_cluster_key") for cluster in settings.get("job_clusters") or []), "job_cluster_key"
    )
    _refuse_repeated((parameter.get("name") for parameter in settings.get("parameters") or []), "parameter")
    for task in tasks:
        _check_task(task, settings)
    in_order(tasks)
    check_references(settings)
    _check_schedule(settings.get("schedule"))
    most = settings.get("max_concurrent_runs", 1)
    if not isinstance(most, int) or not 0 <= most <= _MOST_RUNS:
        raise ApiError(f"max_concurrent_runs must lie between 0 and {_MOST_RUNS}, found {most!r}.")


def in_order(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the tasks so that each follows what it depends on.

    Raises:
        ApiError: They depend on each other in a circle.
    """
    placed: dict[str, dict[str, Any]] = {}
    waiting = list(tasks)
    while waiting:
        ready = [task for task in waiting if dependencies(task) <= placed.keys()]
        if not ready:
            raise ApiError(f"Tasks depend on each other in a cycle: {sorted(task['task_key'] for task in waiting)}.")
        placed |= {task["task_key"]: task for task in ready}
        waiting = [task for task in waiting if task["task_key"] not in placed]
    return list(placed.values())


def dependencies(task: dict[str, Any]) -> set[str]:
    """Return the keys of the tasks that a task depends on."""
    return {str(dependency.get("task_key")) for dependency in task.get("depends_on") or []}


def _check_task(task: dict[str, Any], settings: dict[str, Any]) -> None:
    key = task["task_key"]
    kind = kind_of(task)
    by_key = {known["task_key"]: known for known in settings["tasks"]}
    for dependency in task.get("depends_on") or []:
        _check_dependency(key, dependency, by_key)
    if (run_if := task.get("run_if", "ALL_SUCCESS")) not in RUN_IF:
        raise ApiError(f"Task {key!r}: run_if {run_if!r} is not one of {sorted(RUN_IF)}.")
    clusters = {cluster.get("job_cluster_key") for cluster in settings.get("job_clusters") or []}
    if (cluster := task.get("job_cluster_key")) is not None and cluster not in clusters:
        raise ApiError(f"Task {key!r}: job_cluster_key {cluster!r} is not defined in job_clusters {sorted(clusters)}.")
    if kind == "condition_task":
        _check_condition(key, task[kind])


def _check_dependency(key: str, dependency: dict[str, Any], by_key: dict[str, dict[str, Any]]) -> None:
    other = by_key.get(str(dependency.get("task_key")))
    if other is None:
        raise ApiError(f"Task {key!r} depends on {dependency.get('task_key')!r}, which is not a task of this job.")
    if (outcome := dependency.get("outcome")) is None:
        return
    if "condition_task" not in other or outcome not in ("true", "false"):
        raise ApiError(
            f"Task {key!r}: outcome {outcome!r} of {other['task_key']!r} needs a condition task, true or false."
        )


def _check_condition(key: str, condition: dict[str, Any]) -> None:
    if missing := {"left", "op", "right"} - condition.keys():
        raise ApiError(f"Condition task {key!r} lacks {sorted(missing)}.")
    if condition["op"] not in OPERATORS:
        raise ApiError(f"Condition task {key!r}: op {condition['op']!r} is not one of {sorted(OPERATORS)}.")


def _check_schedule(schedule: dict[str, Any] | None) -> None:
    if schedule is None:
        return
    fields = str(schedule.get("quartz_cron_expression", "")).split()
    if len(fields) not in _QUARTZ_FIELDS or "?" not in (fields[3], fields[5]):
        raise ApiError(
            f"Invalid quartz_cron_expression {' '.join(fields)!r}: six or seven fields, one of the days '?'."
        )
    try:
        ZoneInfo(str(schedule.get("timezone_id")))
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ApiError(f"Invalid timezone_id {schedule.get('timezone_id')!r}.") from error


def _refuse_repeated(names: Iterable[str | None], what: str) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise ApiError(f"Duplicate {what} {name!r}.")
