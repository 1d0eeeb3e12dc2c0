"""``{{job.parameters.x}}`` and the other values that Databricks puts into settings when a task runs."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from servers.databricks_jobs.errors import ApiError
from servers.databricks_jobs.model import Attempt, Run

_REFERENCE = re.compile(r"\{\{([^{}]*)\}\}")
_PART = re.compile(r"`([^`]+)`|([^.`\s]+)")
_TIMES: dict[str, Callable[[datetime], Any]] = {
    "iso_weekday": lambda at: at.isoweekday(),
    "is_weekday": lambda at: at.isoweekday() <= 5,  # noqa: PLR2004
    "iso_date": lambda at: at.date().isoformat(),
    "iso_datetime": lambda at: at.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z",
    **{unit: attrgetter(unit) for unit in ("year", "month", "day", "hour", "minute", "second")},
    "timestamp_ms": lambda at: int(at.timestamp() * 1000),
}
_JOB: dict[str, Callable[[Run], Any]] = {
    "id": lambda run: run.job_id,
    "name": lambda run: run.name,
    "run_id": lambda run: run.run_id,
    "repair_count": lambda run: len(run.repairs) - 1,
    "trigger.type": lambda run: run.trigger.lower(),
}
_TASK: dict[str, Callable[[Attempt], Any]] = {
    "name": lambda attempt: attempt.key,
    "run_id": lambda attempt: attempt.run_id,
    "execution_count": lambda attempt: attempt.number + 1,
    "result_state": lambda attempt: attempt.state.result.lower(),
}
_NAMESPACES = ("job", "task", "tasks", "workspace", "secrets")


def resolve(value: Any, run: Run, attempt: Attempt) -> Any:
    """Return settings with every reference replaced by its text; booleans as JSON writes them.

    Raises:
        KeyError: A reference of a known kind names nothing; the message holds it.
    """
    if isinstance(value, dict):
        return {name: resolve(part, run, attempt) for name, part in value.items()}
    if isinstance(value, list):
        return [resolve(part, run, attempt) for part in value]
    if not isinstance(value, str):
        return value
    return _REFERENCE.sub(lambda found: _text(_value(found, run, attempt)), value)


def check_references(settings: dict[str, Any]) -> None:
    """Refuse a reference that belongs to a known namespace and can name nothing.

    Raises:
        ApiError: With the reference.
    """
    keys = {task["task_key"] for task in settings.get("tasks") or []}
    for reference in _references(settings):
        parts = _parts(reference)
        if parts and parts[0] in _NAMESPACES and not _is_possible(parts, keys):
            raise ApiError(f"Reference {{{{{reference}}}}} is invalid.")


def _references(value: Any) -> Iterator[str]:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        yield from _references(part)
    if isinstance(value, str):
        yield from _REFERENCE.findall(value)


def _parts(reference: str) -> list[str]:
    return [quoted or plain for quoted, plain in _PART.findall(reference)]


def _is_possible(parts: list[str], task_keys: set[str]) -> bool:
    match parts:
        case ["job", "parameters", _] | ["secrets", *_] | ["workspace", "id" | "url"]:
            return True
        case ["job", "trigger", "time", argument] | ["job", "start_time", argument]:
            return argument in _TIMES
        case ["job", *rest]:
            return ".".join(rest) in _JOB
        case ["task", name]:
            return name in _TASK
        case ["tasks", key, "values", _]:
            return key in task_keys
        case ["tasks", key, name]:
            return key in task_keys and name in _TASK
    return False


def _value(found: re.Match[str], run: Run, attempt: Attempt) -> Any:
    match _parts(found[1]):
        case ["job", "parameters", name]:
            return resolve(_known(run.parameters, name, found[0]), run, attempt)
        case ["job", "trigger", "time", argument]:
            return _TIMES[argument](run.triggered_at)
        case ["job", "start_time", argument]:
            return _TIMES[argument](datetime.fromtimestamp(run.state.started_ms / 1000, UTC))
        case ["job", *rest]:
            return _JOB[".".join(rest)](run)
        case ["task", name]:
            return _TASK[name](attempt)
        case ["tasks", key, "values", name]:
            return _known(run.latest(key).outcome.values, name, found[0])
        case ["tasks", key, name]:
            return _TASK[name](run.latest(key))
        case ["workspace", "url"]:
            return run.url.removesuffix("#job/runs")
        case ["workspace", "id"]:
            return 1
        case ["secrets", *_]:
            raise KeyError(f"{found[0]}: this server holds no secrets")
    return found[0]


def _known(values: dict[str, Any], name: str, reference: str) -> Any:
    if name not in values:
        raise KeyError(f"{reference} names nothing; there is {sorted(values)}")
    return values[name]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
