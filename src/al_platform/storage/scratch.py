"""A folder on this machine that ends with the process: for files on their way to a store, and copies of stored ones."""

import atexit
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Hashable
from functools import cache, wraps
from pathlib import Path
from threading import RLock
from typing import TypeVar

_Made = TypeVar("_Made")
_NAME = re.compile(r"al-platform-(\d+)-\w+")


def once(make: Callable[..., _Made]) -> Callable[..., _Made]:
    """Return a function that calls ``make`` once for equal arguments, and returns what it made then.

    Beside ``functools.cache`` it holds for threads that ask at the same moment: that one may give each its own.
    """
    known, lock = cache(make), RLock()

    @wraps(make)
    def made(*arguments: Hashable) -> _Made:
        with lock:
            return known(*arguments)

    return made


def scratch_folder(purpose: str) -> Path:
    """Return a new empty folder that ends with the process."""
    return Path(tempfile.mkdtemp(prefix=f"{purpose}-", dir=_process_folder(os.getpid())))


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder to serialise into before an upload: an upload must never see a half-written file."""
    return tempfile.TemporaryDirectory(dir=_process_folder(os.getpid()))


@once
def _process_folder(pid: int) -> Path:
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=f"al-platform-{pid}-"))
    atexit.register(_end, folder, pid)
    return folder


def _end(folder: Path, pid: int) -> None:
    if os.getpid() == pid:  # a forked child ends before its parent
        shutil.rmtree(folder, ignore_errors=True)


def _sweep() -> None:
    """Remove what killed processes left: it may hold pages."""
    for folder in Path(tempfile.gettempdir()).glob("al-platform-*"):
        match = _NAME.fullmatch(folder.name)
        if match and not _is_alive(int(match[1])):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    if os.name == "nt":  # there, signal 0 is no question
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
