"""Answers in Label Studio's export format (JSON, not JSON_MIN), checked one by one.

One extension of ours: ``"deleted": true`` on an annotation says that it was deleted.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from al_platform.domain.taxonomy import Taxonomy

Sent = Mapping[tuple[str, str], str]
"""Guideline version by (batch_id, page_id) of all tasks that were sent."""

Row = dict[str, Any]

UNREADABLE = "unreadable"
MISSING_FIELD = "missing field"
INVALID_FIELD = "invalid field"
UNKNOWN_PAGE = "unknown page"
INVALID_ANSWER = "invalid answer"

_MAX_DETAIL_CHARS = 500
_REQUIRED = object()


class _RefusedError(Exception):
    """An answer that cannot be taken: goes to quarantine, stops nothing."""

    def __init__(self, reason: str, detail: str):
        super().__init__(detail)
        self.reason = reason


def read_answers(data: bytes, file: str, sent: Sent, taxonomy: Taxonomy) -> tuple[list[Row], list[Row]]:
    """Return the rows of a file for ``schemas.ANNOTATIONS``, and those for ``schemas.QUARANTINE``.

    Args:
        data: Content of the file: a list of tasks, or one task a line.
        file: Its name, for the quarantine.
        sent: All tasks that were sent.
        taxonomy: Of the family.
    """
    return read_tasks(((f"{file}{place}", document) for place, document in _documents(data)), sent, taxonomy)


def read_tasks(documents: Iterable[tuple[str, object]], sent: Sent, taxonomy: Taxonomy) -> tuple[list[Row], list[Row]]:
    """Return the rows of tasks for ``schemas.ANNOTATIONS``, and those for ``schemas.QUARANTINE``.

    Args:
        documents: Each task with its place, for the quarantine.
        sent: All tasks that were sent.
        taxonomy: Of the family.
    """
    taken: list[Row] = []
    refused: list[Row] = []
    for place, document in documents:
        for page_id, read in _annotations(document, sent, taxonomy):
            if isinstance(read, _RefusedError):
                refused.append(_quarantined(read, page_id, place))
            else:
                taken.append(read)
    return taken, refused


def _quarantined(error: _RefusedError, page_id: str | None, place: str) -> Row:
    return {"page_id": page_id, "reason": error.reason, "detail": f"{place}: {error}"[:_MAX_DETAIL_CHARS]}


def _documents(data: bytes) -> Iterator[tuple[str, object]]:
    """Yield the place and the content of each task in a file, or why it cannot be read."""
    try:
        whole = _parse(data)
    except ValueError as error:
        if data.lstrip().startswith(b"["):
            yield "", _RefusedError(UNREADABLE, str(error))
            return
    else:
        tasks = whole if isinstance(whole, list) else [whole]
        yield from ((f", task {number}", task) for number, task in enumerate(tasks, start=1))
        return
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            yield f", line {number}", _parse_line(line)


def _parse_line(line: bytes) -> object:
    try:
        return _parse(line)
    except ValueError as error:
        return _RefusedError(UNREADABLE, str(error))


def _parse(data: bytes) -> object:
    try:
        return json.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _annotations(document: object, sent: Sent, taxonomy: Taxonomy) -> Iterator[tuple[str | None, Row | _RefusedError]]:
    """Yield the page and the row of each annotation of a task, or why it cannot be taken."""
    page_id = None
    try:
        if isinstance(document, _RefusedError):
            raise document
        data = _field(document, "data", dict)
        page_id = _text(data, "page_id")
        batch_id = _text(data, "batch_id")
        if (batch_id, page_id) not in sent:
            raise _RefusedError(UNKNOWN_PAGE, f"page {page_id!r} was never sent in batch {batch_id!r}")
        annotations = _field(document, "annotations", list)
    except _RefusedError as error:
        yield page_id, error
        return
    for annotation in annotations:
        try:
            row = _row(annotation, taxonomy)
        except _RefusedError as error:
            yield page_id, error
        else:
            # An id is distinct within a platform only, and hand-made files number each page from 1.
            row["annotation_id"] = f"{batch_id}/{page_id}/{quote(row['annotation_id'], safe='')}"
            guideline_version = sent[batch_id, page_id]
            yield page_id, row | {"page_id": page_id, "batch_id": batch_id, "guideline_version": guideline_version}


def _row(annotation: object, taxonomy: Taxonomy) -> Row:
    deleted = _flag(annotation, "deleted")
    skipped = _flag(annotation, "was_cancelled")
    updated_at = _time(annotation, "updated_at")
    created_at = _time(annotation, "created_at")
    if not deleted and updated_at is None and created_at is None:
        raise _RefusedError(MISSING_FIELD, "'updated_at' and 'created_at' are missing: give one of them")
    return {
        "annotation_id": _identifier(_field(annotation, "id", int, str), "id"),
        "annotator": _annotator(_field(annotation, "completed_by", int, str, dict)),
        "values": [] if deleted or skipped else _values(_field(annotation, "result", list), taxonomy),
        "skipped": skipped,
        "deleted": deleted,
        "created_at": created_at or updated_at,
        "updated_at": updated_at or created_at,
    }


def _values(result: list[object], taxonomy: Taxonomy) -> list[str]:
    """Return the chosen labels, each once, in the taxonomy's order.

    A result without choices is the answer that no label applies.
    """
    regions = [region for region in result if _field(region, "type", str) == "choices"]
    chosen = [choice for region in regions for choice in _choices(_field(region, "value", dict))]
    values = list(dict.fromkeys(chosen))
    if (problem := taxonomy.problem(values)) is not None:
        raise _RefusedError(INVALID_ANSWER, problem)
    return [label for label in taxonomy.labels if label in values]


def _choices(value: dict[str, object]) -> list[str]:
    choices = _field(value, "choices", list, str)
    listed = [choices] if isinstance(choices, str) else choices
    if not all(isinstance(choice, str) for choice in listed):
        raise _RefusedError(INVALID_FIELD, f"'choices' should hold label names, found {listed!r}")
    return list(listed)


def _annotator(completed_by: Any) -> str:
    """Return who answered: an id or a name, or an object that holds one."""
    if isinstance(completed_by, dict):
        named = [completed_by[key] for key in ("email", "username", "id") if completed_by.get(key)]
        if not named or isinstance(named[0], bool) or not isinstance(named[0], int | str):
            raise _RefusedError(MISSING_FIELD, "'completed_by' names no email, username or id")
        completed_by = named[0]
    return _identifier(completed_by, "completed_by")


def _identifier(value: int | str, name: str) -> str:
    text = _encodable(str(value))
    if not text:
        raise _RefusedError(MISSING_FIELD, f"{name!r} is empty")
    return text


def _text(document: object, name: str) -> str:
    return _encodable(_field(document, name, str))


def _encodable(text: str) -> str:
    # JSON can spell half a surrogate pair, which no UTF-8 column can hold.
    return text.encode("utf-8", errors="replace").decode()


def _flag(annotation: object, name: str) -> bool:
    value = _field(annotation, name, bool, default=None)
    return bool(value)


def _time(annotation: object, name: str) -> datetime | None:
    spelled = _field(annotation, name, str, default=None)
    if spelled is None:
        return None
    try:
        time = datetime.fromisoformat(spelled)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise _RefusedError(INVALID_FIELD, f"{name!r} should be an ISO 8601 time, found {spelled!r}") from None


def _field(document: object, name: str, *types: type, default: object = _REQUIRED) -> Any:
    """Return a field of a JSON object after a check of its type; null counts as missing."""
    if not isinstance(document, dict):
        raise _RefusedError(INVALID_FIELD, f"expected an object with {name!r}, found {type(document).__name__}")
    value = document.get(name)
    if value is None:
        if default is _REQUIRED:
            raise _RefusedError(MISSING_FIELD, f"{name!r} is missing")
        return default
    # A bool is an int to Python, not to JSON.
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        expected = " or ".join(each.__name__ for each in types)
        raise _RefusedError(INVALID_FIELD, f"{name!r} should be {expected}, found {type(value).__name__}")
    return value
