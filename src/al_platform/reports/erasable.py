"""What a report tells about one page, between marks by which a privacy erasure takes it out again.

Page text is escaped in a report, so that no page can write a mark of its own.
"""

import re
from hashlib import sha256

_END = "<!--/page-->"


def begin_page(page_id: str) -> str:
    """Return the mark before what is told about a page; it names the page's SHA-256 and not the page."""
    return f"<!--page {_name(page_id)}-->"


def end_page() -> str:
    """Return the mark after it."""
    return _END


def without_page(document: str, page_id: str) -> tuple[str, int]:
    """Return a report without what it tells about a page, and how many places that were."""
    block = re.compile(f"{re.escape(begin_page(page_id))}.*?{re.escape(_END)}", re.DOTALL)
    return block.subn("", document)


def _name(page_id: str) -> str:
    return sha256(page_id.encode("utf-8", "surrogatepass")).hexdigest()
