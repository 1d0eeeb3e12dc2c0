"""An experiment's view: production as it is, with the experiment's own results before it."""

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
        return sorted({*self._own.list(prefix), *self._base.list(prefix)})

    def write(self, path: str, data: bytes) -> None:
        self._own.write(path, data)

    def create(self, path: str, data: bytes) -> None:
        if self._base.exists(path):
            raise FileExistsError(path)
        self._own.create(path, data)

    def upload(self, source: Path, path: str) -> None:
        self._own.upload(source, path)

    def local(self, path: str) -> Path:
        is_own = self._own.exists(path) or bool(self._own.list(path))
        return (self._own if is_own else self._base).local(path)

    def remove(self, prefix: str) -> None:
        self._own.remove(prefix)
