"""A privacy request: one page is taken out of every file that holds it.

Tombstones are created first, then the files are written anew, then what the store kept of their former bytes goes. A
run that is killed anywhere is finished by running it again: what is left to do is read off the files themselves.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

from al_platform.config import FamilyConfigLoader
from al_platform.domain.errors import ConfigError, StoreError
from al_platform.lineage.mentions import PageId, write_without_page
from al_platform.lineage.stores import Place, Stores, production_and_experiments
from al_platform.lineage.uses import CHAMPION, Occurrence, Use, is_champion, model_uses, occurrences
from al_platform.stages import DataClass
from al_platform.storage.commit_log import file_sha256
from al_platform.storage.erasures import (
    AffectedModel,
    ErasedFile,
    Tombstone,
    Versioned,
    create_tombstone,
    page_sha256,
    tombstones,
)
from al_platform.storage.store import Cleanable, Store, temporary_folder

Record: TypeAlias = Callable[[str, dict[str, Any]], object]
"""Takes what is about to be done, and to what."""

# Pages come in here: imports and simulated sources ask these roots what must not come back.
_ENTRANCES: tuple[DataClass, ...] = ("traffic", "labels")


@dataclass(frozen=True)
class Erasure:
    """What an erasure does, or would do.

    Attributes:
        page_sha256: What stands for the page from now on.
        uses: Files that hold the page.
        models: Models that saw it: they stay, and may remember it.
        tombstones: How many roots were given a tombstone now; none where an earlier run had announced everything.
        versions: How many former versions of the files the stores gave up.
        leftovers: Writes that were interrupted, which may hold the page still.
    """

    page_sha256: str
    uses: tuple[Use, ...]
    models: tuple[Use, ...]
    tombstones: int = 0
    versions: int = 0
    leftovers: int = 0


@dataclass(frozen=True)
class _Rewrite:
    """A file, what it will be, and the announcement of that."""

    place: Place
    source: Path
    announced: ErasedFile


def plan_erasure(loader: FamilyConfigLoader, page_id: str) -> Erasure:
    """Return what an erasure would do; nothing is changed.

    Raises:
        ConfigError: Nothing names the page and it was never erased, or the environment is that of an experiment.
        StoreError: A file cannot be read.
    """
    everywhere = production_and_experiments(loader)
    return _plan(everywhere, page_id, occurrences(everywhere, page_id))


def erase_page(
    loader: FamilyConfigLoader, page_id: str, reason: str, actor: str, record: Record | None = None
) -> Erasure:
    """Take a page out of every file, and return what was done; finishes what a killed run has left.

    Args:
        loader: The configuration of production; its experiments are erased from too.
        page_id: The page.
        reason: Why. It is kept, so it must not name the page.
        actor: Who asks.
        record: Told once, before the first file changes, the action ``erase`` and what it is about.

    Raises:
        ConfigError: Nothing names the page, or the reason does.
        StoreError: A file cannot be read, or somebody writes at the same time.
    """
    if page_id in reason or PageId(page_id).is_in(reason):
        raise ConfigError(
            "The reason names the page, and is kept. Give one without the id, a ticket number for instance."
        )
    everywhere = production_and_experiments(loader)
    found = occurrences(everywhere, page_id)
    plan = _plan(everywhere, page_id, found)
    with temporary_folder() as folder:
        # Beside the stores first: what is announced is what is there to be put in place.
        rewrites = [_rewrite(each.place, page_id, Path(folder) / str(row)) for row, each in enumerate(found)]
        created = _announce(everywhere, rewrites, _tombstone(plan, rewrites, reason, actor))
        if rewrites and record:
            record("erase", _summary(plan, rewrites, reason))
        for rewrite in rewrites:
            _carry_out(rewrite)
    versions = _erase_versions(everywhere, page_id)
    # Opened anew: a store may hold copies of what it has read.
    _require_gone(production_and_experiments(loader), page_id)
    return replace(plan, tombstones=created, versions=versions, leftovers=_leftovers(everywhere))


def _plan(everywhere: list[Stores], page_id: str, found: list[Occurrence]) -> Erasure:
    models = _models(everywhere, page_id)
    if not found and not models and not _told_of(everywhere, page_id):
        raise ConfigError(f"No file names page {page_id!r}. Give the id as it is in the page_id column.")
    return Erasure(page_sha256(page_id), tuple(each.use for each in found), models)


def _rewrite(place: Place, page_id: str, target: Path) -> _Rewrite:
    local = place.store.local(place.path)
    rows = write_without_page(local, page_id, target)
    announced = ErasedFile(
        path=place.path, sha256_before=file_sha256(local), sha256_after=file_sha256(target), rows=rows
    )
    return _Rewrite(place, target, announced)


def _tombstone(plan: Erasure, rewrites: Iterable[_Rewrite], reason: str, actor: str) -> Tombstone:
    return Tombstone(
        number=1,
        page_sha256=plan.page_sha256,
        reason=reason,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        actor=actor,
        files=tuple(rewrite.announced for rewrite in rewrites),
        models=tuple(_affected(use) for use in plan.models),
    )


def _announce(everywhere: list[Stores], rewrites: list[_Rewrite], draft: Tombstone) -> int:
    """Create the tombstone in every root that lacks it, and return in how many."""
    lacking = [root for root in _roots_of(everywhere, rewrites) if not _is_announced(root, rewrites, draft)]
    if not rewrites or not lacking:
        return 0
    # One number everywhere: an experiment's tombstone hides production's of the same number.
    known = (tombstone.number for root in _all_roots(everywhere) for tombstone in tombstones(root))
    tombstone = draft.model_copy(update={"number": max(known, default=0) + 1})
    for root in lacking:
        try:
            create_tombstone(root, tombstone)
        except FileExistsError as error:
            raise StoreError(
                f"Another erasure is at work in {root.root}: both want tombstone {tombstone.number}. Nothing was "
                f"taken out of a file here. Run again when the other has ended."
            ) from error
    return len(lacking)


def _is_announced(root: Store, rewrites: Iterable[_Rewrite], draft: Tombstone) -> bool:
    ours = [tombstone for tombstone in tombstones(root) if tombstone.page_sha256 == draft.page_sha256]
    announced = {file for tombstone in ours for file in tombstone.files}
    wanted = {rewrite.announced for rewrite in rewrites if rewrite.place.store.root == root.root}
    return bool(ours) and wanted <= announced


def _carry_out(rewrite: _Rewrite) -> None:
    """Put a file's new bytes in the place of the old, if these are still those that were announced."""
    store, path = rewrite.place.store, rewrite.place.path
    if sha256(store.read(path)).hexdigest() != rewrite.announced.sha256_before:
        raise StoreError(f"{path} in {store.root} changed while the page was taken out of it. Run again.")
    store.upload(rewrite.source, path)


def _erase_versions(everywhere: list[Stores], page_id: str) -> int:
    """Have the stores give up what was overwritten, also by an earlier run, and return how many versions went."""
    erased = 0
    for root in _all_roots(everywhere):
        if isinstance(root, Versioned):
            paths = {file.path for tombstone in _tombstones_of(root, page_id) for file in tombstone.files}
            erased += sum(root.erase_versions(path) for path in sorted(paths) if root.exists(path))
    return erased


def _require_gone(everywhere: list[Stores], page_id: str) -> None:
    left = [found.place.path for found in occurrences(everywhere, page_id)]
    if left:
        raise StoreError(
            f"A run wrote the page again meanwhile, to {left[0]} and {len(left) - 1} other files. Wait for it to end, "
            f"and erase again."
        )


def _models(everywhere: list[Stores], page_id: str) -> tuple[Use, ...]:
    """Return the models that saw the page: those whose data hold it still, and those that tombstones remember."""
    found = {(use.path, use.role): use for use in model_uses(everywhere, page_id)}
    for model in (model for tombstone in _told_of(everywhere, page_id) for model in tombstone.models):
        use = _remembered(everywhere, model)
        found.setdefault((use.path, use.role), use)
    return tuple(found.values())


def _remembered(everywhere: list[Stores], model: AffectedModel) -> Use:
    champions = (stores.by_class["champion"] for stores in everywhere)
    return Use(
        data_class="models",
        path=f"{model.family}/by_digest/{model.digest}",
        role=model.role,
        family=model.family,
        cycle=model.cycle,
        detail=CHAMPION if any(is_champion(store, model.family, model.digest) for store in champions) else "",
        rows=0,
        root=everywhere[0].by_class["models"].root,
    )


def _affected(use: Use) -> AffectedModel:
    digest = use.path.rpartition("/")[2]
    return AffectedModel(digest=digest, family=use.family or "", cycle=use.cycle or "", role=use.role)


def _told_of(everywhere: list[Stores], page_id: str) -> list[Tombstone]:
    return [tombstone for root in _all_roots(everywhere) for tombstone in _tombstones_of(root, page_id)]


def _tombstones_of(root: Store, page_id: str) -> list[Tombstone]:
    return [tombstone for tombstone in tombstones(root) if tombstone.page_sha256 == page_sha256(page_id)]


def _all_roots(everywhere: list[Stores]) -> list[Store]:
    return [store for stores in everywhere for store, _ in stores.written]


def _roots_of(everywhere: list[Stores], rewrites: list[_Rewrite]) -> list[Store]:
    """Return the roots that the erasure changes, and those in which pages come in."""
    changed = {rewrite.place.store.root for rewrite in rewrites}
    entrances = {everywhere[0].by_class[name].root for name in _ENTRANCES}
    return [root for root in _all_roots(everywhere) if root.root in changed | entrances]


def _leftovers(everywhere: list[Stores]) -> int:
    return sum(len(root.leftovers()) for root in _all_roots(everywhere) if isinstance(root, Cleanable))


def _summary(plan: Erasure, rewrites: list[_Rewrite], reason: str) -> dict[str, str | int]:
    return {
        "page_sha256": plan.page_sha256,
        "reason": reason,
        "files": len(rewrites),
        "rows": sum(rewrite.announced.rows for rewrite in rewrites),
        "models": len({use.path for use in plan.models}),
    }
