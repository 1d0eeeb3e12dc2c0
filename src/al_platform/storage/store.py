"""The few operations that everything durable is built on.

Paths are relative to the root, with ``/`` between their parts, on every store.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from al_platform.domain.errors import ConfigError


class Store(Protocol):
    """A tree of immutable files, and the one primitive that decides a race: ``create``."""

    root: str

    def read(self, path: str) -> bytes:
        """Return the bytes at ``path``; FileNotFoundError if there are none."""
        ...

    def exists(self, path: str) -> bool:
        """Return whether there is a file at ``path``."""
        ...

    def list(self, prefix: str) -> list[str]:
        """Return the paths of all files below the folder ``prefix``, sorted; none if it does not exist."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Put ``data`` at ``path``, whole or not at all; replaces what is there."""
        ...

    def create(self, path: str, data: bytes) -> None:
        """Put ``data`` at ``path``, whole or not at all; FileExistsError if something is there."""
        ...

    def upload(self, source: Path, path: str) -> None:
        """Put the local file ``source`` at ``path``, whole or not at all; replaces what is there."""
        ...

    def local(self, path: str) -> Path:
        """Return a local file or folder with the content of ``path``, to be read only."""
        ...

    def remove(self, prefix: str) -> None:
        """Remove the folder ``prefix`` and all below it; nothing happens if it does not exist."""
        ...


class LocalStore:
    """A store in a folder of a local disk."""

    def __init__(self, root: str | Path):
        self._root = Path(root).absolute()
        self.root = str(self._root)

    def read(self, path: str) -> bytes:
        return (self._root / path).read_bytes()

    def exists(self, path: str) -> bool:
        return (self._root / path).is_file()

    def list(self, prefix: str) -> list[str]:
        folder = self._root / prefix
        found = (Path(where, name) for where, _, names in os.walk(folder) for name in names)
        return sorted(file.relative_to(self._root).as_posix() for file in found if not _is_temporary(file))

    def write(self, path: str, data: bytes) -> None:
        temporary = self._write_temporary(path, data)
        temporary.replace(self._root / path)

    def create(self, path: str, data: bytes) -> None:
        # A hard link fails where the name is taken, and appears with its whole content: O_EXCL alone would
        # leave a truncated file after a kill in the middle of the write.
        temporary = self._write_temporary(path, data)
        try:
            os.link(temporary, self._root / path)
        finally:
            temporary.unlink()

    def upload(self, source: Path, path: str) -> None:
        temporary = self._temporary(path)
        shutil.copyfile(source, temporary)
        _sync(temporary)
        temporary.replace(self._root / path)

    def local(self, path: str) -> Path:
        return self._root / path

    def remove(self, prefix: str) -> None:
        folder = self._root / prefix
        if folder.is_dir():
            shutil.rmtree(folder)

    def _write_temporary(self, path: str, data: bytes) -> Path:
        temporary = self._temporary(path)
        temporary.write_bytes(data)
        _sync(temporary)
        return temporary

    def _temporary(self, path: str) -> Path:
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.with_name(f".{target.name}.{uuid4().hex}{_TEMPORARY}")


_TEMPORARY = ".part"


def _is_temporary(file: Path) -> bool:
    return file.name.startswith(".") and file.name.endswith(_TEMPORARY)


def _sync(file: Path) -> None:
    with file.open("rb+") as handle:
        os.fsync(handle.fileno())


def open_store(root: str) -> Store:
    """Return the store at ``root``.

    Raises:
        ConfigError: ``root`` is of a kind that is not supported.
    """
    scheme, separator, _ = root.partition("://")
    if separator or root.startswith("dbfs:"):
        raise ConfigError(f"The store root {root!r} ({scheme or 'dbfs'}) is not supported: give a local folder.")
    return LocalStore(root)


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder to serialise into before an upload: an upload must never see a half-written file."""
    return tempfile.TemporaryDirectory(prefix="al-platform-")
