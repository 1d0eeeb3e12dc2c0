"""What is missing or was changed: named, never removed, since only people know where a copy is."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from al_platform.domain.errors import StoreError
from al_platform.health.commits import Commits, StoredCommit, StoredPromotion, number_in, references
from al_platform.health.problem import RESTORE, Problem
from al_platform.health.stores import Log, TendedStores, in_parallel
from al_platform.models.model import directory_digest
from al_platform.stages import DataClass
from al_platform.storage.commit_log import file_sha256
from al_platform.storage.erasures import accepts
from al_platform.storage.store import Store

_SEALED = "/sealed/"
_LARGE = 64 << 20  # bytes: from here on a local copy, of which some stores keep theirs until the process ends


@dataclass(frozen=True)
class _StoredOutput:
    data_class: DataClass
    path: str
    sha256: str
    size: int


def find_damage(stores: TendedStores, commits: Commits, quick: bool) -> list[Problem]:
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
        *_models(stores, commits, quick),
    ]


def outputs_of(commits: Commits) -> list[_StoredOutput]:
    """Return every output that a manifest names, each once."""
    named = ((commit.data_class, commit.manifest) for commit in commits.of_stages if commit.manifest is not None)
    outputs = ((data_class, output) for data_class, manifest in named for output in manifest.outputs.values())
    return list(
        dict.fromkeys(_StoredOutput(where, output.path, output.sha256, output.size) for where, output in outputs)
    )


def _gaps(log: Log) -> Iterator[Problem]:
    numbers = {number for path in log.paths if (number := number_in(path)) is not None}
    for number in sorted(set(range(1, max(numbers, default=0) + 1)) - numbers):
        path = f"{log.folder}/{number:06d}.json"
        detail = "this entry of the log is missing, though later ones are there"
        yield Problem("gap in a log", log.data_class, path, detail, f"{RESTORE}; the later entries still stand.")


def _unreadable_entries(commits: Commits) -> Iterator[Problem]:
    entries: list[StoredCommit | StoredPromotion] = [*commits.of_stages, *commits.of_champions]
    for entry in entries:
        if entry.entry is None:
            detail = "this file of the log cannot be read as the entry of that number"
            yield Problem("log entry", entry.data_class, entry.path, detail, f"{RESTORE}.")


def _manifests(commits: Commits) -> Iterator[Problem]:
    for commit in commits.of_stages:
        if commit.entry is not None and commit.problem is not None:
            remedy = f"{RESTORE}; its SHA-256 must be {commit.entry.manifest_sha256}."
            yield Problem("manifest", commit.data_class, commit.entry.manifest, commit.problem, remedy)


def _outputs(stores: TendedStores, commits: Commits, quick: bool) -> Iterator[Problem]:
    def check(output: _StoredOutput) -> Problem | None:
        return _checked(stores, output, quick)

    verb = "looking for outputs" if quick else "hashing outputs"
    return (problem for problem in in_parallel(check, outputs_of(commits), verb) if problem is not None)


def _checked(stores: TendedStores, output: _StoredOutput, quick: bool) -> Problem | None:
    store = stores.by_class[output.data_class]
    detail = _absence(store, output) if quick else _difference(store, output)
    if detail is None:
        return None
    kind = "sealed batch" if _SEALED in output.path else "output"
    return Problem(kind, output.data_class, output.path, detail, f"{RESTORE}; its SHA-256 must be {output.sha256}.")


def _absence(store: Store, output: _StoredOutput) -> str | None:
    return None if store.exists(output.path) else _MISSING


def _difference(store: Store, output: _StoredOutput) -> str | None:
    found = _sha256(store, output)
    if found is None:
        return _MISSING
    if found == output.sha256:
        return None
    changed = f"its SHA-256 is {found[:12]}, the manifest says {output.sha256[:12]}"
    try:
        return None if accepts(store, output.path, output.sha256, found) else changed
    except StoreError as error:
        return f"{changed}, and whether an erasure changed it cannot be told: {error}"


_MISSING = "it is missing"


def _sha256(store: Store, output: _StoredOutput) -> str | None:
    try:
        if output.size < _LARGE:
            return sha256(store.read(output.path)).hexdigest()
        return file_sha256(store.local(output.path))
    except FileNotFoundError:
        return None


@dataclass(frozen=True)
class _StoredModel:
    family: str
    digest: str
    is_champion: bool
    is_whole: bool

    @property
    def folder(self) -> str:
        return f"{self.family}/by_digest/{self.digest}"


def _models(stores: TendedStores, commits: Commits, quick: bool) -> Iterator[Problem]:
    def check(model: _StoredModel) -> Problem | None:
        return _checked_model(stores, model, quick)

    models = list(_referred_models(stores, commits))
    return (problem for problem in in_parallel(check, models, "looking at models") if problem is not None)


def _referred_models(stores: TendedStores, commits: Commits) -> Iterator[_StoredModel]:
    files = stores.models()
    for family in sorted({*stores.families, *commits.families}):
        known = references(stores, commits, family)
        for digest in sorted(known.champions | known.stages):
            is_whole = "config.json" in files.get(family, {}).get(digest, ())
            yield _StoredModel(family, digest, digest in known.champions, is_whole)


def _checked_model(stores: TendedStores, model: _StoredModel, quick: bool) -> Problem | None:
    if not model.is_whole:
        detail = "it is missing or incomplete"
    elif not quick and directory_digest(stores.by_class["models"].local(model.folder)) != model.digest:
        detail = "its files are not those that its digest names"
    else:
        return None
    kind, log = ("champion", "champion log") if model.is_champion else ("model", "training")
    detail = f"a model that the {log} of {model.family} refers to: {detail}"
    return Problem(kind, "models", model.folder, detail, f"{RESTORE}; until then no stage can load it.")
