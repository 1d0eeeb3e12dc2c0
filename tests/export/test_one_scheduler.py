"""Whoever the orchestrator is, the other side's schedules, retries and alerts are off: read from both exports."""

import re

import pytest
import yaml
from kedro.framework.startup import bootstrap_project

from al_platform.export.airflow.cli import generated
from al_platform.export.configuration import exported_loader
from al_platform.export.databricks.bundle import Bundle

NOTIFICATIONS = {"emails": ["team@example.org"], "webhooks": ["On call"]}


def of_databricks(project):
    """What the bundle's jobs schedule, try again and tell."""
    jobs = [job.as_dict() for job in Bundle.of(exported_loader(project.path, project.env)).jobs.values()]
    tasks = [task for job in jobs for task in job["tasks"]]
    told = [name for part in [*jobs, *tasks] for name in part if name.endswith("_notifications")]
    return {
        "schedules": sum("schedule" in job for job in jobs),
        "retries": sum(task.get("max_retries", 0) for task in tasks),
        "alerts": len(told),
    }


def of_airflow(project):
    """The same of the DAG files."""
    bootstrap_project(project.path)
    text = "\n".join(content for name, content in generated(project.path, project.env).items() if "/" not in name)
    return {
        "schedules": text.count("schedule=CronTriggerTimetable("),
        "retries": sum(int(number) for number in re.findall(r"retries\W{1,3}(\d+)", text)),
        "alerts": len(re.findall(r"on_failure_callback|deadline=", text)) + text.count("example.org"),
    }


@pytest.mark.parametrize(
    ("orchestrator", "ours", "theirs"),
    [("airflow", of_airflow, of_databricks), ("databricks", of_databricks, of_airflow)],
)
def test_one_side_schedules_retries_and_alerts_and_the_other_does_none_of_it(project, orchestrator, ours, theirs):
    project.env = "databricks"
    content = yaml.safe_load((project.path / "conf/databricks/export.yml").read_text())
    project.configure("export.yml", {**content, "orchestrator": orchestrator, "notifications": NOTIFICATIONS})
    assert all(ours(project).values())
    assert ours(project)["schedules"] == 3
    assert theirs(project) == {"schedules": 0, "retries": 0, "alerts": 0}
