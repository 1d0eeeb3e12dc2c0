"""How moments and tones are told on the dashboard."""

from typing import Literal

Tone = Literal["good", "warning", "bad", "quiet"]
_MINUTE_CHARS = len("2026-11-23T07:20")


def minute(at: str) -> str:
    """Return a moment in ISO 8601 up to its minute."""
    return at[:_MINUTE_CHARS].replace("T", " ")
