"""The jobs select, ingest and train: one run is for one family, with a notebook task for each stage."""

from databricks.bundles.jobs import (
    ConditionTask,
    ConditionTaskOp,
    Job,
    JobParameterDefinition,
    JobsHealthMetric,
    JobsHealthOperator,
    JobsHealthRule,
    JobsHealthRules,
    NotebookTask,
    QueueSettings,
    Source,
    Task,
    TaskDependency,
)

from al_platform.export.databricks.clusters import TAGS, job_cluster
from al_platform.export.databricks.libraries import libraries
from al_platform.export.databricks.names import JOB_PREFIX, variable
from al_platform.export.options import ExportOptions
from al_platform.export.outcome import CONDITIONS
from al_platform.export.stage_list import StageTask
from al_platform.stages import JOBS

START_MINUTES = 30
"""Spared for machines to start, in every run."""

TRIGGERED = "{{job.trigger.time.iso_date}}"
"""The day a run was due, UTC; a repair months later keeps it."""

_CONDITION_KEYS = {"is_new": "is_new", "is_promotion_due": "gate"}


def stage_jobs(tasks: tuple[StageTask, ...], options: ExportOptions) -> dict[str, Job]:
    """Return the jobs by name, from the stage list of all families."""
    families = {task.family for task in tasks}
    first = next(iter(tasks)).family
    return {
        job: _job(job, [task for task in tasks if task.job == job and task.family == first], len(families), options)
        for job in JOBS
    }


def timeout_minutes(tasks: list[StageTask], options: ExportOptions) -> int:
    """Return how long a run of these stages may take: one after the other, with every further try."""
    waits = options.databricks.retry_wait_minutes
    return START_MINUTES + sum(
        (1 + _retries(task, options)) * task.timeout_minutes + _retries(task, options) * waits for task in tasks
    )


def slow_rule(minutes: float) -> JobsHealthRules:
    """Return the rule by which a run that lasts longer counts as slow."""
    rule = JobsHealthRule(
        metric=JobsHealthMetric.RUN_DURATION_SECONDS, op=JobsHealthOperator.GREATER_THAN, value=round(minutes * 60)
    )
    return JobsHealthRules(rules=[rule])


def _job(name: str, tasks: list[StageTask], n_families: int, options: ExportOptions) -> Job:
    computes = dict.fromkeys(task.compute for task in tasks)
    return Job(
        name=f"{JOB_PREFIX}{name}",
        description=f"{', '.join(task.stage for task in tasks)}: one family and cycle a run",
        parameters=[*parameters()],
        tasks=[made for task in tasks for made in _with_condition(task, tasks, options)],
        job_clusters=[job_cluster(compute, options.databricks) for compute in computes],
        # Every family at once; a run that comes on top waits.
        max_concurrent_runs=n_families,
        queue=QueueSettings(enabled=True),
        timeout_seconds=60 * timeout_minutes(tasks, options),
        health=slow_rule(sum(task.timeout_minutes for task in tasks)),
        tags={**TAGS, "git_commit": variable("git_commit")},
    )


def parameters(*, has_family: bool = True) -> list[JobParameterDefinition]:
    """Return a job's parameters; an empty cycle stands for the last complete month before ``triggered``."""
    family = {"family": ""} if has_family else {}
    defaults = {**family, "cycle": "", "env": variable("env"), "triggered": TRIGGERED}
    return [JobParameterDefinition(name=name, default=default) for name, default in defaults.items()]


def _with_condition(task: StageTask, tasks: list[StageTask], options: ExportOptions) -> list[Task]:
    found = [_stage_task(task, options)]
    if task.stage in CONDITIONS and any(task.stage in other.needs for other in tasks):
        value = CONDITIONS[task.stage]
        reference = f"{{{{tasks.{task.stage}.values.{value}}}}}"
        condition = ConditionTask(left=reference, op=ConditionTaskOp.EQUAL_TO, right="true")
        after = [TaskDependency(task_key=task.stage)]
        found.append(Task(task_key=_CONDITION_KEYS[value], condition_task=condition, depends_on=[*after]))
    return found


def _stage_task(task: StageTask, options: ExportOptions) -> Task:
    retries = _retries(task, options)
    return Task(
        task_key=task.stage,
        notebook_task=NotebookTask(notebook_path=f"../notebooks/{task.stage}.py", source=Source.WORKSPACE),
        job_cluster_key=task.compute,
        libraries=[*libraries(options.databricks.extras)],
        depends_on=[_dependency(stage) for stage in task.needs],
        max_retries=retries,
        min_retry_interval_millis=options.databricks.retry_wait_minutes * 60_000 if retries else None,
        # A stage that took too long once takes too long again.
        retry_on_timeout=False,
        timeout_seconds=task.timeout_minutes * 60,
    )


def _retries(task: StageTask, options: ExportOptions) -> int:
    return task.retries if options.orchestrator == "databricks" else 0


def _dependency(stage: str) -> TaskDependency:
    if stage in CONDITIONS:
        return TaskDependency(task_key=_CONDITION_KEYS[CONDITIONS[stage]], outcome="true")
    return TaskDependency(task_key=stage)
