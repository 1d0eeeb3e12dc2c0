"""What interrupted runs left: it takes room, nothing refers to it, and ``kedro al doctor --fix`` removes it.

The order of the questions matters. What lies there is listed first, then it is asked who is at work, then the logs are
read: a run that was not at work any more had written its entries by then, and a run that began later is not listed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from al_platform.health.commits import Commits, References, StoredCommit, references
from al_platform.health.problem import Problem
from al_platform.health.stores import StoredAttempt, TendedStores
from al_platform.stages import DataClass, class_of
from al_platform.storage.audit_log import Subject
from al_platform.storage.commit_log import StageKey
from al_platform.storage.run_record import is_at_work, is_young
from al_platform.storage.store import Cleanable, Store

ATTEMPT = "abandoned attempt"
MODEL = "unreferenced model"
UNFINISHED = "unfinished write"
CHECKPOINTS = "finished checkpoints"
PARTS = "superseded parts"
_REMEDY = "Remove it: kedro al doctor --fix"

Record = Callable[[str, Subject], object]


@dataclass(frozen=True)
class Lying:
    """What lies in the stores, and who was at work when it was looked for.

    Attributes:
        attempts: Every attempt, committed or not.
        models: By family: the files of every model by its digest.
        checkpoints: Stages that left checkpoints.
        at_work: Ids of the runs that may still be writing.
    """

    attempts: tuple[StoredAttempt, ...]
    models: Mapping[str, Mapping[str, set[str]]]
    checkpoints: tuple[StageKey, ...]
    at_work: tuple[str, ...]


@dataclass(frozen=True)
class Leftovers:
    """What interrupted runs left.

    Attributes:
        found: What can be removed.
        at_work: Attempts of runs at work: no leftovers.
        notes: What could not be decided, and why.
    """

    found: tuple[Problem, ...]
    at_work: tuple[StoredAttempt, ...]
    notes: tuple[str, ...]


def look(stores: TendedStores, patience: timedelta) -> Lying:
    """Return what lies in the stores and who is at work; read the logs after this.

    Args:
        stores: The stores.
        patience: For how long a run that cannot be looked at from here is taken to be at work.
    """
    attempts, models, checkpoints = tuple(stores.attempts()), stores.models(), tuple(stores.checkpoints())
    return Lying(attempts, models, checkpoints, tuple(runs_at_work(stores.by_class["logs"], attempts, patience)))


def runs_at_work(logs: Store, attempts: Sequence[StoredAttempt], patience: timedelta) -> list[str]:
    """Return the ids of the runs that may still be writing: those with a record, and those of ``attempts`` without."""
    files = [path.split("/") for path in logs.list("runs")]
    begun, ended = ({parts[1] for parts in files if parts[2:] == [name]} for name in ("started.json", "ended.json"))
    unrecorded = {attempt.run_id for attempt in attempts if not attempt.is_parts} - begun - ended
    at_work = {run_id for run_id in begun - ended if is_at_work(logs, run_id, patience)}
    return sorted(at_work | {run_id for run_id in unrecorded if is_young(run_id, patience)})


def find_leftovers(stores: TendedStores, lying: Lying, commits: Commits, patience: timedelta) -> Leftovers:
    """Return what nothing refers to and nobody is writing.

    Args:
        stores: The stores.
        lying: What lay in them before the logs were read.
        commits: What the logs hold.
        patience: How old an unfinished write must be to count as given up.
    """
    by_stage = commits.by_stage()
    idle = [attempt for attempt in lying.attempts if attempt.run_id not in lying.at_work]
    is_referred = {attempt: _refers(by_stage.get(attempt.key.prefix, []), attempt) for attempt in idle}
    unreferred = [attempt for attempt in idle if is_referred[attempt] is False]
    found = [_abandoned(attempt) for attempt in unreferred if not attempt.is_parts]
    notes = [_undecided(attempt.path) for attempt in idle if is_referred[attempt] is None]
    if lying.at_work:
        runs = ", ".join(lying.at_work)
        notes.append(
            f"Models, checkpoints, parts and unfinished writes are not looked at while a run is at work: {runs}."
        )
    else:
        families = sorted({*stores.families, *commits.families})
        known = {family: references(stores, commits, family) for family in families}
        notes += [_undecided(f"{family}/by_digest") for family, models in known.items() if not models.is_complete]
        found += [*_unreferenced(lying, known), *_unfinished(stores, patience)]
        found += [_finished(key) for key in lying.checkpoints if by_stage.get(key.prefix)]
        found += [_superseded(each) for each in unreferred if each.is_parts and by_stage.get(each.key.prefix)]
    at_work = tuple(attempt for attempt in lying.attempts if attempt.run_id in lying.at_work)
    return Leftovers(tuple(found), at_work, tuple(notes))


def remove_leftovers(
    stores: TendedStores, leftovers: Leftovers, patience: timedelta, record: Record | None
) -> list[Problem]:
    """Remove what was found, and return what was removed.

    Args:
        stores: The stores.
        leftovers: What was found.
        patience: As it was looked for with.
        record: Leaves a line in the audit log before each removal.
    """
    removed = [problem for problem in leftovers.found if problem.kind == ATTEMPT]
    # A run that began since may store the very model, go on from a checkpoint or from parts, or be in a write.
    if not runs_at_work(stores.by_class["logs"], (), patience):
        removed += [problem for problem in leftovers.found if problem.kind in (MODEL, UNFINISHED, CHECKPOINTS, PARTS)]
    for problem in removed:
        if record:
            record("repair", {"data_class": problem.data_class, "path": problem.path, "removed": problem.kind})
        if problem.kind != UNFINISHED:
            stores.by_class[problem.data_class].remove(problem.path)
    cleanable = _cleanable(stores)
    for data_class in {problem.data_class for problem in removed if problem.kind == UNFINISHED}:
        cleanable[data_class].remove_leftovers(patience)
    return removed


def _abandoned(attempt: StoredAttempt) -> Problem:
    detail = f"run {attempt.run_id} is not at work, and no entry of the log refers to what it wrote"
    return Problem(ATTEMPT, attempt.data_class, attempt.path, detail, _REMEDY)


def _finished(key: StageKey) -> Problem:
    # Before its commit a training that was interrupted goes on from them.
    detail = f"{key.stage} of {key.cycle} is committed, so that no run goes on from them"
    return Problem(CHECKPOINTS, class_of(f"{key.prefix}/log"), f"{key.prefix}/checkpoints", detail, _REMEDY)


def _superseded(parts: StoredAttempt) -> Problem:
    # Before its commit a scoring that was interrupted goes on from them, and after it one makes them anew.
    detail = f"{parts.key.stage} of {parts.key.cycle} is committed, and no entry of the log refers to them"
    return Problem(PARTS, parts.data_class, parts.path, detail, _REMEDY)


def _undecided(path: str) -> str:
    return f"Whether anything refers to {path} is not known while its log is damaged: nothing is removed there."


def _refers(commits: Sequence[StoredCommit], attempt: StoredAttempt) -> bool | None:
    """Return whether a commit of its stage refers to the attempt; None where damage hides it."""
    below = f"{attempt.path}/"
    entries = [commit.entry for commit in commits if commit.entry is not None]
    if any(entry.run_id == attempt.run_id or entry.manifest.startswith(below) for entry in entries):
        return True
    manifests = [commit.manifest for commit in commits if commit.manifest is not None]
    if any(output.path.startswith(below) for manifest in manifests for output in manifest.outputs.values()):
        return True
    return False if len(manifests) == len(commits) else None


def _unreferenced(lying: Lying, known: Mapping[str, References]) -> Iterator[Problem]:
    for family, referred in known.items():
        for digest, files in lying.models.get(family, {}).items():
            if referred.is_complete and digest not in referred.champions | referred.stages:
                state = "whole" if "config.json" in files else "incomplete"
                detail = f"the model is {state}, and no entry of training or of the champion refers to it"
                yield Problem(MODEL, "models", f"{family}/by_digest/{digest}", detail, _REMEDY)


def _unfinished(stores: TendedStores, patience: timedelta) -> Iterator[Problem]:
    for data_class, store in _cleanable(stores).items():
        for leftover in store.leftovers():
            if leftover.age >= patience:
                size = f", {leftover.size:,} bytes" if leftover.size else ""
                detail = f"{leftover.detail}{size}, begun {_hours(leftover.age)} ago"
                yield Problem(UNFINISHED, data_class, leftover.path, detail, _REMEDY)


def _cleanable(stores: TendedStores) -> dict[DataClass, Cleanable]:
    """Return the stores that can be cleaned, each once."""
    return {root.data_class: root.store for root in stores.roots() if isinstance(root.store, Cleanable)}


def _hours(age: timedelta) -> str:
    return f"{age.total_seconds() / 3600:.1f} hours"
