"""``kedro al export``: files for schedulers."""

import click

from al_platform.export.airflow.cli import airflow
from al_platform.export.databricks.cli import databricks


@click.group()
def export() -> None:
    """Write what Airflow and Databricks need to run the stages."""


export.add_command(airflow)
export.add_command(databricks)
