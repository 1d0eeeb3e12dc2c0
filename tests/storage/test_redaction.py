import logging
import sys

import pytest

from al_platform.storage import redaction
from al_platform.storage.redaction import HIDDEN, RedactingFilter, redact, redacted

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCY"


@pytest.fixture(autouse=True)
def _planted(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    hook = sys.excepthook
    yield
    redaction.configure([])
    sys.excepthook = hook


def test_a_secret_of_the_environment_is_hidden_and_the_rest_stays():
    assert redact(f"using {SECRET} for s3://bucket") == f"using {HIDDEN} for s3://bucket"


def test_a_secret_is_known_in_its_url_encoded_form_too():
    assert redact("https://h/?k=wJalrXUtnFEMI%2FK7MDENG%2BbPxRfiCY") == f"https://h/?k={HIDDEN}"


@pytest.mark.parametrize("name", ["WANDB_API_KEY", "DATABRICKS_TOKEN", "LABEL_STUDIO_ACCESS_TOKEN", "DB_PASSWORD"])
def test_secrets_are_known_by_the_names_of_their_variables(monkeypatch, name):
    monkeypatch.setenv(name, "hunter2hunter2")
    assert redact("hunter2hunter2") == HIDDEN


@pytest.mark.parametrize("name", ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_PROFILE", "HOME"])
def test_where_a_secret_lies_is_no_secret(monkeypatch, name):
    monkeypatch.setenv(name, "/some/ordinary/path")
    assert redact("/some/ordinary/path") == "/some/ordinary/path"


def test_a_value_too_short_to_be_a_secret_blots_out_no_text(monkeypatch):
    monkeypatch.setenv("USE_TOKEN", "true")
    assert redact("it is true") == "it is true"


def test_what_the_credentials_hold_is_secret_but_places_and_names():
    platform = {"user": "annotator-one", "host": "localhost", "keys": ["first-of-keys"], "password": 12345678}
    redaction.configure([{"label_studio": platform}])
    shown = redact("annotator-one at localhost, first-of-keys, 12345678")
    assert shown == f"annotator-one at localhost, {HIDDEN}, {HIDDEN}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:pw123@host/db", f"postgresql://{HIDDEN}@host/db"),
        ("s3://AKIA:ab/cd@bucket/p", f"s3://{HIDDEN}@bucket/p"),
        ("https://a-token@host/x", f"https://{HIDDEN}@host/x"),
        ("https://h/o?X-Amz-Signature=abc&x=1", f"https://h/o?X-Amz-Signature={HIDDEN}&x=1"),
        ("https://h/o?x=1&access_token=abc", f"https://h/o?x=1&access_token={HIDDEN}"),
        ("s3://bucket/a:b/c@d", "s3://bucket/a:b/c@d"),
    ],
)
def test_what_a_url_carries_is_hidden_and_what_it_names_stays(text, shown):
    assert redact(text) == shown


def test_secrets_are_hidden_wherever_they_lie_in_json_like_content():
    assert redacted({"a": [SECRET, 1, None], "b": {"c": f"x{SECRET}"}}) == {
        "a": [HIDDEN, 1, None],
        "b": {"c": f"x{HIDDEN}"},
    }


def test_a_log_record_loses_its_secrets_in_message_arguments_and_traceback():
    record = logging.LogRecord("n", logging.INFO, "f", 1, "asked with %s", (SECRET,), None)
    record.exc_info = (FileNotFoundError, FileNotFoundError(2, "not there", SECRET), None)
    assert RedactingFilter().filter(record)
    assert SECRET not in logging.Formatter().format(record)


def test_an_error_that_nobody_catches_is_printed_without_secrets(capsys):
    redaction.configure([])
    sys.excepthook(PermissionError, PermissionError(13, "denied", SECRET), None)
    shown = capsys.readouterr().err
    assert SECRET not in shown
    assert "PermissionError" in shown
