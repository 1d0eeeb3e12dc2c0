"""An experiment's view: production as it is, with the experiment's own results before it.

A log of which the experiment has an entry goes on from there on its own: what production adds to it later is not seen.
"""

from pathlib import Path

from al_platform.storage.store import Store


class OverlayStore:
    """Reads from ``own`` first and from ``base`` where that has nothing; writes to ``own`` alone."""

    def __init__(self, base: Store, own: Store):
        self._base = base
        self._own = own
        self.root = own.root

    def read(self, path: str) -> bytes:
        try:
            return self._own.read(path)
        except FileNotFoundError:
            return self._base.read(path)

    def exists(self, path: str) -> bool:
        return self._own.exists(path) or self._base.exists(path)

    def list(self, prefix: str) -> list[str]:
        own = self._own.list(prefix)
        first: dict[str, str] = {}
        for path in own:
            folder = path.rpartition("/")[0]
            first[folder] = min(path, first.get(folder, path))
        return sorted({*own, *(path for path in self._base.list(prefix) if not _is_hidden(path, first))})

    def write(self, path: str, data: bytes) -> None:
        self._own.write(path, data)

    def create(self, path: str, data: bytes) -> None:
        if path in self.list(path.rpartition("/")[0]):
            raise FileExistsError(path)
        self._own.create(path, data)

    def upload(self, source: Path, path: str) -> None:
        self._own.upload(source, path)

    def local(self, path: str) -> Path:
        is_own = self._own.exists(path) or bool(self._own.list(path))
        return (self._own if is_own else self._base).local(path)

    def remove(self, prefix: str) -> None:
        self._own.remove(prefix)


def _is_hidden(path: str, first: dict[str, str]) -> bool:
    folder = path.rpartition("/")[0]
    return folder.endswith("/log") and folder in first and path >= first[folder]
