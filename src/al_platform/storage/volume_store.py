"""A store on a Unity Catalog volume of Databricks.

Who asks, and which workspace, is the Databricks SDK's own configuration: environment, profile, or the notebook's
identity. No token passes through our configuration.

Writes, and reads that decide something (logs, manifests, listings), are requests to the Files API: a request puts a
whole file or none, and sees what the request before it did. The mount below ``/Volumes`` on a cluster can neither
append, link nor write at random, leaves a truncated file after a kill, and may lag behind the API. It is good for
reading large files, and used for nothing else.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from uuid import uuid4

from al_platform.domain.errors import ConfigError, StoreError
from al_platform.storage.scratch import once, scratch_folder

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.files import DirectoryEntry, FilesAPI

MAX_FILE_BYTES = 5 << 30  # what the Files API takes in one request

_READ, _WRITE = "READ VOLUME", "READ VOLUME and WRITE VOLUME"
_LEVELS = ("catalog", "schema", "volume")
_CHUNK = 1 << 20
_ADVICE = "Check the workspace's address and the identity; what was committed before is as it was. Run again."


class NoSuchVolumeError(StoreError):
    """The volume of a store does not exist."""


class VolumeStore:
    """A store below ``/Volumes/<catalog>/<schema>/<volume>``; ``create`` is a PUT that may not overwrite."""

    def __init__(self, root: str, client: "WorkspaceClient | None" = None, mount: Path | None = None):
        """Open the store; nothing is asked of the workspace yet.

        Args:
            root: ``/Volumes/<catalog>/<schema>/<volume>``, maybe with folders and with ``dbfs:`` in front.
            client: By default one from the environment's configuration.
            mount: Where the volume is mounted on this machine, if it is; by default the volume's own path.

        Raises:
            ConfigError: The root lacks catalog, schema or volume.
        """
        self.root = volume_path(root)
        self._names = self.root.split("/")[2:5]
        self._volume = "/".join(["/Volumes", *self._names])
        self._mount = mount or Path(self._volume)
        self._given_client = client
        self._is_volume_known = False

    def read(self, path: str) -> bytes:
        content = BytesIO()
        self._download(self._absolute(path), content)
        return content.getvalue()

    def exists(self, path: str) -> bool:
        return self._file(self._absolute(path)) is not None

    def list(self, prefix: str) -> list[str]:
        below = self._walk(self._absolute(prefix))
        return sorted(_path(entry).removeprefix(f"{self.root}/") for entry in below if not entry.is_directory)

    def write(self, path: str, data: bytes) -> None:
        self._put(path, BytesIO(data), overwrite=True)

    def create(self, path: str, data: bytes) -> None:
        # The SDK repeats a PUT whose answer was lost. The second finds the first's file, so FileExistsError may mean
        # our own: the commit log reads the entry back.
        self._put(path, BytesIO(data), overwrite=False)

    def upload(self, source: Path, path: str) -> None:
        with source.open("rb") as content:
            self._put(path, content, overwrite=True)

    def local(self, path: str) -> Path:
        absolute = self._absolute(path)
        file = self._file(absolute)
        files = [file] if file else [_file_of(found) for found in self._walk(absolute) if not found.is_directory]
        if files and all(self._is_mounted(found) for found in files):
            return self._mounted(absolute)
        return self._copies.updated(absolute, files, self._download)

    def remove(self, prefix: str) -> None:
        folders = [self._absolute(prefix)]
        for entry in self._walk(folders[0]):
            if entry.is_directory:
                folders.append(_path(entry))
            else:
                self._delete(self._files.delete, _path(entry))
                self._copies.forget(_path(entry))
        # A folder is found before those in it, and can be deleted when it is empty only. The volume itself stays.
        for folder in reversed(folders):
            if folder != self._volume:
                self._delete(self._files.delete_directory, folder)

    @property
    def _client(self) -> "WorkspaceClient":
        return self._given_client or _client(tuple(sorted(_databricks_settings())))

    @property
    def _files(self) -> "FilesAPI":
        from databricks.sdk.service.files import FilesAPI

        # Not ``client.files``: from 50 MiB that one uploads in parts to pre-signed addresses, where ``overwrite`` is
        # asked about at the start and not at completion, and it fails where the cloud storage cannot be reached.
        return FilesAPI(self._client.api_client)  # type: ignore[no-untyped-call]

    @property
    def _copies(self) -> "_Copies":
        return _copies(self._client)

    def _absolute(self, path: str) -> str:
        return f"{self.root}/{path}".rstrip("/")

    def _put(self, path: str, content: BinaryIO, overwrite: bool) -> None:
        target = self._absolute(path)
        _require_one_request(content, target)
        with self._asking("write", target, _WRITE):
            self._files.create_directory(target.rpartition("/")[0])
            self._files.upload(target, content, overwrite=overwrite)
        self._copies.forget(target)

    def _download(self, absolute: str, target: BinaryIO) -> None:
        with self._asking("read", absolute, _READ):
            reply = self._files.download(absolute)
            assert reply.contents is not None
            with reply.contents as content:
                shutil.copyfileobj(content, target, _CHUNK)
        if target.tell() != (reply.content_length or target.tell()):
            raise StoreError(
                f"Asked to read {absolute}: {target.tell()} of {reply.content_length} bytes came. {_ADVICE}"
            )

    def _file(self, absolute: str) -> "_File | None":
        with suppress(FileNotFoundError), self._asking("look for", absolute, _READ):
            found = self._files.get_metadata(absolute)
            modified = parsedate_to_datetime(found.last_modified).timestamp() if found.last_modified else 0
            return _File(absolute, found.content_length or 0, int(modified))
        return None

    def _walk(self, folder: str) -> "Iterator[DirectoryEntry]":
        pending = [folder]
        while pending:
            for entry in self._entries(pending.pop()):
                yield entry
                if entry.is_directory:
                    pending.append(_path(entry))

    def _entries(self, folder: str) -> "tuple[DirectoryEntry, ...]":
        with suppress(FileNotFoundError), self._asking("list", folder, _READ):
            return tuple(self._files.list_directory_contents(folder))
        return ()

    def _delete(self, delete: Callable[[str], None], absolute: str) -> None:
        with suppress(FileNotFoundError), self._asking("remove", absolute, _WRITE):
            delete(absolute)

    def _mounted(self, absolute: str) -> Path:
        return self._mount / absolute.removeprefix(self._volume).lstrip("/")

    def _is_mounted(self, file: "_File") -> bool:
        # What this process wrote may still be the old version on the mount; of what others wrote, which is never
        # changed, a mount that lags shows nothing or less.
        mounted = self._mounted(file.path)
        return file.path not in self._copies.written and mounted.is_file() and mounted.stat().st_size == file.size

    @contextmanager
    def _asking(self, verb: str, absolute: str, rights: str) -> Iterator[None]:
        try:
            yield
        # The SDK's errors, its time-out and those of the connection are all OSErrors.
        except OSError as error:
            raise self._understood(error, f"Asked to {verb} {absolute}", rights) from error

    def _understood(self, error: OSError, asked: str, rights: str) -> Exception:
        from databricks.sdk.errors import Aborted, NotFound, PermissionDenied, ResourceConflict

        if isinstance(error, NotFound):
            return self._missing(asked)
        if isinstance(error, ResourceConflict) and not isinstance(error, Aborted):
            return FileExistsError(f"{asked}: {error}")
        if isinstance(error, PermissionDenied):
            return StoreError(f"{asked}, which is denied: {self._needed(rights)}. The workspace said: {error}")
        return StoreError(f"{asked}: {error}. {_ADVICE}")

    def _missing(self, asked: str) -> Exception:
        from databricks.sdk.errors import NotFound
        from databricks.sdk.service.catalog import VolumesAPI

        # The Files API answers alike for a missing file, a missing volume and the folder of an empty volume.
        if not self._is_volume_known:
            try:
                volumes = VolumesAPI(self._client.api_client)  # type: ignore[no-untyped-call]
                volumes.read(".".join(self._names))
            except OSError as error:
                kind = NoSuchVolumeError if isinstance(error, NotFound) else StoreError
                return kind(
                    f"{asked}: there is no such volume, or this identity may not see it ({error}). Create it, correct "
                    f"the root, or grant the rights: {self._needed(_READ)}."
                )
            self._is_volume_known = True
        return FileNotFoundError(f"{asked}: there is nothing.")

    def _needed(self, rights: str) -> str:
        catalog, schema, _ = self._names
        volume = ".".join(self._names)
        return f"this identity needs {rights} on {volume}, USE SCHEMA on {catalog}.{schema}, USE CATALOG on {catalog}"


def volume_path(root: str) -> str:
    """Return ``root`` as ``/Volumes/<catalog>/<schema>/<volume>[/folder...]``.

    Raises:
        ConfigError: It is none, or lacks catalog, schema or volume.
    """
    path = "/" + root.removeprefix("dbfs:").lstrip("/") if root.startswith("dbfs:") else root
    parts = path.rstrip("/").split("/")
    names = [*parts[2:5], "", "", ""]
    missing = [level for level, name in zip(_LEVELS, names, strict=False) if not name]
    if parts[:2] != ["", "Volumes"] or not {"", ".", ".."}.isdisjoint(parts[2:]) or missing:
        lacks = f" lacks {', '.join(missing)}" if missing else " is no path of a volume"
        raise ConfigError(f"The root {root!r}{lacks}. Give /Volumes/<catalog>/<schema>/<volume>[/folder].")
    return "/".join(parts)


@dataclass(frozen=True)
class _File:
    path: str
    size: int
    modified_s: int


class _Copies:
    """Local copies of a workspace's files, until the process ends."""

    def __init__(self) -> None:
        self.written: set[str] = set()
        self._root = scratch_folder("volume")
        self._known: dict[str, _File] = {}

    def forget(self, absolute: str) -> None:
        """Drop the copy of a file that has just been written or removed."""
        self.written.add(absolute)
        if self._known.pop(absolute, None):
            self._copy(absolute).unlink()

    def updated(self, absolute: str, files: Iterable[_File], download: Callable[[str, BinaryIO], None]) -> Path:
        """Return the copy of a file or folder, after downloading what of ``files`` is new or has changed."""
        current = {file.path: file for file in files}
        for file in current.values():
            if self._known.get(file.path) != file:
                self._fetch(file, download)
        for gone in [path for path in self._known if _is_at(absolute, path) and path not in current]:
            self.forget(gone)
        return self._copy(absolute)

    def _fetch(self, file: _File, download: Callable[[str, BinaryIO], None]) -> None:
        copy = self._copy(file.path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        # A reader of the same process must never meet half a copy.
        partial = self._root / uuid4().hex
        with partial.open("wb") as target:
            download(file.path, target)
        partial.replace(copy)
        self._known[file.path] = file

    def _copy(self, absolute: str) -> Path:
        return self._root / absolute.lstrip("/")


def _path(entry: "DirectoryEntry") -> str:
    assert entry.path is not None
    return entry.path.rstrip("/")


def _file_of(entry: "DirectoryEntry") -> _File:
    return _File(_path(entry), entry.file_size or 0, (entry.last_modified or 0) // 1000)


def _is_at(absolute: str, path: str) -> bool:
    return path == absolute or path.startswith(f"{absolute}/")


def _require_one_request(content: BinaryIO, target: str) -> None:
    size = content.seek(0, os.SEEK_END)
    content.seek(0)
    if size > MAX_FILE_BYTES:
        raise StoreError(
            f"Asked to write {size / 2**30:.1f} GiB to {target}, but a volume takes {MAX_FILE_BYTES >> 30} GiB in one "
            f"request, which is what puts a whole file or none. Split it into several files, or use an s3:// root."
        )


def _databricks_settings() -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in os.environ.items() if name.startswith("DATABRICKS_"))


@once
def _client(settings: tuple[tuple[str, str], ...]) -> "WorkspaceClient":
    """Return the client of these settings: all stores share it, being slow to make and safe between threads."""
    try:
        from databricks.sdk import WorkspaceClient
    except ImportError as error:
        raise ConfigError("A /Volumes root needs databricks-sdk: pip install 'al-platform[databricks]'.") from error
    try:
        return WorkspaceClient()
    except ValueError as error:
        raise ConfigError(f"A /Volumes root needs a Databricks workspace and an identity. {error}") from error


@once
def _copies(client: "WorkspaceClient") -> _Copies:
    """Return the copies of files that ``client`` reached, for all its stores."""
    return _Copies()
