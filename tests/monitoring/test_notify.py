import logging
import ssl

import pytest
from alert_servers import MailServer, Webhook, serving

from al_platform.monitoring.notify import notifiers, tell
from al_platform.monitoring.options import AlertOptions, SmtpOptions


@pytest.fixture
def webhook():
    with serving(Webhook()) as server:
        yield server


def test_everybody_is_told(webhook):
    with serving(MailServer()) as mail:
        smtp = SmtpOptions(host="127.0.0.1", port=mail.port, sender="loop@example.org")
        options = AlertOptions(emails=("a@example.org", "b@example.org"), webhooks=(webhook.address,), smtp=smtp)
        assert tell("topics: run early", "language drifted", notifiers(options)) == []
    assert webhook.posted == [{"subject": "topics: run early", "text": "topics: run early\nlanguage drifted"}]
    assert "Subject: topics: run early" in mail.messages[0]
    assert "To: a@example.org, b@example.org" in mail.messages[0]
    assert "language drifted" in mail.messages[0]


def test_one_that_is_down_keeps_nobody_else_from_being_told(webhook):
    down = "http://127.0.0.1:9/secret-key"
    options = AlertOptions(
        emails=("a@example.org",), webhooks=(down, webhook.address), smtp=SmtpOptions(host="127.0.0.1", port=9)
    )
    assert tell("subject", "text", notifiers(options)) == ["e-mail", "webhook 1"]
    assert len(webhook.posted) == 1


def test_a_webhook_that_refuses_counts_as_not_told_and_its_address_stays_secret(webhook, caplog):
    webhook.status = 500
    with caplog.at_level(logging.WARNING):
        assert tell("subject", "text", notifiers(AlertOptions(webhooks=(webhook.address,)))) == ["webhook 1"]
    assert "/hook" not in caplog.text


def test_a_subject_cannot_bring_headers_of_its_own():
    by_mail = notifiers(AlertOptions(emails=("a@example.org",)))["e-mail"]
    with pytest.raises(ValueError, match="linefeed"):
        by_mail("x\nBcc: all@example.org", "text")


def test_a_password_goes_to_a_mail_server_with_a_valid_certificate_alone(monkeypatch):
    asked = []

    class Server:
        def __init__(self, *where, timeout):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def starttls(self, context):
            asked.append(("starttls", context.verify_mode, context.check_hostname))

        def login(self, user, password):
            asked.append(("login", user, password))

        def send_message(self, message):
            asked.append(("send", message["To"]))

    monkeypatch.setattr("smtplib.SMTP", Server)
    monkeypatch.setenv("AL_SMTP_PASSWORD", "secret")
    smtp = SmtpOptions(user="loop", starttls=True)
    assert tell("subject", "text", notifiers(AlertOptions(emails=("a@example.org",), smtp=smtp))) == []
    assert asked == [("starttls", ssl.CERT_REQUIRED, True), ("login", "loop", "secret"), ("send", "a@example.org")]
