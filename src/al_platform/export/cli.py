"""``kedro al export``: files for schedulers."""

import click


@click.group()
def export() -> None:
    """Write what Airflow and Databricks need to run the stages."""
