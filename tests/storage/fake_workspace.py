"""A stand-in for a Databricks workspace: the SDK's own FilesAPI and VolumesAPI speak to it instead of to HTTP."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from functools import cache
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any, BinaryIO
from urllib.parse import unquote

from databricks.sdk.errors import AlreadyExists, BadRequest, NotFound, PermissionDenied

VOLUME = "/Volumes/main/al/data"
_PAGE = 2  # so small that every listing has several


class FakeWorkspace:
    """What ``VolumeStore`` uses of a ``WorkspaceClient``, with the files of one volume in a local folder.

    Attributes:
        folder: Of the volume's files; another workspace object on it is another process.
        requests: Every request so far, as "GET files/Volumes/main/al/data/x".
        denied: Requests refused, as "PUT files" or "GET".
        failure: What the next request raises.
        cut: How many bytes downloads come short.
    """

    def __init__(self, folder: Path, name: str = VOLUME):
        self.folder = folder
        self.folder.mkdir(exist_ok=True)
        self.api_client = self
        self.requests: list[str] = []
        self.denied: set[str] = set()
        self.failure: Exception | None = None
        self.cut = 0
        self._name = name
        self._cfg = SimpleNamespace(workspace_id=None)
        self._lock = Lock()

    def do(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, Any] | None = None,
        headers: dict[str, str],
        data: BinaryIO | None = None,
        raw: bool = False,
        response_headers: list[str] | None = None,
    ) -> dict[str, Any]:
        request = f"{method} {unquote(path.removeprefix('/api/2.0/fs/').removeprefix('/api/2.1/unity-catalog/'))}"
        self.requests.append(request)
        failure, self.failure = self.failure, None
        if failure:
            raise failure
        if any(request.startswith(refused) for refused in self.denied):
            raise PermissionDenied("User does not have READ VOLUME or WRITE VOLUME.")
        kind, _, name = request.partition(" ")[2].partition("/")
        if kind == "volumes":
            return self._volume(name)
        if not _is_at(self._name, f"/{name}"):
            raise NotFound("The volume does not exist.")
        with self._lock:
            call = getattr(self, f"_{method.lower()}_{kind}")
            answer: dict[str, Any] = call(self.folder / f"/{name}".removeprefix(self._name).lstrip("/"), query, data)
        return answer

    def downloads(self) -> int:
        """Return how many files have been downloaded."""
        return sum(request.startswith("GET files") for request in self.requests)

    def _volume(self, name: str) -> dict[str, Any]:
        if f"/Volumes/{name.replace('.', '/')}" != self._name:
            raise NotFound(f"Volume '{name}' does not exist.")
        return {"full_name": name}

    def _put_directories(self, where: Path, *_: object) -> dict[str, Any]:
        where.mkdir(parents=True, exist_ok=True)
        return {}

    def _get_directories(self, where: Path, query: dict[str, Any], *_: object) -> dict[str, Any]:
        # So does the folder of an empty volume.
        if not where.is_dir() or (where == self.folder and not any(where.iterdir())):
            raise NotFound("The directory being accessed is not found.")
        start = int(query.get("page_token", 0))
        found = sorted(where.iterdir())
        more = {"next_page_token": str(start + _PAGE)} if start + _PAGE < len(found) else {}
        return {"contents": [self._entry(entry) for entry in found[start : start + _PAGE]], **more}

    def _delete_directories(self, where: Path, *_: object) -> dict[str, Any]:
        if not where.is_dir():
            raise NotFound("The directory being accessed is not found.")
        if any(where.iterdir()):
            raise BadRequest("The directory being deleted is not empty.")
        where.rmdir()
        return {}

    def _put_files(self, where: Path, query: dict[str, Any], data: BinaryIO) -> dict[str, Any]:
        if where.exists() and not query["overwrite"]:
            raise AlreadyExists("The file being created already exists.")
        where.write_bytes(data.read())
        return {}

    def _get_files(self, where: Path, *_: object) -> dict[str, Any]:
        headers = self._head_files(where)
        content = where.read_bytes()
        return {**headers, "contents": io.BytesIO(content[: len(content) - self.cut])}

    def _head_files(self, where: Path, *_: object) -> dict[str, Any]:
        if not where.is_file():
            raise NotFound("The file being accessed is not found.")
        status = where.stat()
        return {"content-length": str(status.st_size), "last-modified": formatdate(status.st_mtime, usegmt=True)}

    def _delete_files(self, where: Path, *_: object) -> dict[str, Any]:
        if not where.is_file():
            raise NotFound("The file being accessed is not found.")
        where.unlink()
        return {}

    def _entry(self, where: Path) -> dict[str, Any]:
        path = f"{self._name}/{where.relative_to(self.folder).as_posix()}"
        if where.is_dir():
            return {"path": path, "name": where.name, "is_directory": True}
        status = where.stat()
        modified_ms = int(status.st_mtime * 1000)
        return {"path": path, "name": where.name, "file_size": status.st_size, "last_modified": modified_ms}


@contextmanager
def read_only(mount: Path) -> Iterator[None]:
    """Refuse what this process tries to change below ``mount``: appends, links, renames, everything but reading."""
    _watch()
    _guarded.add(str(mount))
    try:
        yield
    finally:
        _guarded.remove(str(mount))


@cache
def _watch() -> None:
    # Once, and for the rest of the process: a hook cannot be taken away.
    sys.addaudithook(_refuse_changes)


_guarded: set[str] = set()
_CHANGES = frozenset(
    {"os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate", "os.utime"}
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC


def _refuse_changes(event: str, arguments: tuple[object, ...]) -> None:
    if not _guarded:
        return
    is_change = event in _CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING)
    paths = [str(argument) for argument in arguments if isinstance(argument, str | os.PathLike)]
    if is_change and any(_is_at(folder, path) for folder in _guarded for path in paths):
        raise PermissionError(f"{event} of {paths}, on a mount that can be read only")


def _is_at(folder: str, path: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
