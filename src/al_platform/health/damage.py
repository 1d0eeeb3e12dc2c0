"""What is missing or was changed: named, never removed, since only people know where a copy is."""

from collections.abc import Iterator
from dataclasses import dataclass

from al_platform.domain.errors import StoreError
from al_platform.health.commits import Commits, StoredCommit, StoredPromotion, number_in, references
from al_platform.health.problem import Problem
from al_platform.health.stores import Log, Stores, in_parallel
from al_platform.models.model import directory_digest
from al_platform.stages import DataClass
from al_platform.storage.commit_log import file_sha256
from al_platform.storage.erasures import accepts
from al_platform.storage.store import Store

_RESTORE = "Restore it from a former version of the object or a backup"
_SEALED = "/sealed/"


@dataclass(frozen=True)
class _StoredOutput:
    data_class: DataClass
    path: str
    sha256: str


def find_damage(stores: Stores, commits: Commits, quick: bool) -> list[Problem]:
    """Return everything that is missing or is not what the log says.

    Args:
        stores: The stores.
        commits: What the logs hold.
        quick: Look only whether outputs and models are there, and hash none of them.
    """
    return [
        *(problem for log in commits.logs for problem in _gaps(log)),
        *_unreadable_entries(commits),
        *_manifests(commits),
        *_outputs(stores, commits, quick),
        *(problem for family in stores.families for problem in _models(stores, commits, family, quick)),
    ]


def outputs_of(commits: Commits) -> list[_StoredOutput]:
    """Return every output that a manifest names, each once."""
    named = ((commit.data_class, commit.manifest) for commit in commits.of_stages if commit.manifest is not None)
    outputs = ((data_class, output) for data_class, manifest in named for output in manifest.outputs.values())
    return list(dict.fromkeys(_StoredOutput(where, output.path, output.sha256) for where, output in outputs))


def _gaps(log: Log) -> Iterator[Problem]:
    numbers = {number for path in log.paths if (number := number_in(path)) is not None}
    for number in sorted(set(range(1, max(numbers, default=0) + 1)) - numbers):
        path = f"{log.folder}/{number:06d}.json"
        detail = "this entry of the log is missing, though later ones are there"
        yield Problem("gap in a log", log.data_class, path, detail, f"{_RESTORE}; the later entries still stand.")


def _unreadable_entries(commits: Commits) -> Iterator[Problem]:
    entries: list[StoredCommit | StoredPromotion] = [*commits.of_stages, *commits.of_champions]
    for entry in entries:
        if entry.entry is None:
            detail = "this file of the log cannot be read as the entry of that number"
            yield Problem("log entry", entry.data_class, entry.path, detail, f"{_RESTORE}.")


def _manifests(commits: Commits) -> Iterator[Problem]:
    for commit in commits.of_stages:
        if commit.entry is not None and commit.problem is not None:
            remedy = f"{_RESTORE}; its SHA-256 must be {commit.entry.manifest_sha256}."
            yield Problem("manifest", commit.data_class, commit.entry.manifest, commit.problem, remedy)


def _outputs(stores: Stores, commits: Commits, quick: bool) -> Iterator[Problem]:
    def check(output: _StoredOutput) -> Problem | None:
        return _checked(stores, output, quick)

    verb = "looking for outputs" if quick else "hashing outputs"
    return (problem for problem in in_parallel(check, outputs_of(commits), verb) if problem is not None)


def _checked(stores: Stores, output: _StoredOutput, quick: bool) -> Problem | None:
    store = stores.by_class[output.data_class]
    if not store.exists(output.path):
        detail: str | None = "it is missing"
    else:
        detail = None if quick else _difference(store, output)
    if detail is None:
        return None
    kind = "sealed batch" if _SEALED in output.path else "output"
    return Problem(kind, output.data_class, output.path, detail, f"{_RESTORE}; its SHA-256 must be {output.sha256}.")


def _difference(store: Store, output: _StoredOutput) -> str | None:
    found = file_sha256(store.local(output.path))
    if found == output.sha256:
        return None
    changed = f"its SHA-256 is {found[:12]}, the manifest says {output.sha256[:12]}"
    try:
        return None if accepts(store, output.path, output.sha256, found) else changed
    except StoreError as error:
        return f"{changed}, and whether an erasure changed it cannot be told: {error}"


def _models(stores: Stores, commits: Commits, family: str, quick: bool) -> Iterator[Problem]:
    known, models = references(stores, commits, family), stores.models(family)
    for digest in sorted(known.champions | known.stages):
        folder = f"{family}/by_digest/{digest}"
        if "config.json" not in models.get(digest, ()):
            detail = "it is missing or incomplete"
        elif not quick and directory_digest(stores.by_class["models"].local(folder)) != digest:
            detail = "its files are not those that its digest names"
        else:
            continue
        kind = "champion" if digest in known.champions else "model"
        log = "champion log" if kind == "champion" else "training"
        detail = f"a model that the {log} of {family} refers to: {detail}"
        yield Problem(kind, "models", folder, detail, f"{_RESTORE}; until then no stage can load it.")
