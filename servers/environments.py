"""Environments and single packages that must not share ours: one for each lock file, in the user's cache folder.

Its folder carries the hash of its lock file, so that a second start is quick and a changed lock makes a
new one.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).parent
_DONE = ".complete"
_INSTALL = ("install", "--quiet", "--disable-pip-version-check")


def environment(name: str) -> Path:
    """Return the environment with what ``servers/<name>.lock`` lists, made now if there is none.

    Args:
        name: Of the lock file, without its ending.

    Returns:
        The environment's folder; its programs are in ``bin``.

    Raises:
        RuntimeError: It cannot be installed; the message holds pip's own.
    """

    def make(folder: Path, lock: Path) -> None:
        call(sys.executable, "-m", "venv", str(folder))
        call(str(folder / "bin" / "pip"), *_INSTALL, "-r", str(lock))

    return _made_once(name, make)


def package(name: str) -> Path:
    """Return a folder with the packages alone that ``servers/<name>.lock`` lists, installed now if it is not there.

    They come without what they ask for beside them, which may bring another torch.

    Raises:
        RuntimeError: They cannot be installed; the message holds pip's own.
    """

    def make(folder: Path, lock: Path) -> None:
        call(sys.executable, "-m", "pip", *_INSTALL, "--no-deps", "--target", str(folder), "-r", str(lock))

    return _made_once(name, make)


def _made_once(name: str, make: Callable[[Path, Path], None]) -> Path:
    lock = HERE / f"{name}.lock"
    digest = sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = cache_folder() / f"{name}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Two test runs at once make it once.
    with (folder.parent / f".{folder.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not (folder / _DONE).exists():
            print(f"Installing {name}, once ...", file=sys.stderr, flush=True)
            shutil.rmtree(folder, ignore_errors=True)
            make(folder, lock)
            (folder / _DONE).touch()
    return folder


def cache_folder() -> Path:
    """Return where environments and packages lie, in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "al-platform" / "environments"


def call(*command: str) -> None:
    """Run a command; RuntimeError with its own message where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr.strip()}")
