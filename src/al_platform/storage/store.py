"""The few operations that everything durable is built on.

Paths are relative to the root, with ``/`` between their parts, on every store.
"""

import errno
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable
from uuid import uuid4

from al_platform.domain.errors import ConfigError, StoreError

Root: TypeAlias = str | Mapping[str, str]
"""Where a store lies: a folder or URI; or, for an experiment, ``base`` that it reads and ``own`` that it writes."""


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


@dataclass(frozen=True)
class Leftover:
    """What an interrupted write left: no file of the store, but space on it.

    Attributes:
        path: Below the root.
        detail: What it is.
        size: In bytes, 0 where the store does not tell.
        age: Since it was begun.
    """

    path: str
    detail: str
    size: int
    age: timedelta


@runtime_checkable
class Cleanable(Protocol):
    """A store on which interrupted writes leave something."""

    def leftovers(self) -> Sequence[Leftover]:
        """Return what interrupted writes left."""
        ...

    def remove_leftovers(self, older_than: timedelta) -> None:
        """Remove what is at least this old: what is younger may belong to a writer at work."""
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
        with self._temporary(path) as temporary:
            temporary.write_bytes(data)
            _sync(temporary)
            temporary.replace(self._root / path)
            _sync_folder(temporary.parent)

    def create(self, path: str, data: bytes) -> None:
        # A hard link fails where the name is taken, and appears with its whole content: O_EXCL alone would
        # leave a truncated file after a kill in the middle of the write.
        with self._temporary(path) as temporary:
            temporary.write_bytes(data)
            _sync(temporary)
            os.link(temporary, self._root / path)
            _sync_folder(temporary.parent)

    def upload(self, source: Path, path: str) -> None:
        with self._temporary(path) as temporary:
            shutil.copyfile(source, temporary)
            _sync(temporary)
            temporary.replace(self._root / path)
            _sync_folder(temporary.parent)

    def local(self, path: str) -> Path:
        return self._root / path

    def remove(self, prefix: str) -> None:
        folder = self._root / prefix
        if folder.is_dir():
            with _writing(folder):
                shutil.rmtree(folder)
                _sync_folder(folder.parent)

    def leftovers(self) -> Sequence[Leftover]:
        files = [Path(where, name) for where, _, names in os.walk(self._root) for name in names]
        found = [self._leftover(file) for file in sorted(files) if _is_temporary(file)]
        return [leftover for leftover in found if leftover is not None]

    def remove_leftovers(self, older_than: timedelta) -> None:
        for leftover in self.leftovers():
            if leftover.age >= older_than:
                (self._root / leftover.path).unlink(missing_ok=True)

    def _leftover(self, file: Path) -> Leftover | None:
        try:
            found = file.stat()
        except FileNotFoundError:  # its writer has just finished
            return None
        age = datetime.now(UTC) - datetime.fromtimestamp(found.st_mtime, UTC)
        return Leftover(file.relative_to(self._root).as_posix(), "unfinished write", found.st_size, age)

    @contextmanager
    def _temporary(self, path: str) -> Iterator[Path]:
        target = self._root / path
        temporary = target.with_name(f".{target.name}.{uuid4().hex}{_TEMPORARY}")
        try:
            with _writing(target):
                _make_folder(target.parent)
                yield temporary
        finally:
            # Where nothing can be written, nothing was left.
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


_TEMPORARY = ".part"


def _is_temporary(file: Path) -> bool:
    return file.name.startswith(".") and file.name.endswith(_TEMPORARY)


def _sync(file: Path) -> None:
    with file.open("rb+") as handle:
        os.fsync(handle.fileno())


def _sync_folder(folder: Path) -> None:
    """Let the names in a folder outlast a loss of power: a file's own sync does not bring its name with it."""
    if os.name == "nt":  # there no folder can be opened, and the file system keeps names by itself
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems, most of them over a network, know no such thing
            raise
    finally:
        os.close(handle)


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _ADVICE:
            raise
        raise StoreError(
            f"Asked to write {target}: {error.strerror}. {_ADVICE[error.errno]} What was committed before is as it was."
        ) from error


_ADVICE = {
    errno.ENOSPC: "Make room, then run again.",
    errno.EDQUOT: "Make room within the quota, then run again.",
    errno.EROFS: "The file system is read-only: mount it writable, or give another root.",
    errno.EACCES: "The right to write is missing: ask for it, or give another root.",
    errno.EPERM: "The right to write is missing, or the file system has no hard links: give another root.",
    errno.EOPNOTSUPP: "The file system has no hard links: give another root.",
}


def open_store(root: Root) -> Store:
    """Return the store at ``root``: a local folder, ``s3://bucket/prefix`` or ``/Volumes/catalog/schema/volume``.

    Raises:
        ConfigError: ``root`` is of a kind that is not supported.
    """
    # Each kind of store is imported where it is asked for: a laptop needs none of the cloud's libraries.
    if not isinstance(root, str):
        from al_platform.storage.overlay_store import OverlayStore

        return OverlayStore(open_store(root["base"]), open_store(root["own"]))
    if root.startswith("s3://"):
        from al_platform.storage.s3_store import S3Store

        return S3Store(root)
    if root.startswith(VOLUMES):
        from al_platform.storage.volume_store import VolumeStore

        return VolumeStore(root)
    if root.startswith(_OLD_DBFS):
        raise ConfigError(
            f"The root {root!r} is on DBFS itself or one of its mounts, which Databricks has retired: outside a "
            f"cluster it would be a local folder of that name. Give a Unity Catalog volume, /Volumes/CATALOG/SCHEMA/"
            f"VOLUME; docs/storage.md tells how to move."
        )
    if "://" in root:
        raise ConfigError(f"The root {root!r} is not supported. Give a local folder, s3://bucket/prefix or /Volumes/..")
    return LocalStore(root.removeprefix(LOCAL))


LOCAL = "file:"
"""Before a path that would otherwise be taken for a volume."""

VOLUMES = ("/Volumes/", "dbfs:/Volumes/")
_OLD_DBFS = ("dbfs:", "/dbfs/")


def is_local(root: str) -> bool:
    """Return whether a root is a folder of this machine."""
    return "://" not in root and not root.startswith(LOCAL) and not root.startswith((*VOLUMES, *_OLD_DBFS))
