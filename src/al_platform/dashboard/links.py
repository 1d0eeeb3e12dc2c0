"""Links from the dashboard to other files of the store: only such as work from where it lies."""

import posixpath
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from al_platform.storage.store import VOLUMES, is_local

_WEB = ("http", "https")
_VOLUME_PARTS = 5  # "", Volumes, catalog, schema, volume


@dataclass(frozen=True)
class Links:
    """How files of other roots are reached.

    Attributes:
        folder: Where the page lies, beginning with the root of its store; None for a copy elsewhere.
    """

    folder: str | None

    def to(self, root: str | None, path: str) -> str | None:
        """Return a link to a file below a root; None where none can work: then the path is shown.

        A link within one disk, bucket or volume is relative, so that it works wherever the whole is served. From a copy
        elsewhere only files of this machine can be reached.
        """
        if root is None:
            return None
        if self.folder is None:
            return (Path(root) / path).as_uri() if is_local(root) else None
        if _place(self.folder) != _place(root):
            return None
        return quote(posixpath.relpath(f"{root}/{path}", self.folder))


def web_link(url: str | None) -> str | None:
    """Return an address that a browser may be sent to, None for any other: no scheme that runs something."""
    if url is None:
        return None
    try:
        return url if urlsplit(url).scheme in _WEB else None
    except ValueError:
        return None


def _place(root: str) -> tuple[str, str]:
    """Return what two roots must share for one to lead to the other: kind of store, and bucket or volume."""
    if "://" in root:
        found = urlsplit(root)
        return found.scheme, found.netloc
    if root.startswith(VOLUMES):
        return "volume", "/".join(root.split("/")[:_VOLUME_PARTS])
    return "disk", ""
