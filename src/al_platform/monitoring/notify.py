"""Tells people of a proposal: in the log always, by e-mail and webhook where they are configured."""

import json
import logging
import os
import smtplib
import ssl
import urllib.request
from collections.abc import Callable
from email.message import EmailMessage
from typing import TypeAlias

from al_platform.monitoring.options import AlertOptions, SmtpOptions

LOG = logging.getLogger("al_platform")
_TIMEOUT_S = 20
_PASSWORD = "AL_SMTP_PASSWORD"

Notifier: TypeAlias = Callable[[str, str], None]
"""Takes a subject and a text; raises OSError where it cannot tell anybody."""


def notifiers(options: AlertOptions) -> dict[str, Notifier]:
    """Return a notifier for the log and each configured way, by a name that holds no secret."""
    found: dict[str, Notifier] = {"log": log}
    if options.emails:
        found["e-mail"] = lambda subject, text: send_mail(subject, text, options.emails, options.smtp)
    for number, address in enumerate(options.webhooks, start=1):
        found[f"webhook {number}"] = lambda subject, text, address=address: call_webhook(subject, text, address)  # type: ignore[misc]
    return found


def tell(subject: str, text: str, ways: dict[str, Notifier]) -> list[str]:
    """Tell everybody, and return the ways that failed; a way that is down keeps nobody else from being told."""
    failed = []
    for name, notify in ways.items():
        try:
            notify(subject, text)
        except OSError as error:  # of smtplib and urllib alike
            # The message of an error may hold a webhook's address, which may be its key.
            LOG.warning("Nobody was told by %s: %s", name, type(error).__name__)
            failed.append(name)
    return failed


def log(subject: str, text: str) -> None:
    """Write to the log."""
    LOG.warning("%s\n%s", subject, text)


def send_mail(subject: str, text: str, to: tuple[str, ...], smtp: SmtpOptions) -> None:
    """Send an e-mail."""
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, smtp.sender, ", ".join(to)
    message.set_content(text)
    with smtplib.SMTP(smtp.host, smtp.port, timeout=_TIMEOUT_S) as server:
        if smtp.starttls:
            # By itself it would take any certificate, and the password would go to whoever stands between.
            server.starttls(context=ssl.create_default_context())
        if smtp.user:
            server.login(smtp.user, os.environ.get(_PASSWORD, ""))
        server.send_message(message)


def call_webhook(subject: str, text: str, address: str) -> None:
    """Post JSON with ``text``, which chat services show, and ``subject``."""
    body = json.dumps({"subject": subject, "text": f"{subject}\n{text}"}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S):
        pass
