"""Secrets are taken out of whatever is kept or shown: logs, manifests, errors.

What counts as secret: the value of a variable of the environment that is called key, secret, token or password, and
what ``credentials.yml`` holds but places and names. What is kept of it is that it was there.
"""

import logging
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import quote

HIDDEN = "***"
_SECRET_NAME = re.compile(r"key|secret|token|passw|credential|authorization", re.IGNORECASE)
# Names that match and hold no secret: where a secret lies, or who asks.
_NO_SECRET_NAME = re.compile(
    r"(^|_)(file|path|uri|url|dir|host|region|profile|endpoint|port|user|username|bucket)$", re.IGNORECASE
)
_SHORTEST = 6  # shorter values ("true", "1") would blot out ordinary text
# A URL that carries a user, a token or a signature, wherever it comes from.
_IN_URL = re.compile(r"(?<=://)[^\s/@:]+(:[^\s@]+)?(?=@)")
_IN_QUERY = re.compile(
    r"([?&](?:X-Amz-\w+|(?:access_|id_)?token|api_?key|sig(?:nature)?|secret)=)[^&\s\"']+", re.IGNORECASE
)

_configured: set[str] = set()


def configure(credentials: Any) -> None:
    """Remember the secrets in what ``credentials.yml`` holds, and guard handlers of logs and uncaught errors."""
    sys.excepthook = _print_redacted
    _configured.clear()
    _configured.update(value for value in _values(credentials) if len(value) >= _SHORTEST)
    for handler in logging.getLogger().handlers:
        if not any(isinstance(known, RedactingFilter) for known in handler.filters):
            handler.addFilter(RedactingFilter())


def redact(text: str) -> str:
    """Return ``text`` without the secrets that this process knows."""
    for secret in sorted(_secrets(), key=len, reverse=True):
        for spelled in {secret, quote(secret, safe="")}:
            text = text.replace(spelled, HIDDEN)
    return _IN_QUERY.sub(rf"\1{HIDDEN}", _IN_URL.sub(HIDDEN, text))


def redacted(value: Any) -> Any:
    """Return JSON-like content without the secrets that this process knows."""
    if isinstance(value, Mapping):
        return {key: redacted(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(part) for part in value]
    return redact(value) if isinstance(value, str) else value


class RedactingFilter(logging.Filter):
    """Takes secrets out of log records, arguments and tracebacks included."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record where it holds a secret; it is always kept."""
        message = record.getMessage()
        if (shown := redact(message)) != message:
            record.msg, record.args = shown, None
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = redact("".join(traceback.format_exception(*record.exc_info)).rstrip())
        return True


def _secrets() -> Iterable[str]:
    named = {value for name, value in os.environ.items() if _is_secret_name(name) and len(value) >= _SHORTEST}
    return named | _configured


def _is_secret_name(name: str) -> bool:
    return bool(_SECRET_NAME.search(name)) and not _NO_SECRET_NAME.search(name)


def _print_redacted(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    sys.stderr.write(redact("".join(traceback.format_exception(kind, error, at))))


def _values(content: Any) -> Iterator[str]:
    if isinstance(content, Mapping):
        for name, value in content.items():
            if not _NO_SECRET_NAME.search(str(name)):
                yield from _values(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _values(value)
    elif isinstance(content, str | int | float) and not isinstance(content, bool):
        yield str(content)
