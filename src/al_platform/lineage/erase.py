"""A privacy request: one page is taken out of every file that holds it.

Tombstones are created first, then the files are written anew, then every former version that holds the page goes, of
removed files too. A run that is killed anywhere is finished by running it again: what is left to do is read off the
stores themselves.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from al_platform.config import FamilyConfigLoader
from al_platform.domain.errors import ConfigError, StoreError
from al_platform.lineage.former import Former, erase_former, former_versions, holding, without_answer
from al_platform.lineage.mentions import PageId, write_without_page
from al_platform.lineage.stores import Place, SearchedStores, experiments_root, fresh_copy, production_and_experiments
from al_platform.lineage.uses import Occurrence, Use, erasures_of, model_uses, occurrences, searched
from al_platform.stages import DataClass
from al_platform.storage.audit_log import Subject, entry_subject
from al_platform.storage.commit_log import file_sha256
from al_platform.storage.erasures import (
    AffectedModel,
    ErasedFile,
    Tombstone,
    create_tombstone,
    page_sha256,
    tombstone_file,
    tombstones,
)
from al_platform.storage.scratch import temporary_folder
from al_platform.storage.store import Cleanable, Store

Record: TypeAlias = Callable[[str, Subject], object]
"""Takes what is about to be done, and to what."""

# Pages come in here: imports and simulated sources ask these roots what must not come back.
_ENTRANCES: tuple[DataClass, ...] = ("traffic", "labels")
# All other files are written once.
_WRITTEN_AGAIN = re.compile(r".+/platform/.+|.+/checkpoints/.+|runs/.+")


@dataclass(frozen=True)
class Plan:
    """What an erasure would do.

    Attributes:
        loader: The configuration of production.
        page_id: The page.
        reason: Why, without naming it.
        everywhere: Production and experiments.
        experiments: The store that holds all experiments.
        searched: Every file that was looked at.
        found: Those that hold the page.
        models: Models that saw it: they stay, and may remember it.
        former_searched: Every former version that was looked at.
        former: Those that hold the page.
    """

    loader: FamilyConfigLoader
    page_id: str
    reason: str
    everywhere: list[SearchedStores]
    experiments: Store
    searched: list[Place]
    found: list[Occurrence]
    models: tuple[Use, ...]
    former_searched: list[Former]
    former: list[Former]

    @property
    def uses(self) -> tuple[Use, ...]:
        """What the page is in the files that hold it."""
        return tuple(each.use for each in self.found)

    @property
    def is_empty(self) -> bool:
        """Whether nothing holds the page."""
        return not self.found and not self.former


@dataclass(frozen=True)
class Erasure:
    """What an erasure did.

    Attributes:
        page_sha256: What stands for the page from now on.
        uses: Files that held the page.
        models: Models that saw it: they stay, and may remember it.
        tombstones: How many roots were given a tombstone now; none where an earlier run had announced everything.
        versions: How many former versions held the page and went.
        versions_searched: How many were looked at.
        unanswered: Roots that cannot say whether former versions are kept below them.
        leftovers: Writes that were interrupted, which may hold the page still.
        unasked: Why some roots could not be asked for such writes.
    """

    page_sha256: str
    uses: tuple[Use, ...]
    models: tuple[Use, ...]
    tombstones: int
    versions: int
    versions_searched: int
    unanswered: tuple[str, ...]
    leftovers: int
    unasked: tuple[str, ...]


@dataclass(frozen=True)
class _Rewrite:
    """A file, what it will be, and the announcement of that."""

    place: Place
    source: Path
    announced: ErasedFile


def plan_erasure(loader: FamilyConfigLoader, page_id: str, reason: str) -> Plan:
    """Return what an erasure would do; nothing is changed.

    Args:
        loader: The configuration of production; its experiments are erased from too.
        page_id: The page.
        reason: Why. It is kept, so it must not name the page.

    Raises:
        ConfigError: Nothing names the page and it was never erased, the reason names it, or the environment is that of
            an experiment.
        StoreError: A file or a former version cannot be read.
    """
    if page_id in reason or PageId(page_id).is_in(reason):
        raise ConfigError(
            "The reason names the page, and is kept. Give one without the id, a ticket number for instance."
        )
    everywhere, experiments = production_and_experiments(loader), experiments_root(loader)
    places, former = list(searched(everywhere)), former_versions(everywhere[0], experiments)
    found, former_found = occurrences(places, page_id), holding(former, page_id)
    models = tuple(model_uses(everywhere, found, page_id))
    plan = Plan(loader, page_id, reason, everywhere, experiments, places, found, models, former, former_found)
    if plan.is_empty and not models and not erasures_of(everywhere, page_id):
        raise ConfigError(f"No file names page {page_id!r}. Give the id as it is in the page_id column.")
    return plan


def erase_page(
    loader: FamilyConfigLoader, page_id: str, reason: str, actor: str, record: Record | None = None
) -> Erasure:
    """Take a page out of every file, and return what was done; see ``plan_erasure`` and ``carry_out``."""
    return carry_out(plan_erasure(loader, page_id, reason), actor, record)


def carry_out(plan: Plan, actor: str, record: Record | None = None) -> Erasure:
    """Take a page out of every file, and return what was done; finishes what a killed run has left.

    Args:
        plan: What to do.
        actor: Who asks.
        record: Told the action ``erase`` and what it is about: before each tombstone is created, and once where an
            earlier run has created them all.

    Raises:
        StoreError: A file cannot be read, somebody writes at the same time, or former versions must stay.
    """
    with temporary_folder() as folder:
        # Beside the stores first: what is announced is what is there to be put in place.
        rewrites = [_rewrite(each.place, plan.page_id, Path(folder) / str(row)) for row, each in enumerate(plan.found)]
        created = 0 if plan.is_empty else _announce(plan, rewrites, actor, record or _tell_nobody)
        for rewrite in rewrites:
            _put_in_place(rewrite)
    _require_gone(plan)
    versions, versions_searched = _erase_versions(plan)
    leftovers, unasked = _leftovers(plan)
    return Erasure(
        page_sha256=page_sha256(plan.page_id),
        uses=plan.uses,
        models=plan.models,
        tombstones=created,
        versions=versions,
        versions_searched=versions_searched,
        unanswered=without_answer(plan.everywhere[0]),
        leftovers=leftovers,
        unasked=unasked,
    )


def _tell_nobody(action: str, subject: Subject) -> None:
    """Take what is about to be done where no audit log is kept."""


def _rewrite(place: Place, page_id: str, target: Path) -> _Rewrite:
    with fresh_copy(place.store, place.path) as file:
        rows = write_without_page(file, page_id, target)
        before = file_sha256(file)
    after = file_sha256(target)
    return _Rewrite(place, target, ErasedFile(path=place.path, sha256_before=before, sha256_after=after, rows=rows))


def _tombstone(plan: Plan, rewrites: Iterable[_Rewrite], actor: str) -> Tombstone:
    # One number everywhere: an experiment's tombstone hides production's of the same number.
    known = (tombstone.number for root in _all_roots(plan.everywhere) for tombstone in tombstones(root))
    return Tombstone(
        number=max(known, default=0) + 1,
        page_sha256=page_sha256(plan.page_id),
        reason=plan.reason,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        actor=actor,
        files=tuple(rewrite.announced for rewrite in rewrites),
        models=tuple(_affected(use) for use in plan.models),
    )


def _announce(plan: Plan, rewrites: list[_Rewrite], actor: str, record: Record) -> int:
    """Create the tombstone in every root that lacks it, each after its line in the audit log; return in how many."""
    tombstone, summary = _tombstone(plan, rewrites, actor), _summary(plan, rewrites)
    targets = _targets(plan.everywhere, rewrites, tombstone)
    if not targets:
        record("erase", summary)
    for root, data_class in targets:
        record("erase", {**summary, "root": root.root, **entry_subject(data_class, *tombstone_file(tombstone))})
        _create(root, tombstone)
    return len(targets)


def _targets(
    everywhere: list[SearchedStores], rewrites: list[_Rewrite], tombstone: Tombstone
) -> list[tuple[Store, DataClass]]:
    """Return the roots that get the tombstone, each with a class of data in it; none where no root lacks it."""
    entrances = {everywhere[0].by_class[name].root for name in _ENTRANCES}
    changed = {rewrite.place.store.root for rewrite in rewrites}
    written = [(root, classes[0]) for stores in everywhere for root, classes in stores.written]
    lacking = {
        root.root
        for root, _ in written
        if root.root in changed | entrances and not _is_announced(root, rewrites, tombstone)
    }
    # Production always holds what lines announce: an experiment may be deleted with all that is in it.
    wanted = lacking | entrances if lacking else lacking
    return [(root, data_class) for root, data_class in written if root.root in wanted]


def _create(root: Store, tombstone: Tombstone) -> None:
    try:
        create_tombstone(root, tombstone)
    except FileExistsError as error:
        raise StoreError(
            f"Another erasure is at work in {root.root}: both want tombstone {tombstone.number}. Nothing was taken out "
            f"of a file here. Run again when the other has ended."
        ) from error


def _is_announced(root: Store, rewrites: Iterable[_Rewrite], draft: Tombstone) -> bool:
    ours = [tombstone for tombstone in tombstones(root) if tombstone.page_sha256 == draft.page_sha256]
    announced = {file for tombstone in ours for file in tombstone.files}
    wanted = {rewrite.announced for rewrite in rewrites if rewrite.place.store.root == root.root}
    return bool(ours) and wanted <= announced


def _put_in_place(rewrite: _Rewrite) -> None:
    """Put a file's new bytes in the place of the old, if these are still those that were announced."""
    store, path = rewrite.place.store, rewrite.place.path
    with fresh_copy(store, path) as file:
        is_as_announced = file_sha256(file) == rewrite.announced.sha256_before
    if not is_as_announced:
        raise StoreError(f"{path} in {store.root} changed while the page was taken out of it. Run again.")
    store.upload(rewrite.source, path)


def _require_gone(plan: Plan) -> None:
    """Check the files that were written anew, those that were not there before, and those that others may rewrite."""
    rewritten = {_where(each.place) for each in plan.found}
    clean = {_where(place) for place in plan.searched if not _WRITTEN_AGAIN.fullmatch(place.path)} - rewritten
    now = [place for place in searched(production_and_experiments(plan.loader)) if _where(place) not in clean]
    if left := [found.place.path for found in occurrences(now, plan.page_id)]:
        raise StoreError(
            f"A run wrote the page again meanwhile, to {left[0]} and {len(left) - 1} other files. Wait for it to end, "
            f"and erase again."
        )


def _where(place: Place) -> tuple[str, str]:
    return place.store.root, place.path


def _erase_versions(plan: Plan) -> tuple[int, int]:
    """Erase former versions with the page, the files' own of before among them; return how many, and of how many."""
    present = former_versions(plan.everywhere[0], plan.experiments)
    known = set(plan.former_searched)
    holders = [*plan.former, *holding([each for each in present if each not in known], plan.page_id)]
    erase_former(holders)
    return len(holders), len(known | set(present))


def _affected(use: Use) -> AffectedModel:
    digest = use.path.rpartition("/")[2]
    return AffectedModel(digest=digest, family=use.family or "", cycle=use.cycle or "", role=use.role)


def _all_roots(everywhere: list[SearchedStores]) -> list[Store]:
    return [root for stores in everywhere for root in stores.roots]


def _leftovers(plan: Plan) -> tuple[int, tuple[str, ...]]:
    """Return how many writes were interrupted, and why some roots could not be asked: the page is gone already."""
    count, unasked = 0, []
    for root in [*plan.everywhere[0].roots, plan.experiments]:
        try:
            count += len(root.leftovers()) if isinstance(root, Cleanable) else 0
        except StoreError as error:
            unasked.append(str(error))
    return count, tuple(unasked)


def _summary(plan: Plan, rewrites: list[_Rewrite]) -> Subject:
    return {
        "page_sha256": page_sha256(plan.page_id),
        "reason": plan.reason,
        "files": len(rewrites),
        "rows": sum(rewrite.announced.rows for rewrite in rewrites),
        "former_versions": len(plan.former),
        "models": len({use.path for use in plan.models}),
    }
