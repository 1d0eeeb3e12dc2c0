"""Score and select the pages of last month, then ingest the answers that are there and prepare them.

Written by `make dags` from export.yml of the environment databricks: change that, not this file.
"""

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param, TaskGroup
from al_airflow.alerts import late, on_failure
from al_airflow.cycle_task import cycle_task
from al_airflow.cycles import PATTERN
from al_airflow.databricks import RunWorkflow

DAG_ID = "al-platform-monthly"
ENV = "databricks"
TIME_ZONE = "UTC"
FAMILIES = ["topics", "brand_safety", "sentiment"]
CHANNELS = {
    "emails": [],
    "webhooks": [],
    "smtp_connection": "smtp_default",
}
DEFAULTS = {
    "retries": 2,
    "retry_delay": timedelta(minutes=5.0),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=60.0),
    "on_failure_callback": on_failure(**CHANNELS),
}
DATABRICKS = {
    "databricks_conn_id": "databricks_default",
    "deferrable": True,
    "polling_period_seconds": 30.0,
    "databricks_retry_limit": 5,
    "databricks_retry_delay": 2.0,
}
JOBS = "al-platform"


def _run(job, family, cycle, **limits):
    parameters = {"family": family, "cycle": cycle, "env": ENV}
    return RunWorkflow(task_id=job, job_name=f"{JOBS}-{job}", job_parameters=parameters, **DATABRICKS, **limits)


def monthly(group_id: str = "monthly", cycle: str | None = None) -> TaskGroup:
    """Return the tasks as a group, for this DAG or one of yours.

    Args:
        group_id: Of the group.
        cycle: The month whose traffic is read, YYYY-MM or a template; by default the run's parameter ``cycle``, or the
            last month that was over when the run was due.
    """
    with TaskGroup(group_id, default_args=DEFAULTS) as group:
        month = cycle_task(TIME_ZONE, cycle)
        for family in FAMILIES:
            with TaskGroup(family):
                select = _run(
                    "select",
                    family,
                    month,
                    execution_timeout=timedelta(minutes=450),
                    retries=2,
                )
                ingest = _run(
                    "ingest",
                    family,
                    month,
                    execution_timeout=timedelta(minutes=270),
                    retries=2,
                )
                [select] >> ingest
    return group


# Found in this module alone, and not in one that imports the group.
with DAG(
    dag_id="al-platform-monthly",
    description="Score and select the pages of last month, then ingest the answers that are there and prepare them.",
    schedule=CronTriggerTimetable("0 3 2 * *", timezone=TIME_ZONE),
    deadline=late(DAG_ID, hours=24.0, **CHANNELS),
    catchup=False,
    max_active_runs=1,
    params={
        "cycle": Param(None, type=["null", "string"], pattern=PATTERN, description="Month of the traffic, YYYY-MM"),
    },
    tags=["al-platform"],
    doc_md=__doc__,
    auto_register=False,
) as dag:
    monthly()
