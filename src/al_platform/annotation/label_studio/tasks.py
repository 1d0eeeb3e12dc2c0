"""A page as a task of Label Studio."""

from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import urlsplit

from al_platform.annotation.label_studio.labelling_config import region

ANCHORED_IS_WRONG = frozenset({"audit", "exploration", "duel", "control", "relabel", "second_opinion"})
"""Reasons of pages that measure models or people: who sees the model's opinion there, measures it with itself."""

# PostgreSQL cannot store this one.
_NUL, _REPLACEMENT = "\0", "\ufffd"


def task(row: Mapping[str, Any], guideline_version: str, tree_separator: str | None) -> dict[str, Any]:
    """Return the task of a batch's row, with what the model suggests where the column ``suggested`` says it.

    The key stands in ``meta`` as well, so that tasks can be listed without their texts.
    """
    key = {name: row[name] for name in ("page_id", "batch_id")}
    shown = {name: (row[name] or "").replace(_NUL, _REPLACEMENT) for name in ("url", "title", "text")}
    data = {**key, **shown, "rank": row["rank"], "link": link(shown["url"]), "guideline_version": guideline_version}
    return {"data": data, "meta": key, **_predictions(row, tree_separator)}


def link(url: str) -> str:
    """Return HTML that shows an address, and opens it where a browser would only load a page."""
    shown = escape(url)
    if not _is_page(url):
        return shown
    return f'<a href="{shown}" target="_blank" rel="noopener noreferrer nofollow">{shown}</a>'


def _is_page(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _predictions(row: Mapping[str, Any], tree_separator: str | None) -> dict[str, Any]:
    suggested = row.get("suggested")
    if suggested is None or row["reason"] in ANCHORED_IS_WRONG or row["inclusion_probability"] is not None:
        return {}
    result = [region(suggested, tree_separator)] if suggested else []
    return {"predictions": [{"model_version": row["model_digest"] or "", "result": result}]}


def is_ours(listed: Mapping[str, Any]) -> bool:
    """Return whether a task of the server is one that we made; people may add others."""
    meta = listed["meta"]
    return isinstance(meta, dict) and all(isinstance(meta.get(name), str) for name in ("page_id", "batch_id"))
