"""Runs on Databricks that outlive the worker that started them."""

from hashlib import sha256
from typing import Any

from airflow.providers.databricks.exceptions import DatabricksApiError
from airflow.providers.databricks.operators.databricks import DatabricksRunNowOperator, DatabricksSubmitRunOperator
from airflow.providers.databricks.triggers.databricks import DatabricksExecutionTrigger
from airflow.sdk import ResumableJobMixin
from airflow.sdk.exceptions import TaskDeferralTimeout

# Kept for a task in Airflow's store, beside the id of its run.
_FIRST_TRY = "first_try"
_CLEARED = "cleared_run_id"


class _Resumed(ResumableJobMixin):
    """Takes up the run of an earlier try, wherever the worker that made it died, and whoever waits for it.

    The provider keeps a run's id only where a worker waits, and only once it knows the id: one that died before that
    would start another run, which is paid for too.
    """

    def execute(self, context: Any) -> Any:
        """Start a run, or find the one that an earlier try started, and wait for it."""
        self._forget_if_cleared(context)
        return self.execute_resumable(context)

    def submit_job(self, context: Any) -> Any:
        """Start a run; a try that died before it knew its run gets that one again."""
        self.idempotency_token = _token(context["ti"], self._earlier(context))
        return super().submit_job(context)

    def poll_until_complete(self, external_id: Any, context: Any) -> None:
        """Wait for a run: in the triggerer, or here."""
        if not self.deferrable:
            super().poll_until_complete(external_id, context)
            return
        self.run_id = int(external_id)
        address = self._hook.get_run_page_url(self.run_id)
        context["ti"].xcom_push(key="run_id", value=self.run_id)
        context["ti"].xcom_push(key="run_page_url", value=address)
        # Airflow bounds a wait in the triggerer by this time-out alone, not by the task's.
        self.defer(trigger=_trigger(self, address), method_name="execute_complete", timeout=self.execution_timeout)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Go on after the triggerer; a run that took too long is cancelled, as it is where a worker waits."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            self.run_id = context["task_state_store"].get(self.external_id_key)
            self.on_kill()
            raise

    def _forget_if_cleared(self, context: Any) -> None:
        """Let a task that ended well and was cleared run again; otherwise its run would count as this try's."""
        store, first_try = context["task_state_store"], context["ti"].max_tries - self.retries
        run_id = store.get(self.external_id_key)
        is_cleared = run_id is not None and store.get(_FIRST_TRY) != first_try
        if is_cleared and self.is_job_succeeded(self.get_job_status(run_id, context)):
            store.set(_CLEARED, run_id)
            store.delete(self.external_id_key)
        store.set(_FIRST_TRY, first_try)

    def _earlier(self, context: Any) -> Any:
        """Return the id of the run before, which ended; None before the first."""
        store = context["task_state_store"]
        return store.get(self.external_id_key) or store.get(_CLEARED)


class RunWorkflow(_Resumed, DatabricksRunNowOperator):
    """Starts a Databricks job, found by its name, and waits for it; another try repairs the run that failed."""

    def submit_job(self, context: Any) -> Any:
        """Start a run, or run again what failed of the last one: stages that ended well are not paid for twice."""
        run_id = context["task_state_store"].get(self.external_id_key)
        if run_id is not None and self._is_repaired(run_id):
            self.run_id = int(run_id)
            return self.run_id
        return super().submit_job(context)

    def _is_repaired(self, run_id: Any) -> bool:
        repair = {"run_id": run_id, "rerun_all_failed_tasks": True}
        try:
            if (latest := self._hook.get_latest_repair_id(run_id)) is not None:
                repair["latest_repair_id"] = latest
            self._hook.repair_run(repair)
        except DatabricksApiError as error:
            self.log.warning("Run %s cannot be repaired, so that a new one is started: %s", run_id, error)
            return False
        self.log.info("Run %s is repaired: what failed of it runs again.", run_id)
        return True


class RunNotebook(_Resumed, DatabricksSubmitRunOperator):
    """Runs a notebook on a cluster of its own and waits for it."""


def _trigger(operator: Any, address: str) -> DatabricksExecutionTrigger:
    return DatabricksExecutionTrigger(
        run_id=operator.run_id,
        databricks_conn_id=operator.databricks_conn_id,
        polling_period_seconds=operator.polling_period_seconds,
        retry_limit=operator.databricks_retry_limit,
        retry_delay=operator.databricks_retry_delay,
        run_page_url=address,
    )


def _token(ti: Any, earlier: Any) -> str:
    """Return an idempotency token: the same until a run is known, and another one after each run that ended."""
    named = (ti.dag_id, ti.run_id, ti.task_id, ti.map_index, earlier)
    return sha256("\n".join(map(str, named)).encode()).hexdigest()
