"""How a file names a page, in each format of the stores, and the same file without the page.

What is about a page is a row of a table with its id, an object of JSON with its id (a task, where the object is its
``data``), a line of JSON Lines, and what a report in HTML tells between its marks. Prose, in logs and in the details of
a quarantine, only mentions a page.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from al_platform.domain.errors import StoreError
from al_platform.reports.erasable import without_page

ERASED = "[erased]"
SHORTEST_MENTION = 6
"""Shorter ids are words of ordinary prose, and are not looked for there."""

_TOLD = ("set", "reason", "annotator", "values")
_PROSE = (".log", ".txt")
_REPORT = ".html"
_PROSE_KEYS = ("error",)
_GONE = object()


class Found(NamedTuple):
    """How often a file names a page, and what it says about it in a few words."""

    rows: int
    detail: str


class PageId:
    """A page's id, and how to recognise it."""

    def __init__(self, page_id: str):
        self.text = page_id
        spelled = {page_id, json.dumps(page_id)[1:-1]}
        pattern = "|".join(re.escape(each) for each in sorted(spelled, key=len, reverse=True))
        self._mention = re.compile(rf"(?<![0-9A-Za-z])(?:{pattern})(?![0-9A-Za-z])")

    @property
    def is_word(self) -> bool:
        """Whether the id is so short that it may be a word of any prose, and is not looked for there."""
        return len(self.text) < SHORTEST_MENTION

    def is_in(self, prose: str | None) -> bool:
        """Return whether prose mentions the page."""
        return bool(prose) and not self.is_word and bool(self._mention.search(prose or ""))

    def taken_out(self, prose: str) -> tuple[str, int]:
        """Return prose with the id blotted out, and how often it was there."""
        return self._mention.subn(ERASED, prose) if self.is_in(prose) else (prose, 0)


def find_page(file: Path, page_id: str) -> Found | None:
    """Return how a file names a page; None where it does not.

    Raises:
        StoreError: The file cannot be read, so that nobody can tell.
    """
    if file.suffix == ".parquet":
        return _find_rows(file, PageId(page_id))
    _, removed = _text_without(file, PageId(page_id))
    return Found(removed, "") if removed else None


def values_of_page(file: Path, page_id: str, column: str) -> list[str]:
    """Return what a column of a Parquet file holds for a page, a value a row."""
    rows = pq.read_table(file, columns=["page_id", column], filters=pc.field("page_id") == page_id)
    values: list[str] = rows[column].to_pylist()
    return values


def write_without_page(file: Path, page_id: str, target: Path) -> int:
    """Write a file without a page to ``target``, and return how many rows, objects or mentions went.

    All else stays as it is: order, columns, types, metadata, row groups. Equal files give equal bytes.

    Raises:
        StoreError: The file cannot be read.
    """
    if file.suffix == ".parquet":
        return _write_rows_without(file, PageId(page_id), target)
    data, removed = _text_without(file, PageId(page_id))
    target.write_bytes(data)
    return removed


def _find_rows(file: Path, page: PageId) -> Found | None:
    names = _schema(file).names
    if "page_id" not in names:
        return None
    told = [name for name in (*_TOLD, "detail") if name in names]
    # A detail may mention a page where the id itself is missing, so that such a file is read whole.
    only = None if "detail" in names else pc.field("page_id") == page.text
    rows = pq.read_table(file, columns=["page_id", *told], filters=only)
    rows = rows.filter(_is_about(rows, page))
    return Found(rows.num_rows, _detail(rows, told)) if rows.num_rows else None


def _detail(rows: pa.Table, told: list[str]) -> str:
    parts = []
    for name in told[: len(told) - ("detail" in told)]:
        values = [", ".join(value) if isinstance(value, list) else value for value in rows[name].to_pylist()]
        if distinct := sorted({value for value in values if value}):
            parts.append(f"{name} {', '.join(distinct)}")
    return "; ".join(parts)


def _write_rows_without(file: Path, page: PageId, target: Path) -> int:
    schema, removed = _schema(file), 0
    with pq.ParquetFile(file) as source, pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for group in range(source.num_row_groups):
            rows = source.read_row_group(group)
            kept = rows.filter(pc.invert(_is_about(rows, page))).combine_chunks()
            removed += rows.num_rows - kept.num_rows
            if kept.num_rows:
                writer.write_table(kept, row_group_size=kept.num_rows)
    return removed


def _is_about(rows: pa.Table, page: PageId) -> pa.Array:
    page_ids = rows["page_id"].cast(pa.string())
    is_about = pc.fill_null(pc.equal(page_ids, page.text), fill_value=False)
    if "detail" not in rows.column_names:
        return is_about
    is_nameless = [page_id is None for page_id in page_ids.to_pylist()]
    details = zip(is_nameless, rows["detail"].to_pylist(), strict=True)
    return pc.or_(is_about, pa.array([nameless and page.is_in(detail) for nameless, detail in details], pa.bool_()))


def _schema(file: Path) -> pa.Schema:
    try:
        return pq.read_schema(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(file, str(error)) from error


def _text_without(file: Path, page: PageId) -> tuple[bytes, int]:
    """Return the content of a file of JSON, JSON Lines or prose without the page, and how much went."""
    data = file.read_bytes()
    if file.suffix == ".json":
        return _document_without(file, data, page)
    if file.suffix in (".jsonl", ".ndjson"):
        return _lines_without(data, page)
    if file.suffix in (*_PROSE, _REPORT):
        text, told = data.decode("utf-8", "surrogateescape"), 0
        if file.suffix == _REPORT:
            text, told = without_page(text, page.text)
        text, mentioned = page.taken_out(text)
        return text.encode("utf-8", "surrogateescape"), told + mentioned
    if page.is_in(data.decode("utf-8", "replace")):
        raise _unreadable(file, f"its ending {file.suffix!r} is none that we know, and it names the page")
    return data, 0


def _document_without(file: Path, data: bytes, page: PageId) -> tuple[bytes, int]:
    value = _parsed(data)
    if value is _GONE and not data.lstrip().startswith((b"[", b"\xef\xbb\xbf[")):
        return _lines_without(data, page)
    if value is _GONE:
        if page.is_in(data.decode("utf-8", "replace")):
            raise _unreadable(file, "it is no JSON, and it names the page")
        return data, 0
    kept, removed = _value_without(value, page)
    if not removed:
        return data, 0
    return _dump([] if kept is _GONE else kept, data, indent=2) + b"\n", removed


def _lines_without(data: bytes, page: PageId) -> tuple[bytes, int]:
    kept, total = [], 0
    *whole, last = data.split(b"\n")
    for line in [*(line + b"\n" for line in whole), last]:
        left, removed = _line_without(line, page)
        kept.append(left)
        total += removed
    return b"".join(kept), total


def _line_without(line: bytes, page: PageId) -> tuple[bytes, int]:
    value = _parsed(line)
    if value is _GONE:
        # Half a line cannot be taken apart; it can hold the page's text as well as its id.
        return (b"", 1) if page.is_in(line.decode("utf-8", "replace")) else (line, 0)
    kept, removed = _value_without(value, page)
    if not removed:
        return line, 0
    return (b"" if kept is _GONE else _dump(kept, line, indent=None) + b"\n"), removed


def _value_without(value: Any, page: PageId) -> tuple[Any, int]:
    """Return a JSON value without what is about the page: ``_GONE`` if all of it is."""
    if isinstance(value, list):
        return _together(((None, part) for part in value), page, lambda parts: [part for _, part in parts])
    if not isinstance(value, dict):
        return value, 0
    if _names(value, page) or _names(value.get("data"), page):
        return _GONE, 1
    return _together(value.items(), page, dict)


def _together(
    parts: Iterable[tuple[Any, Any]], page: PageId, build: Callable[[Iterator[tuple[Any, Any]]], Any]
) -> tuple[Any, int]:
    left = [(name, *_part_without(name, part, page)) for name, part in parts]
    kept = ((name, part) for name, part, _ in left if part is not _GONE)
    return build(kept), sum(removed for _, _, removed in left)


def _part_without(name: Any, part: Any, page: PageId) -> tuple[Any, int]:
    if name == "page_ids" and isinstance(part, list):
        kept = [each for each in part if each != page.text]
        return kept, len(part) - len(kept)
    if name in _PROSE_KEYS and isinstance(part, str):
        return page.taken_out(part)
    return _value_without(part, page)


def _names(value: Any, page: PageId) -> bool:
    return isinstance(value, dict) and str(value.get("page_id")) == page.text


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return _GONE


def _dump(value: Any, original: bytes, indent: int | None) -> bytes:
    # Escapes stay escapes: JSON can spell half a surrogate pair, which UTF-8 cannot.
    is_ascii = rb"\u" in original
    return json.dumps(value, indent=indent, sort_keys=indent is not None, ensure_ascii=is_ascii).encode()


def _unreadable(file: Path, why: str) -> StoreError:
    return StoreError(
        f"{file} cannot be read: {why}. Whether it holds more of the page cannot be told: restore it, or remove it "
        f"by hand, and run again."
    )
