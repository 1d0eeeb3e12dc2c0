"""Text from outside, made fit to be read in a report: nothing hidden, nothing turned around, not without end."""

import re

MAX_CHARS = 600

# Controls, bidirectional overrides and isolates, lone surrogates, noncharacters, and tags that no font draws.
_TREACHEROUS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\uffff\ud800-\udfff"
    "\U000e0000-\U000e0fff\U0001fffe\U0001ffff\U000f0000-\U0010ffff]"
)
_REPLACEMENT = "�"


def plain(text: str, max_chars: int = MAX_CHARS) -> str:
    """Return the beginning of ``text``, with a replacement character for all that misleads a reader or a browser.

    It is still to be escaped where it is put into markup.
    """
    is_cut = len(text) > max_chars
    shown = _TREACHEROUS.sub(_REPLACEMENT, text[: max_chars - 1] if is_cut else text)
    return f"{shown}…" if is_cut else shown
