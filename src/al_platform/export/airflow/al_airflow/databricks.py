"""Runs on Databricks that outlive the worker that started them."""

from typing import Any

from airflow.providers.databricks.operators.databricks import DatabricksRunNowOperator, DatabricksSubmitRunOperator
from airflow.providers.databricks.triggers.databricks import DatabricksExecutionTrigger
from airflow.sdk import ResumableJobMixin


class _Resumed(ResumableJobMixin):
    """Takes up the run of an earlier try also where the triggerer waits for it.

    The provider keeps a run's id only where a worker waits: one that died between the start of a run and the hand-over
    to the triggerer would start another one, which is paid for too.
    """

    def execute(self, context: Any) -> Any:
        """Start a run, or find the one that an earlier try started, and wait for it."""
        return self.execute_resumable(context)

    def poll_until_complete(self, external_id: Any, context: Any) -> None:
        """Wait for a run: in the triggerer, or here."""
        if not self.deferrable:
            super().poll_until_complete(external_id, context)
            return
        self.run_id = int(external_id)
        address = self._hook.get_run_page_url(self.run_id)
        context["ti"].xcom_push(key="run_id", value=self.run_id)
        context["ti"].xcom_push(key="run_page_url", value=address)
        self.defer(trigger=_trigger(self, address), method_name="execute_complete")


def _trigger(operator: Any, address: str) -> DatabricksExecutionTrigger:
    return DatabricksExecutionTrigger(
        run_id=operator.run_id,
        databricks_conn_id=operator.databricks_conn_id,
        polling_period_seconds=operator.polling_period_seconds,
        retry_limit=operator.databricks_retry_limit,
        retry_delay=operator.databricks_retry_delay,
        run_page_url=address,
    )


class RunWorkflow(_Resumed, DatabricksRunNowOperator):
    """Starts a Databricks job, found by its name, and waits for it."""


class RunNotebook(_Resumed, DatabricksSubmitRunOperator):
    """Runs a notebook on a cluster of its own and waits for it."""
