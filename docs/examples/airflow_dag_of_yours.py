"""The quarter of al-platform inside a DAG of yours: after a step of your own, and before another one.

Put this file beside the generated DAGs, whose names hold the environment, and airflow_dags/plugins/al_airflow into
Airflow's plugins folder. Retries, time-outs and alerts are the group's; schedule and deadline are your DAG's.
"""

from airflow.sdk import DAG, Param, task
from al_platform_databricks_quarterly_dag import quarterly


@task
def freeze_labels() -> None:
    """Whatever comes before a quarter here."""


@task
def tell_product_teams() -> None:
    """Whatever follows."""


with DAG("content-classification", schedule=None, params={"quarter_ends": Param("2026-09", type="string")}) as dag:
    freeze_labels() >> quarterly("train_classifiers", cycle="{{ params.quarter_ends }}") >> tell_product_teams()
