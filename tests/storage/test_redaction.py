import logging

import pytest

from al_platform.storage import redaction
from al_platform.storage.redaction import HIDDEN, RedactingFilter, redact, redact_error, redacted

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCY"


@pytest.fixture(autouse=True)
def _planted(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    yield
    redaction.configure({})


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


def test_every_value_of_the_credentials_counts_as_secret():
    redaction.configure({"label_studio": {"user": "annotator-one", "keys": ["first-of-keys"]}})
    assert redact("annotator-one, first-of-keys") == f"{HIDDEN}, {HIDDEN}"


def test_user_and_password_in_any_url_are_hidden():
    assert redact("postgresql://me:pw123@host/db") == f"postgresql://{HIDDEN}@host/db"
    assert redact("s3://bucket/a:b/c@d") == "s3://bucket/a:b/c@d"


def test_secrets_are_hidden_wherever_they_lie_in_json_like_content():
    assert redacted({"a": [SECRET, 1, None], "b": {"c": f"x{SECRET}"}}) == {
        "a": [HIDDEN, 1, None],
        "b": {"c": f"x{HIDDEN}"},
    }


def test_an_error_and_what_caused_it_lose_their_secrets():
    error = RuntimeError(f"no access with {SECRET}")
    error.__cause__ = ValueError(f"bad key {SECRET}")
    redact_error(error)
    assert (str(error), str(error.__cause__)) == (f"no access with {HIDDEN}", f"bad key {HIDDEN}")


def test_a_log_record_loses_its_secrets_in_message_arguments_and_traceback():
    record = logging.LogRecord("n", logging.INFO, "f", 1, "asked with %s", (SECRET,), None)
    record.exc_info = (ValueError, ValueError(SECRET), None)
    assert RedactingFilter().filter(record)
    assert SECRET not in logging.Formatter().format(record)
