"""What is looked at before a bundle is written: all that a workspace would refuse, or worse, accept.

Neither the typed objects nor the bundle's JSON schema follow references: an unknown task, a cycle, a missing cluster
or a schedule that never comes pass both.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any
from zoneinfo import available_timezones

from databricks.bundles.core import Resource
from databricks.bundles.jobs import Job
from databricks.bundles.schemas import Schema
from databricks.bundles.secret_scopes import SecretScope
from databricks.bundles.volumes import Volume

from al_platform.domain.errors import ConfigError, known_names
from al_platform.export.databricks.cron import check_quartz
from al_platform.stages import STAGE

_KINDS: Mapping[str, type[Resource]] = {
    "jobs": Job,
    "schemas": Schema,
    "volumes": Volume,
    "secret_scopes": SecretScope,
}
_NEWER = ("duration_target", "environment_variables", "environment_variables_key")
_WITHOUT_MACHINE = ("condition_task", "run_job_task")
_REFERENCE = re.compile(r"\$\{(var|resources)\.([\w.]+)\}")
_TASK_VALUE = re.compile(r"\{\{tasks\.(\w+)\.values\.\w+\}\}")
_JOB_PARAMETER = re.compile(r"\{\{job\.parameters\.(\w+)\}\}")


@dataclass(frozen=True)
class Rendered:
    """What is checked.

    Attributes:
        resources: By kind and name, as plain values.
        changes: What each target changes in them.
        variables: Names of the bundle's variables.
        families: Names of the model families.
    """

    resources: Mapping[str, Mapping[str, Any]]
    changes: Mapping[str, Mapping[str, Mapping[str, Any]]]
    variables: frozenset[str]
    families: frozenset[str]


def require_sound(rendered: Rendered) -> None:
    """Check a bundle as each target has it.

    Raises:
        ConfigError: Something is wrong; the message lists all that is.
    """
    found = dict.fromkeys(problem for target in rendered.changes for problem in _of_target(rendered, target))
    if found:
        raise ConfigError("The Databricks bundle cannot be deployed:\n" + "\n".join(f"  {line}" for line in found))


def merged(resource: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resource with a target's change, as a bundle merges them: tasks by their key, other lists end to end."""
    result = {**resource}
    for key, value in change.items():
        old = resource.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            result[key] = merged(old, value)
        elif key == "tasks" and old:
            changed = {task["task_key"]: task for task in value}
            result[key] = [merged(task, changed.pop(task["task_key"], {})) for task in old] + [*changed.values()]
        elif isinstance(value, list) and isinstance(old, list):
            result[key] = [*old, *value]
        else:
            result[key] = value
    return result


def _of_target(rendered: Rendered, target: str) -> Iterator[str]:
    changes = rendered.changes[target]
    for kind, name in ((kind, name) for kind, found in changes.items() for name in found):
        if name not in rendered.resources.get(kind, {}):
            yield f"the target {target} changes {kind}.{name}, which is not there"
    resources = {
        kind: {name: merged(resource, changes.get(kind, {}).get(name, {})) for name, resource in found.items()}
        for kind, found in rendered.resources.items()
    }
    for kind, found in resources.items():
        for name, resource in found.items():
            yield from (f"{kind}.{name}: {line}" for line in _of_resource(_KINDS[kind], resource))
            yield from (f"{kind}.{name}: {line}" for line in _references(resource, rendered, resources))
    for name, job in resources["jobs"].items():
        yield from (f"jobs.{name}: {line}" for line in _of_job(job, resources["jobs"], rendered.families))


def _of_resource(kind: type[Any], resource: Mapping[str, Any]) -> Iterator[str]:
    try:
        kept = kind.from_dict(resource).as_dict()
    except (TypeError, ValueError) as error:
        yield str(error)
        return
    if kept != resource:
        yield "it is read back as something else"


def _references(resource: Mapping[str, Any], rendered: Rendered, resources: Mapping[str, Any]) -> Iterator[str]:
    for kind, path in _REFERENCE.findall("\n".join(texts(resource))):
        if kind == "var" and path not in rendered.variables:
            yield f"the variable {path!r} is not declared. {known_names(path, rendered.variables)}"
        if kind == "resources":
            of_kind, name, *_ = path.split(".")
            if name not in resources.get(of_kind, {}):
                yield f"there is no resource {path!r}"


def texts(value: Any) -> Iterator[str]:
    """Yield every text in plain values, keys left out."""
    if isinstance(value, Mapping):
        for part in value.values():
            yield from texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from texts(part)
    elif isinstance(value, str):
        yield value


def _of_job(job: Mapping[str, Any], jobs: Mapping[str, Any], families: frozenset[str]) -> Iterator[str]:
    tasks: list[Mapping[str, Any]] = job.get("tasks", [])
    if newer := [name for name in _NEWER if name in {*job, *(key for task in tasks for key in task)}]:
        yield f"the CLI does not know {', '.join(newer)}"
    yield from _edges(tasks)
    yield from _clusters(job, tasks)
    yield from _schedule(job)
    known = {parameter["name"] for parameter in job.get("parameters", [])}
    for name in _JOB_PARAMETER.findall("\n".join(texts(job))):
        if name not in known:
            yield f"it has no parameter {name!r}. {known_names(name, known)}"
    for task in tasks:
        yield from (f"task {task['task_key']}: {line}" for line in _of_task(task, tasks, jobs, families))


def _edges(tasks: list[Mapping[str, Any]]) -> Iterator[str]:
    keys = [task["task_key"] for task in tasks]
    for key in sorted({key for key in keys if keys.count(key) > 1}):
        yield f"two tasks are called {key!r}"
    before = {task["task_key"]: [edge["task_key"] for edge in task.get("depends_on", [])] for task in tasks}
    for key, needed in before.items():
        for other in {*needed} - {*keys}:
            yield f"task {key} depends on {other!r}, which is not there. {known_names(other, keys)}"
    try:
        TopologicalSorter(before).prepare()
    except CycleError as error:
        yield f"tasks wait for each other: {' -> '.join(error.args[1])}"


def _clusters(job: Mapping[str, Any], tasks: list[Mapping[str, Any]]) -> Iterator[str]:
    clusters = {found["job_cluster_key"]: found.get("new_cluster", {}) for found in job.get("job_clusters", [])}
    used = {task["job_cluster_key"] for task in tasks if "job_cluster_key" in task}
    for key in sorted(used - clusters.keys()):
        yield f"there is no job cluster {key!r}. {known_names(key, clusters)}"
    for key in sorted(clusters.keys() - used):
        yield f"no task uses the job cluster {key!r}"
    for key, cluster in clusters.items():
        for field in ("spark_version", "node_type_id"):
            if not cluster.get(field):
                yield f"the job cluster {key!r} has no {field}"
        if ("autoscale" in cluster) == ("num_workers" in cluster):
            yield f"the job cluster {key!r} needs a number of workers or a range of it"


def _schedule(job: Mapping[str, Any]) -> Iterator[str]:
    schedule = job.get("schedule")
    if schedule is None:
        return
    try:
        check_quartz(schedule["quartz_cron_expression"])
    except ConfigError as error:
        yield str(error)
    if (zone := schedule["timezone_id"]) not in available_timezones():
        yield f"there is no time zone {zone!r}. Give an IANA name, for instance Europe/Berlin"


def _of_task(
    task: Mapping[str, Any], tasks: list[Mapping[str, Any]], jobs: Mapping[str, Any], families: frozenset[str]
) -> Iterator[str]:
    kinds = [key for key in task if key.endswith("_task")]
    if len(kinds) != 1:
        yield f"it must be of one kind, found {', '.join(kinds) or 'none'}"
    has_machine = "job_cluster_key" in task
    if has_machine == any(kind in _WITHOUT_MACHINE for kind in kinds):
        yield "it needs no cluster" if has_machine else "it has no cluster"
    if path := task.get("notebook_task", {}).get("notebook_path"):
        stage = path.rpartition("/")[2].removesuffix(".py")
        if stage not in STAGE:
            yield f"there is no notebook {path!r}. {known_names(stage, STAGE)}"
    yield from _outcomes(task, tasks)
    if started := task.get("run_job_task"):
        yield from _started(started, jobs, families)


def _outcomes(task: Mapping[str, Any], tasks: list[Mapping[str, Any]]) -> Iterator[str]:
    by_key = {other["task_key"]: other for other in tasks}
    for edge in task.get("depends_on", []):
        if "outcome" in edge and "condition_task" not in by_key.get(edge["task_key"], {}):
            yield f"it waits for an outcome of {edge['task_key']}, which is no condition"
    upstream = {edge["task_key"] for edge in task.get("depends_on", [])}
    for key in _TASK_VALUE.findall("\n".join(texts(task))):
        if key not in upstream:
            yield f"it reads a value of {key!r}, on which it does not depend"


def _started(started: Mapping[str, Any], jobs: Mapping[str, Any], families: frozenset[str]) -> Iterator[str]:
    name = started["job_id"].removeprefix("${resources.jobs.").removesuffix(".id}")
    known = {parameter["name"] for parameter in jobs.get(name, {}).get("parameters", [])}
    given = started.get("job_parameters", {})
    for parameter in given.keys() - known:
        yield f"the job {name} has no parameter {parameter!r}. {known_names(parameter, known)}"
    if "family" in known and (family := given.get("family", "")) not in families:
        yield f"there is no family {family!r}. {known_names(family, families)}"
