"""Plain text from what a crawler stored, its words, its fingerprint, and whether it is worth keeping.

``clean_text`` is written by hand instead of on ``html.parser``: that parser takes quadratic time on hostile input in
Python releases we support, and reads the same page differently from one patch release to the next.
"""

import hashlib
import html
import re
import unicodedata
from collections.abc import Iterator
from html.entities import html5
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_QUOTED_CHARS = 1_000
"""How far a quoted attribute value that holds a ``>`` is followed; keeps the time linear on unbalanced quotes."""

_ELEMENT_NAMES = (
    "a abbr acronym address applet area article aside audio b base basefont bdi bdo big blink blockquote body "
    "br button canvas caption center cite code col colgroup data datalist dd del details dfn dialog dir div dl "
    "dt em embed fieldset figcaption figure font footer form frame frameset g h1 h2 h3 h4 h5 h6 head header "
    "hgroup hr html i iframe img input ins kbd label legend li link main map mark marquee math menu meta meter "
    "nav nobr noframes noscript object ol optgroup option output p param path picture pre progress q rb rp rt "
    "rtc ruby s samp script search section select slot small source span strike strong style sub summary sup "
    "svg table tbody td template textarea tfoot th thead time title tr track tt u ul use var video wbr xml"
)
_ELEMENTS = frozenset(_ELEMENT_NAMES.split())
_MARKUP_START = re.compile(
    r"<(?=[A-Za-z/!?])"
    r"(?:!--|!(?i:doctype)\b|!\[CDATA\[|\?(?:xml|php)\b|/?(?P<name>[A-Za-z][A-Za-z0-9:-]*+)(?=[\s/<>]|$))"
)
_RAW_END = {name: re.compile(rf"</{name}(?=[\s/<>]|$)", re.IGNORECASE) for name in ("script", "style")}
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u2060\ufeff\ud800-\udfff]+")
# Scripts written without spaces give one word a character, as a run of them would be one word a sentence.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")


class CleaningOptions(BaseModel):
    """Which texts are worth keeping.

    Attributes:
        min_words: Fewer words than this say nothing about a page: mostly error pages and empty shells.
        max_chars: A text is cut here. 100,000 characters are 50 times what any of our models reads, and one
            runaway page must not fill the memory of an annotator's browser.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_words: int = Field(default=3, ge=0)
    max_chars: int = Field(default=100_000, ge=1)


def clean_text(text: str) -> str:
    """Return ``text`` without markup and control characters, in Unicode NFC, with single spaces.

    Entities are decoded once. What looks like markup only after that (a page that writes about ``&lt;b&gt;``) stays,
    with a space behind its ``<`` or ``&``, so that cleaning twice equals cleaning once. Takes linear time.
    """
    stripped = _strip_markup(_normalise(text))
    decoded = _normalise(_ENTITY.sub(_decoded, stripped))
    settled = _MARKUP_START.sub(_settled_markup, _ENTITY.sub(_settled_entity, decoded))
    return " ".join(settled.split())


def cut_text(cleaned: str, options: CleaningOptions) -> str:
    """Return the first ``options.max_chars`` characters, back to the last whole word where there are several."""
    if len(cleaned) <= options.max_chars:
        return cleaned
    end = cleaned.rfind(" ", 0, options.max_chars + 1)
    return cleaned[: end if end > 0 else options.max_chars]


def words(text: str) -> list[str]:
    """Return the words of ``text``, casefolded, in order; one a character in scripts without spaces."""
    return _WORD.findall(text.casefold())


def text_hash(text: str) -> str:
    """Return 32 hex characters that are equal for texts that differ in markup, spacing and case only."""
    return hashlib.sha256(clean_text(text).casefold().encode()).hexdigest()[:32]


def reason_to_drop(cleaned: str, options: CleaningOptions) -> Literal["empty", "too_short"] | None:
    """Return why a cleaned text is not worth keeping, or None if it is."""
    if not cleaned:
        return "empty"
    if _has_fewer_words(cleaned, options.min_words):
        return "too_short"
    return None


def _has_fewer_words(cleaned: str, n: int) -> bool:
    found = _WORD.finditer(cleaned)
    return any(next(found, None) is None for _ in range(n))


def _normalise(text: str) -> str:
    return unicodedata.normalize("NFC", _INVISIBLE.sub("", text).replace("\u200b", " "))


def _decoded(entity: re.Match[str]) -> str:
    return html.unescape(entity[0]) if _is_decodable(entity[0]) else entity[0]


def _is_decodable(entity: str) -> bool:
    return entity[1] == "#" or entity[1:] in html5


def _settled_entity(entity: re.Match[str]) -> str:
    return _spaced(entity[0]) if _is_decodable(entity[0]) else entity[0]


def _settled_markup(found: re.Match[str]) -> str:
    return _spaced(found[0]) if _is_markup(found) else found[0]


def _spaced(found: str) -> str:
    return f"{found[0]} {found[1:]}"


def _is_markup(found: re.Match[str]) -> bool:
    """Whether the name is an element, a custom element or namespaced: ``List<String>`` and ``<me@home>`` are text."""
    name = found["name"]
    return name is None or name.lower() in _ELEMENTS or "-" in name or ":" in name


def _strip_markup(text: str) -> str:
    pieces = []
    position = 0
    for start, end in _markup(text):
        pieces.append(text[position:start])
        position = end
    return " ".join([*pieces, text[position:]])


def _markup(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each stretch of markup, in order; a script or style is one stretch, content included."""
    last_tag_end, last_comment_end = text.rfind(">"), text.rfind("-->")
    position, is_markup = 0, False
    while (found := _MARKUP_START.search(text, position)) is not None:
        start, opening = found.span()
        if not _is_markup(found):
            position = opening
            continue
        name = (found["name"] or "").lower()
        if found[0] == "<!--":
            end = text.find("-->", start + 2) + 3 if start + 2 <= last_comment_end else opening
        elif start > last_tag_end:
            return
        elif _is_variable(text, found):
            position = opening
            continue
        else:
            end = _tag_end(text, opening)
            if name in _RAW_END and found[0][1] != "/":
                end = _raw_end(text, name, end, is_whole_page=is_markup or not text[:start].strip())
        yield start, end
        position, is_markup = end, True


def _is_variable(text: str, found: re.Match[str]) -> bool:
    """Whether ``<b and c>`` is a comparison: one-letter names with words behind them that are no attributes."""
    if len(found[0]) != len("<b"):
        return False
    body = text[found.end() : text.find(">", found.end())]
    return bool(body.strip(" \t\r\n/")) and "=" not in body and "<" not in body


def _tag_end(text: str, opening: int) -> int:
    end = text.find(">", opening)
    if text.count('"', opening, end) % 2 == 1:
        quote = text.find('"', end, end + MAX_QUOTED_CHARS)
        after_quote = text.find(">", quote) if quote >= 0 else -1
        end = max(end, after_quote)
    return end + 1


def _raw_end(text: str, name: str, content: int, is_whole_page: bool) -> int:
    """Return where a script or style ends: unclosed, at the end of a page, but at once in a text that only names it."""
    closing = _RAW_END[name].search(text, content)
    if closing is None:
        return len(text) if is_whole_page else content
    end = text.find(">", closing.end())
    return end + 1 if end >= 0 else len(text)
