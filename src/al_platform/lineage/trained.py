"""Every training that was committed, superseded ones too, and the model that came of each."""

import json
import re
from collections.abc import Iterator
from hashlib import sha256
from typing import NamedTuple

from pydantic import ValidationError

from al_platform.catalog.champion import ChampionEntry
from al_platform.lineage.stores import SearchedStores
from al_platform.storage.commit_log import Entry, File, Manifest, StageKey
from al_platform.storage.store import Store

_TRAINING_LOG = re.compile(r"(?P<family>[^/]+)/(?P<cycle>[^/]+)/training/log/[^/]+\.json")
_MODEL_FILE = re.compile(r"(?P<family>[^/]+)/by_digest/(?P<digest>[^/]+)/.+")
_NAMING = ("challenger", "training_report")


class Training(NamedTuple):
    """One entry of a training log, with the manifest it points to and the model that was trained."""

    family: str
    cycle: str
    entry: Entry
    manifest: Manifest
    model_digest: str


def trainings(stores: SearchedStores) -> list[Training]:
    """Return every committed training that can still be read, in the order of their commits."""
    store = stores.by_class["models"]
    found = (_training(store, path) for path in store.list("") if _TRAINING_LOG.fullmatch(path))
    return sorted((training for training in found if training), key=lambda training: training.entry.committed_at)


def stored_models(stores: SearchedStores) -> set[tuple[str, str]]:
    """Return family and digest of every model that is there, whether a training names it or not."""
    matches = (_MODEL_FILE.fullmatch(path) for path in stores.by_class["models"].list(""))
    return {(match["family"], match["digest"]) for match in matches if match}


def stage_entries(store: Store, key: StageKey) -> Iterator[Entry]:
    """Yield the entries of a stage's log that can be read, oldest first."""
    for path in store.list(f"{key.prefix}/log"):
        if (entry := _entry(store, path)) is not None:
            yield entry


def champion_entries(store: Store, family: str) -> Iterator[tuple[str, ChampionEntry]]:
    """Yield path and content of the champion log's entries that can be read, oldest first."""
    for path in store.list(f"{family}/log"):
        try:
            yield path, ChampionEntry.model_validate_json(store.read(path))
        except ValidationError:
            continue


def stored_manifest(store: Store, path: str) -> Manifest | None:
    """Return the manifest at ``path``; None where it is missing or cannot be read as one."""
    try:
        return Manifest.model_validate_json(store.read(path))
    except (FileNotFoundError, ValidationError):
        return None


def present_file(stores: SearchedStores, file: File) -> File:
    """Return a file that a manifest names, or its equal: an attempt that equals the committed one is removed."""
    store, parts = stores.holding(file.path), file.path.split("/")
    if store.exists(file.path) or parts[3:4] != ["attempts"]:
        return file
    family, cycle, stage, *_, name = parts
    for entry in stage_entries(store, StageKey(family, cycle, stage)):
        manifest = stored_manifest(store, entry.manifest)
        for output in manifest.outputs.values() if manifest else ():
            if output.sha256 == file.sha256 and output.path.endswith(f"/{name}"):
                return File(path=output.path, sha256=output.sha256)
    return file


def manifest_path(stores: SearchedStores, output: str) -> str:
    """Return where the manifest of the first run that committed an output lies.

    That is beside it, but for a part of a table: parts are kept whatever ends the run that made them.
    """
    beside = f"{output.rpartition('/')[0]}/manifest.json"
    store = stores.holding(output)
    if store.exists(beside):
        return beside
    family, cycle, stage, *_ = output.split("/")
    for entry in stage_entries(store, StageKey(family, cycle, stage)):
        manifest = stored_manifest(store, entry.manifest)
        if manifest is not None and any(each.path == output for each in manifest.outputs.values()):
            return entry.manifest
    return beside


def stored_json(store: Store, path: str) -> dict[str, object]:
    """Return the JSON object at ``path``; an empty one where it is missing or damaged."""
    try:
        content = json.loads(store.read(path))
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _training(store: Store, path: str) -> Training | None:
    entry = _entry(store, path)
    manifest = stored_manifest(store, entry.manifest) if entry else None
    if entry is None or manifest is None:
        return None
    digest = _model_digest(store, manifest)
    return Training(manifest.family, manifest.cycle, entry, manifest, digest) if digest else None


def _model_digest(store: Store, manifest: Manifest) -> str | None:
    """Return the model that a training wrote; of two files that name it, one that was not changed comes first."""
    outputs = [manifest.outputs[name] for name in _NAMING if name in manifest.outputs]
    there = [(output, store.read(output.path)) for output in outputs if store.exists(output.path)]
    for output, _ in sorted(there, key=lambda found: sha256(found[1]).hexdigest() != found[0].sha256):
        if "model_digest" in (report := stored_json(store, output.path)):
            return str(report["model_digest"])
    return None


def _entry(store: Store, path: str) -> Entry | None:
    try:
        return Entry.model_validate_json(store.read(path))
    except ValidationError:
        return None
