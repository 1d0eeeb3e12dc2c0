"""Secrets are taken out of whatever is kept or shown: logs, manifests, errors.

What counts as secret is known by its name: a variable of the environment, or an entry of ``credentials.yml``, that is
called key, secret, token or password. What is kept of it is that it was there.
"""

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

HIDDEN = "***"
_SECRET_NAME = re.compile(r"key|secret|token|passw|credential|authorization", re.IGNORECASE)
# Names that match and hold no secret: where a secret lies, or who asks.
_NO_SECRET_NAME = re.compile(r"_(FILE|PATH|URI|URL|DIR|HOST|REGION|PROFILE|RELATIVE_URI)$", re.IGNORECASE)
_SHORTEST = 6  # shorter values ("true", "1") would blot out ordinary text
# A URL that carries a user and a password, wherever it comes from.
_IN_URL = re.compile(r"(?<=://)[^\s/@:]+:[^\s/@]+(?=@)")

_configured: set[str] = set()


def configure(credentials: Any) -> None:
    """Remember the secrets of ``credentials.yml``, where every value counts as one, and guard all handlers of logs."""
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
    return _IN_URL.sub(HIDDEN, text)


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
        if record.exc_info and record.exc_info[1] is not None:
            redact_error(record.exc_info[1])
        return True


def redact_error(error: BaseException) -> None:
    """Take secrets out of an error's message, and of those that caused it."""
    for link in _chain(error):
        if any(isinstance(part, str) and redact(part) != part for part in link.args):
            link.args = tuple(redact(part) if isinstance(part, str) else part for part in link.args)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    links = [error]
    while links:
        link = links.pop()
        if id(link) not in seen:
            seen.add(id(link))
            yield link
            links += [other for other in (link.__cause__, link.__context__) if other is not None]


def _secrets() -> Iterable[str]:
    named = {value for name, value in os.environ.items() if _is_secret_name(name) and len(value) >= _SHORTEST}
    return named | _configured


def _is_secret_name(name: str) -> bool:
    return bool(_SECRET_NAME.search(name)) and not _NO_SECRET_NAME.search(name)


def _values(content: Any) -> Iterator[str]:
    if isinstance(content, Mapping):
        for value in content.values():
            yield from _values(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _values(value)
    elif isinstance(content, str):
        yield content
