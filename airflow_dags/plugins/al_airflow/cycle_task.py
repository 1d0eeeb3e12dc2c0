"""The task that settles which month a run reads."""

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from .cycles import WrongCycleError, cycle_of, parse_cycle


@task(task_id="cycle")
def cycle_task(time_zone: str, cycle: str | None = None) -> str:
    """Return the cycle of the run: the one asked for, or the last month that was over when the run was due.

    Args:
        time_zone: In which months end.
        cycle: What the author of a DAG asks for; otherwise the run's parameter ``cycle`` counts.

    Raises:
        AirflowFailException: What was asked for is no month; the task is not tried again.
    """
    context = get_current_context()
    asked = cycle or context["params"].get("cycle")
    if asked is None:
        run = context["dag_run"]
        # A run that somebody starts has neither an interval nor a logical date, unless he gives one.
        return cycle_of(run.data_interval_end or run.logical_date or run.run_after, time_zone)
    try:
        return parse_cycle(asked)
    except WrongCycleError as error:
        raise AirflowFailException(str(error)) from error
