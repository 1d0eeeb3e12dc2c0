"""The scheduled jobs, where Databricks itself is the scheduler: they start select, ingest and train for every family.

Families run side by side, and one that fails stops no other. Stages are tried again one level below, whole runs never.
Each failure alerts once: the task that started the family's run does, and no job below it.
"""

import re

from databricks.bundles.core import Variable
from databricks.bundles.jobs import (
    CronSchedule,
    Job,
    JobEmailNotifications,
    PauseStatus,
    QueueSettings,
    RunJobTask,
    Task,
    TaskDependency,
    TaskEmailNotifications,
    Webhook,
    WebhookNotifications,
)

from al_platform.domain.errors import ConfigError
from al_platform.export.databricks.clusters import TAGS
from al_platform.export.databricks.cron import quartz
from al_platform.export.databricks.jobs import parameters, slow_rule, timeout_minutes
from al_platform.export.databricks.names import JOB_PREFIX, parameter, variable
from al_platform.export.options import ExportOptions, Notifications
from al_platform.export.stage_list import StageTask

# Key of the job, the schedule and deadline it follows, and the jobs that it starts, one after the other.
_SCHEDULED = (
    ("monthly", "monthly", ("select", "ingest")),
    ("ingest_weekly", "ingest", ("ingest",)),
    ("quarterly", "quarterly", ("train",)),
)


def scheduled_jobs(tasks: tuple[StageTask, ...], options: ExportOptions) -> dict[str, Job]:
    """Return the scheduled jobs by name; none where another scheduler starts the runs."""
    if options.orchestrator != "databricks":
        return {}
    return {key: _job(key, cadence, started, tasks, options) for key, cadence, started in _SCHEDULED}


def webhook_variables(options: ExportOptions) -> dict[str, str]:
    """Return the bundle's variable for each webhook, by the name of its notification destination.

    Raises:
        ConfigError: One is an address: Databricks knows them by name only.
    """
    if options.orchestrator != "databricks":
        return {}
    for name in options.notifications.webhooks:
        if "://" in name:
            raise ConfigError(
                f"notifications.webhooks holds the address {name!r}, but Databricks calls notification destinations by "
                f"name. Make one with this address in the workspace's settings, and give its name."
            )
    return {name: "webhook_" + re.sub(r"\W+", "_", name).lower() for name in options.notifications.webhooks}


def _job(key: str, cadence: str, started: tuple[str, ...], tasks: tuple[StageTask, ...], options: ExportOptions) -> Job:
    families = dict.fromkeys(task.family for task in tasks)
    first = next(iter(families))
    chain = [[task for task in tasks if task.family == first and task.job == job] for job in started]
    notified = options.notifications
    return Job(
        name=f"{JOB_PREFIX}{key.replace('_', '-')}",
        description=f"{', then '.join(started)}, for every family",
        parameters=[*parameters(has_family=False)],
        tasks=[task for family in families for task in _of_family(family, started, options)],
        schedule=CronSchedule(
            quartz_cron_expression=quartz(getattr(options.schedules, cadence)),
            timezone_id=options.schedules.time_zone,
            pause_status=PauseStatus.UNPAUSED,
        ),
        max_concurrent_runs=1,
        queue=QueueSettings(enabled=True),
        timeout_seconds=60 * sum(timeout_minutes(stages, options) for stages in chain),
        health=slow_rule(getattr(options.deadlines_hours, cadence) * 60),
        email_notifications=JobEmailNotifications(on_duration_warning_threshold_exceeded=list(notified.emails)),
        webhook_notifications=WebhookNotifications(on_duration_warning_threshold_exceeded=[*_webhooks(options)]),
        tags={**TAGS, "git_commit": variable("git_commit")},
    )


def _of_family(family: str, started: tuple[str, ...], options: ExportOptions) -> list[Task]:
    return [
        Task(
            task_key=f"{job}_{family}",
            run_job_task=RunJobTask(
                job_id=Variable(path=f"resources.jobs.{job}.id", type=int),
                job_parameters={"family": family, **{name: parameter(name) for name in ("cycle", "env", "triggered")}},
            ),
            depends_on=[TaskDependency(task_key=f"{before}_{family}") for before in started[:index][-1:]],
            email_notifications=_emails(options.notifications),
            webhook_notifications=WebhookNotifications(on_failure=[*_webhooks(options)]),
        )
        for index, job in enumerate(started)
    ]


def _emails(notifications: Notifications) -> TaskEmailNotifications:
    return TaskEmailNotifications(on_failure=list(notifications.emails))


def _webhooks(options: ExportOptions) -> list[Webhook]:
    return [Webhook(id=variable(name)) for name in webhook_variables(options).values()]
