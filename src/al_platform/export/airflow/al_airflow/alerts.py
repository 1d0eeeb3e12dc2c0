"""Alerts: one for each failure, with the run's link, and one for a run that is late."""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import requests
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import AsyncCallback, BaseNotifier, Connection, DeadlineAlert, DeadlineReference

_TIMEOUT_S = 30
_FAILED = "{{ dag.dag_id }}: {{ ti.task_id }} failed"
_WHAT = """Run {{ dag_run.run_id }}, try {{ ti.try_number }}: {{ exception | default("the task's process was lost") }}
{{ ti.xcom_pull(task_ids=ti.task_id, key="run_page_url") or ti.log_url }}"""
_LATE = "{dag_id} is late"
_HOW_LATE = "Run {{{{ dag_run.dag_run_id }}}} of {dag_id} has not ended after {hours:g} hours."


class MailNotifier(SmtpNotifier):
    """Sends a mail."""

    def notify(self, context: Any) -> None:
        """Send it from a worker."""
        _once(context, "mail", lambda: super(MailNotifier, self).notify(context))


class WebhookNotifier(BaseNotifier):
    """Posts ``{"text": ...}`` to the address in a connection, as chat services take it.

    Args:
        connection: Name of a connection: its host is the address, its password, if any, a bearer token.
        text: What to say; a template.
    """

    template_fields: Sequence[str] = ("text",)

    def __init__(self, connection: str, text: str, context: Any = None) -> None:
        super().__init__(context=context)
        self.connection = connection
        self.text = text

    def notify(self, context: Any) -> None:
        """Post from a worker."""
        _once(context, self.connection, lambda: self._post(Connection.get(self.connection)))

    async def async_notify(self, context: Any) -> None:
        """Post from the triggerer."""
        await asyncio.to_thread(self._post, await Connection.async_get(self.connection))

    def _post(self, connection: Any) -> None:
        headers = {"Authorization": f"Bearer {connection.password}"} if connection.password else {}
        answer = requests.post(connection.host, json={"text": self.text}, headers=headers, timeout=_TIMEOUT_S)
        answer.raise_for_status()


def _once(context: Any, channel: str, tell: Callable[[], None]) -> None:
    """Tell of a failure, and of a process that was lost on its last try only once.

    Airflow reports such a loss twice to its DAG processor: for the missing heartbeat, and for what the executor says
    then. A file on that machine remembers the first.
    """
    if context.get("exception") is not None:
        tell()
        return
    mark = Path(tempfile.gettempdir()) / f"al_airflow-{context['ti'].id}-{sha256(channel.encode()).hexdigest()[:16]}"
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return
    try:
        tell()
    except BaseException:
        mark.unlink()
        raise


def on_failure(emails: Sequence[str], webhooks: Sequence[str], smtp_connection: str) -> list[Any]:
    """Return what tells of a task that failed for good: callbacks, one for each channel."""
    by_mail = [MailNotifier(to=list(emails), subject=_FAILED, html_content=_html(_WHAT), smtp_conn_id=smtp_connection)]
    return [*(by_mail if emails else ()), *(WebhookNotifier(name, f"{_FAILED}\n{_WHAT}") for name in webhooks)]


def late(
    dag_id: str, hours: float, emails: Sequence[str], webhooks: Sequence[str], smtp_connection: str
) -> list[DeadlineAlert]:
    """Return what tells, once for each channel, of a run that has not ended some hours after it was queued."""
    subject, text = _LATE.format(dag_id=dag_id), _HOW_LATE.format(dag_id=dag_id, hours=hours)
    mail = {"to": list(emails), "subject": subject, "html_content": _html(text), "smtp_conn_id": smtp_connection}
    callbacks = [
        *([AsyncCallback(SmtpNotifier, kwargs=mail)] if emails else ()),
        *(AsyncCallback(WebhookNotifier, kwargs={"connection": name, "text": text}) for name in webhooks),
    ]
    queued, interval = DeadlineReference.DAGRUN_QUEUED_AT, timedelta(hours=hours)
    return [DeadlineAlert(reference=queued, interval=interval, callback=callback) for callback in callbacks]


def _html(text: str) -> str:
    lines = text.replace("\n", "<br>\n")
    return f"{{% autoescape true %}}{lines}{{% endautoescape %}}"
