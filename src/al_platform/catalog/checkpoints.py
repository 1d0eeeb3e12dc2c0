"""Checkpoints of trainings: on a local disk while they run, and in the store for the case that the machine is lost."""

import logging
import os
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

from al_platform.catalog.outputs import StoreDataset
from al_platform.domain.errors import ConfigError, StoreError
from al_platform.models.transformer.checkpoints import STATE_FILE, STEP, newest_checkpoint
from al_platform.storage.commit_log import StageKey
from al_platform.storage.store import Store

LOG = logging.getLogger("al_platform")
DIRTY = "-dirty"
ENCODERS = "encoders"
TRAINING = "training"


class StoredCheckpoints:
    """Implements ``models.transformer.checkpoints.Checkpoints`` on a store."""

    def __init__(self, store: Store, prefix: str, folder: Path, revision: str | None, *, is_rebuild: bool = False):
        """Prepare; nothing is written before a checkpoint is saved.

        Args:
            store: Of models.
            prefix: Where checkpoints go in it.
            folder: Local scratch of this stage alone.
            revision: Git revision of the code.
            is_rebuild: Whether nothing must be written to the store.
        """
        self.code_revision = revision
        self._store = store
        self._prefix = prefix
        self._folder = folder
        self._is_rebuild = is_rebuild

    def require_clean_tree(self) -> None:
        """Check that the code is that of a revision; a rebuild judges that by its comparison.

        Raises:
            ConfigError: It has uncommitted changes, or its revision is not known.
        """
        if self._is_rebuild:
            return
        if self.code_revision is None:
            raise ConfigError(
                "training.require_clean_tree is set, but nothing says which revision the code has: nobody could train "
                "this model again. Run from a Git checkout, or from a wheel built in one, or in another environment."
            )
        if self.code_revision.endswith(DIRTY):
            raise ConfigError(
                f"training.require_clean_tree is set, but the code has uncommitted changes ({self.code_revision}): "
                f"nobody could train this model again. Commit them, or train in another environment."
            )

    def encoder(self, name: str) -> Path:
        """Return the local folder of an encoder in the store.

        Raises:
            ConfigError: There is none of this name.
        """
        folder = f"{ENCODERS}/{name}"
        if not self._store.list(folder):
            raise ConfigError(
                f"Asked for the encoder 'store:{name}', but {self._store.root} holds no folder {folder}. Copy the "
                f"model's files there, for instance with 'aws s3 cp --recursive' or 'databricks fs cp --recursive'."
            )
        return self._store.local(folder)

    def scratch(self, key: str) -> Path:
        """Return the local folder where the training of this key leaves its checkpoints."""
        return self._folder / key

    def load(self, key: str) -> Path | None:
        """Return the newest checkpoint of this key, fetched from the store where it is newer than the local one."""
        scratch, stored = self.scratch(key), self._newest_stored(key)
        local = newest_checkpoint(scratch)
        if stored and (local is None or local.name < stored):
            self._fetch(f"{self._at(key)}/{stored}", scratch / stored)
        return newest_checkpoint(scratch)

    def save(self, key: str, path: Path) -> None:
        """Copy a checkpoint to the store and remove the ones before it there; or copy a file beside it.

        Where the store cannot take it, training goes on: the next checkpoint is tried again.
        """
        if self._is_rebuild:
            return
        try:
            self._upload(key, path)
        except StoreError as error:
            LOG.warning("%s stays on this machine alone: %s", path.name, error)

    def _upload(self, key: str, path: Path) -> None:
        if path.is_file():
            self._store.upload(path, f"{self._at(key)}/{path.name}")
            return
        before = {name for name in self._stored(key) if name.startswith(STEP)}
        # state.json goes last: a checkpoint that has it is whole.
        for file in sorted(path.iterdir(), key=lambda file: (file.name == STATE_FILE, file.name)):
            self._store.upload(file, f"{self._at(key)}/{path.name}/{file.name}")
        for name in before - {path.name}:
            self._store.remove(f"{self._at(key)}/{name}")

    def finish(self) -> None:
        """Remove every checkpoint of the stage, here and in the store: it is committed."""
        if self._is_rebuild:
            return
        shutil.rmtree(self._folder, ignore_errors=True)
        try:
            self._store.remove(self._prefix)
        except StoreError as error:
            LOG.warning("Checkpoints stay at %s: %s", self._prefix, error)

    def _at(self, key: str) -> str:
        return f"{self._prefix}/{key}"

    def _stored(self, key: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for path in self._store.list(self._at(key)):
            name, _, file = path.removeprefix(f"{self._at(key)}/").partition("/")
            found.setdefault(name, set()).add(file)
        return found

    def _newest_stored(self, key: str) -> str | None:
        whole = [name for name, files in self._stored(key).items() if STATE_FILE in files]
        return max(whole, default=None)

    def _fetch(self, path: str, target: Path) -> None:
        unfinished = target.with_name(f".{target.name}")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(self._store.local(path), unfinished)
        unfinished.rename(target)


class Checkpoints(StoreDataset):
    """What a training goes on from, and leaves behind; all of it is removed when the stage commits."""

    def __init__(self, *, scratch: str | None = None, **where: Any):
        """Create the dataset.

        Args:
            scratch: Local folder for checkpoints; by default in the user's cache folder.
            where: Root of models, family and cycle.
        """
        super().__init__(**where)
        self._scratch = Path(scratch) if scratch else _cache()
        self._prefix = f"{self.family}/{self.cycle}/{TRAINING}/checkpoints"

    def apart(self, models: Store, folder: Path) -> StoredCheckpoints:
        """Return checkpoints for a rebuild: they stay in ``folder``, and the store is only read."""
        return StoredCheckpoints(models, self._prefix, folder, None, is_rebuild=True)

    def _load(self) -> StoredCheckpoints:
        revision = self.run.code_revision if self.run else None
        # Several projects share a user's cache folder.
        place = sha256(f"{self.store.root}/{self._prefix}".encode()).hexdigest()[:16]
        checkpoints = StoredCheckpoints(self.store, self._prefix, self._scratch / place, revision)
        if self.run:
            self.run.after_commit(StageKey(self.family, self.cycle, TRAINING), checkpoints.finish)
        return checkpoints


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "al-platform" / "checkpoints"
