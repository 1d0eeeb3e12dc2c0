"""Checkpoints of a training: tensors and JSON in a folder a step, and where such folders are kept.

A checkpoint appears whole or not at all, and nothing in it can run code.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from al_platform.domain.errors import StoreError

TENSORS_FILE = "tensors.safetensors"
STATE_FILE = "state.json"
STEP = "step-"
_UNFINISHED = ".unfinished"
_HELD = ".held"

Tensors = Mapping[str, NDArray[Any]]


class Checkpoints(Protocol):
    """What a training reads and leaves outside of itself, by a key over everything that determines its result."""

    @property
    def code_revision(self) -> str | None:
        """Git revision of the code; None where it is not known."""
        ...

    def require_clean_tree(self) -> None:
        """Check that the code has no uncommitted changes; ConfigError if it has."""
        ...

    def encoder(self, name: str) -> Path:
        """Return the local folder of an encoder in the store."""
        ...

    def scratch(self, key: str) -> Path:
        """Return the local folder where the training of this key leaves its checkpoints."""
        ...

    def load(self, key: str) -> Path | None:
        """Return the newest checkpoint of this key, as a local folder; None where there is none."""
        ...

    def save(self, key: str, path: Path) -> None:
        """Copy a checkpoint, or a file beside it, to where it outlives the machine."""
        ...


@dataclass(frozen=True)
class LocalCheckpoints:
    """Checkpoints in a folder of this machine alone; encoders are looked for in ``encoders``."""

    folder: Path
    encoders: Path | None = None
    code_revision: str | None = None

    def require_clean_tree(self) -> None:
        """Do nothing: no record is made here."""

    def encoder(self, name: str) -> Path:
        """Return the folder of this name below ``encoders``."""
        return (self.encoders or self.folder) / name

    def scratch(self, key: str) -> Path:
        """Return the folder of this key."""
        return self.folder / key

    def load(self, key: str) -> Path | None:
        """Return the newest checkpoint of this key."""
        return newest_checkpoint(self.scratch(key))

    def save(self, key: str, path: Path) -> None:
        """Do nothing: it is there already."""


def write_checkpoint(folder: Path, step: int, state: Mapping[str, Any], tensors: Tensors) -> Path:
    """Write the checkpoint of a step below ``folder``, remove older ones, and return its folder."""
    target = folder / f"{STEP}{step:09d}"
    unfinished = folder / f"{_UNFINISHED}-{target.name}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    # Not ascontiguousarray, which makes a number an array of one.
    ordered = {name: np.asarray(tensor, order="C") for name, tensor in sorted(tensors.items())}
    safetensors.numpy.save_file(ordered, unfinished / TENSORS_FILE)
    (unfinished / STATE_FILE).write_text(json.dumps(state), encoding="utf-8")
    unfinished.rename(target)
    for other in folder.glob(f"{STEP}*"):
        if other != target:
            shutil.rmtree(other)
    return target


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint of the highest step below ``folder``; None where there is none."""
    return max(folder.glob(f"{STEP}*"), default=None)


def step_of(checkpoint: Path) -> int:
    """Return the step that a checkpoint was left after."""
    return int(checkpoint.name.removeprefix(STEP))


@contextmanager
def held(checkpoint: Path) -> Iterator[Path | None]:
    """Yield a checkpoint that the training cannot remove meanwhile; None where it had been removed already."""
    folder = checkpoint.parent / _HELD
    shutil.rmtree(folder, ignore_errors=True)
    copy = folder / checkpoint.name
    copy.mkdir(parents=True)
    try:
        for name in (TENSORS_FILE, STATE_FILE):
            os.link(checkpoint / name, copy / name)
    except FileNotFoundError:
        yield None
    else:
        yield copy
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return state and tensors of a checkpoint.

    Raises:
        StoreError: It is damaged.
    """
    try:
        state = json.loads((path / STATE_FILE).read_text(encoding="utf-8"))
        return state, safetensors.numpy.load((path / TENSORS_FILE).read_bytes())
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise StoreError(f"The checkpoint {path} is damaged ({error}). Remove it; training begins again.") from error
