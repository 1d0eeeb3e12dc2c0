"""Recorded files, found in the stores again."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from al_platform.domain.errors import StoreError
from al_platform.storage.commit_log import File, Input, Manifest, file_sha256
from al_platform.storage.erasures import accepts
from al_platform.storage.store import Store
from al_platform.stores import Stores


@dataclass(frozen=True)
class Located:
    """The files of an input.

    Attributes:
        files: Local files by their path in the store, in the order in which they were read.
        erased: Those that a privacy erasure has rewritten since.
    """

    files: Mapping[str, Path]
    erased: tuple[str, ...]


def locate(stores: Stores, recorded: Input) -> Located:
    """Return the files of a recorded input.

    Raises:
        StoreError: A file is missing, or was changed since it was read by anything but an erasure.
    """
    files, erased = {}, []
    for file in recorded.files:
        store = stores.holding(file.path)
        files[file.path] = local = store.local(file.path)
        if not local.exists():
            raise StoreError(f"The record names {file.path}, which is missing from {store.root}. Restore the file.")
        if (found := file_sha256(local)) != file.sha256:
            _require_erasure(store, file, found)
            erased.append(file.path)
    return Located(files, tuple(erased))


def require_files(manifest: Manifest) -> None:
    """Check that a manifest lists every file that its stage read.

    Raises:
        StoreError: It was written before manifests did.
    """
    for name, recorded in manifest.inputs.items():
        if recorded.sha256 is not None and not recorded.files:
            raise StoreError(
                f"The record of {manifest.stage} {manifest.family} {manifest.cycle} (run {manifest.run_id}) does not "
                f"list the files of {name}: it is older than such lists, and the model cannot be rebuilt from it. "
                f"Run the cycle's stages again to get a model that can."
            )


def _require_erasure(store: Store, file: File, found: str) -> None:
    if not accepts(store, file.path, file.sha256, found):
        raise StoreError(
            f"{file.path} in {store.root} is not what was read: its SHA-256 is {found[:12]}, the record says "
            f"{file.sha256[:12]}. Restore the file."
        )
