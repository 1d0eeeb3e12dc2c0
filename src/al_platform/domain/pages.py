"""What a page says, as models, annotators and duplicates all read it."""

from al_platform.domain.text import clean_text


def page_text(title: str | None, text: str | None) -> str:
    """Return title and text, cleaned; the title is not repeated where the text begins with it."""
    head, body = clean_text(title or ""), clean_text(text or "")
    return body if body.startswith(head) else f"{head} {body}".strip()
