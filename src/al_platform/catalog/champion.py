"""Models under their digest, and the champion: a log in which every promotion and rollback is one more entry."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from al_platform.catalog.outputs import StageOutput, StoreDataset, stored_files
from al_platform.domain.errors import CommitConflictError, StoreError
from al_platform.domain.shared_error import ByHand
from al_platform.models.lock import installed_packages
from al_platform.models.model import TRAINING_RECORD, Model, TrainedModel, directory_digest, load_classifier
from al_platform.storage.audit_log import AuditLog, entry_subject
from al_platform.storage.commit_log import Input, StageKey, append, entries, head, to_json
from al_platform.storage.scratch import temporary_folder
from al_platform.storage.store import Root, Store, open_store

BY_GATE = "gate"
Kind = Literal["gate", "by_hand", "rollback"]


class ChampionEntry(BaseModel):
    """One entry of a family's champion log.

    Attributes:
        number: Position in the log, from 1.
        cycle: The cycle whose run made it, or the newest one that had begun when a person did: later cycles read this
            champion.
        model_digest: The model that became champion.
        previous: The champion it replaced, if any.
        reason: ``gate``, or why a person did it.
        verdict_digest: SHA-256 of the verdict that it follows from, or was made in spite of.
        at: When, ISO 8601, UTC.
        kind: What made it: the gate's verdict, a person's promotion, or a person's return to a former champion.
        actor: Who did it by hand; None for the gate.
        verdict: What the gate's newest verdict on this model was, ``duel`` where one was won after it; None where there
            was none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    family: str
    cycle: str
    model_digest: str
    previous: str | None
    reason: str
    verdict_digest: str | None
    at: str
    kind: Kind = "gate"
    actor: str | None = None
    verdict: str | None = None


class Promotion(BaseModel):
    """What a verdict asks of the champion log; ``model_digest`` is None where the champion stays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_digest: str | None
    expected_champion: str | None
    verdict_digest: str | None
    verdict: Literal["promote", "duel"] = "promote"


class ModelOutput(StageOutput):
    """A trained model: its files lie under their digest, the stage's output is a reference to them."""

    def __init__(self, **output: Any):
        """Create the dataset; see ``StageOutput``."""
        super().__init__(format="json", **output)

    def _save(self, data: TrainedModel) -> None:
        reference = {}
        if data.simpler is not None:
            simpler = replace(data.simpler, record=self._completed(data.simpler.record))
            reference["simpler_model"] = store_model(self.store, self.family, simpler)
        model = replace(data, record=self._completed({**data.record, "digests": reference}))
        super()._save({"model_digest": store_model(self.store, self.family, model), **reference})

    def _load(self) -> Model:
        reference = super()._load()
        model = load_model(self.store, self.family, reference["model_digest"])
        if "simpler_model" not in reference:
            return model
        return replace(model, simpler=load_model(self.store, self.family, reference["simpler_model"]))

    def _completed(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the training's record with what only the run knows."""
        if self.run is None:
            return dict(record)
        read = self.run.attempt(self.key, self.store).inputs
        stored = {name: source.model_dump(mode="json") for name, source in read.items()}
        return {
            **record,
            "run_id": self.run.run_id,
            "code_revision": self.run.code_revision,
            "environment": dict(self.run.environment),
            "packages": installed_packages(),
            "inputs": {**record.get("inputs", {}), "stored": stored},
        }


class ChampionModels(StoreDataset):
    """Models that the champion log names."""

    def __init__(self, *, models_root: Root, **where: Any):
        """Create the dataset.

        Args:
            models_root: Where models lie.
            where: Root of the champion log, family and cycle.
        """
        super().__init__(**where)
        self.models = open_store(models_root)


class Champion(ChampionModels):
    """The model that the newest champion entry of a cycle before this one names; None before the first."""

    def _load(self) -> Model | None:
        entry = champion_before(self.store, self.family, self.cycle)
        if entry is None:
            self.source = Input(place="none", sha256=None)
            return None
        path = f"{self.family}/log/{entry.number:06d}.json"
        self.source = Input(place=path, sha256=entry.model_digest, files=tuple(stored_files(self.store, [path])))
        return load_model(self.models, self.family, entry.model_digest)


class EarlierChampions(StoreDataset):
    """The entries of all cycles before this one, as a list, oldest first."""

    def _load(self) -> list[ChampionEntry]:
        found = [entry for entry in champion_log(self.store, self.family) if entry.cycle < self.cycle]
        paths = [f"{self.family}/log/{entry.number:06d}.json" for entry in found]
        self.source = Input.of_files(", ".join(paths), stored_files(self.store, paths))
        return found


class ChampionLog(StoreDataset):
    """The champion log of a family: saving a ``Promotion`` appends to it, loading returns what led to it.

    Loaded are the entries of earlier cycles and the gate's own of this one. What people did in between counts for later
    cycles, so that a quarter that is run again reports what it reported.
    """

    def _save(self, data: Promotion) -> None:
        if data.model_digest is None:
            return
        log = champion_log(self.store, self.family)
        own = [entry for entry in log if self._is_own(entry)]
        if own and own[-1].model_digest == data.model_digest:
            return
        _require_unmoved(log, own, data, self.family)
        entry = ChampionEntry(
            number=len(log) + 1,
            family=self.family,
            cycle=self.cycle,
            model_digest=data.model_digest,
            previous=log[-1].model_digest if log else None,
            reason=BY_GATE,
            verdict_digest=data.verdict_digest,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            verdict=data.verdict,
        )
        append_champion(self.store, entry, *((self.run.audit, self.run.run_id) if self.run else (None, None)))

    def _load(self) -> list[ChampionEntry]:
        log = champion_log(self.store, self.family)
        read = [entry for entry in log if entry.cycle < self.cycle or self._is_own(entry)]
        digest = sha256(b"".join(to_json(entry) for entry in read)).hexdigest()
        self.source = Input(place=f"{self.family}/log", sha256=digest)
        return read

    def _is_own(self, entry: ChampionEntry) -> bool:
        return (entry.cycle, entry.kind) == (self.cycle, "gate")

    def _exists(self) -> bool:
        # Not "is there a log": a run of what is missing must still carry out this cycle's verdict.
        return head(self.store, StageKey(self.family, self.cycle, "promotion")) is not None


def champion_log(store: Store, family: str) -> list[ChampionEntry]:
    """Return every entry of the family's champion log, oldest first."""
    return [ChampionEntry.model_validate_json(entry) for entry in entries(store, f"{family}/log")]


def champion_before(store: Store, family: str, cycle: str) -> ChampionEntry | None:
    """Return the newest entry of a cycle before ``cycle``, or None."""
    earlier = [entry for entry in champion_log(store, family) if entry.cycle < cycle]
    return earlier[-1] if earlier else None


def append_champion(store: Store, entry: ChampionEntry, audit: AuditLog | None, run_id: str | None = None) -> None:
    """Append ``entry`` to its family's champion log, after its line in the audit log.

    The entry is built on the log as it was read: its number is the next one, and only one entry can be created there.

    Raises:
        CommitConflictError: Another promotion or rollback took this place first.
    """
    path, data = f"{entry.family}/log/{entry.number:06d}.json", to_json(entry)
    if audit:
        action = "rollback" if entry.kind == "rollback" else "promote"
        about = {"reason": entry.reason, "run_id": run_id}
        audit.record(action, {**about, **entry_subject("champion", path, data)})
    try:
        append(store, f"{entry.family}/log", entry.number, data)
    except FileExistsError as error:
        # A lost reply looks like a lost race: the entry read back tells which of the two it was.
        theirs = store.read(path)
        if theirs != data:
            raise _lost_race(ChampionEntry.model_validate_json(theirs), entry) from error


def succession(log: Sequence[ChampionEntry]) -> list[ChampionEntry]:
    """Return how the champion of today came to be, oldest first: what was rolled back or superseded is left out.

    A quarter that is run again supersedes its own promotion.
    """
    line: list[ChampionEntry] = []
    for entry in log:
        if entry.kind == "rollback":
            back_at = [position for position, former in enumerate(line) if former.model_digest == entry.model_digest]
            del line[back_at[-1] if back_at else len(line) :]
        elif line and entry.kind == "gate" and (line[-1].kind, line[-1].cycle) == ("gate", entry.cycle):
            line.pop()
        line.append(entry)
    return line


def changed_by_hand(log: Sequence[ChampionEntry]) -> dict[str, ByHand]:
    """Return what people did last about each model, by digest; what the gate has promoted since is left out."""
    found: dict[str, ByHand] = {}
    for number, entry in enumerate(log, start=1):
        before, after = ({each.model_digest for each in succession(log[:end])} for end in (number - 1, number))
        if entry.kind == "rollback":
            found |= dict.fromkeys(before - after, "rolled_back")
        if entry.kind == "by_hand":
            found[entry.model_digest] = "promoted"
        else:
            found.pop(entry.model_digest, None)
    return found


def store_model(store: Store, family: str, model: TrainedModel) -> str:
    """Store a model under its digest and return the digest; one that is there already is left alone."""
    with temporary_folder() as name:
        directory = Path(name)
        model.classifier.save(directory)
        digest = directory_digest(directory)
        (directory / TRAINING_RECORD).write_bytes(to_json(dict(model.record)))
        # config.json goes last: a folder that has it is whole.
        for file in sorted(directory.iterdir(), key=lambda file: (file.name == "config.json", file.name)):
            if not store.exists(f"{_folder(family, digest)}/{file.name}"):
                store.upload(file, f"{_folder(family, digest)}/{file.name}")
    return digest


def load_model(store: Store, family: str, digest: str) -> Model:
    """Return the model of this digest.

    Raises:
        StoreError: It is missing, incomplete, or was changed.
    """
    if not store.exists(f"{_folder(family, digest)}/config.json"):
        raise StoreError(f"Model {digest[:12]} of {family} is missing from {store.root}.")
    directory = store.local(_folder(family, digest))
    if directory_digest(directory) != digest:
        raise StoreError(f"Model {digest[:12]} of {family} in {store.root} was changed after it was stored.")
    return Model(digest, load_classifier(directory), folder=directory)


def training_record(store: Store, family: str, digest: str) -> dict[str, Any]:
    """Return the record of how a model was trained."""
    record: dict[str, Any] = json.loads(store.read(f"{_folder(family, digest)}/{TRAINING_RECORD}"))
    return record


def _require_unmoved(
    log: Sequence[ChampionEntry], own: Sequence[ChampionEntry], promotion: Promotion, family: str
) -> None:
    # A quarter that is run again supersedes its own promotion: both were compared with the champion before it.
    others = [entry for entry in log if entry not in own]
    newest = others[-1] if others else None
    is_followed = bool(newest and own and newest.number > own[-1].number)
    compared_with = newest.model_digest if newest else None
    if compared_with == promotion.expected_champion and not is_followed:
        return
    by_whom = f" since {newest.actor} said: {newest.reason}" if newest and newest.kind != "gate" else ""
    raise CommitConflictError(
        f"The champion of {family} moved while {_short(promotion.model_digest)} was evaluated: the verdict compared it "
        f"with {_short(promotion.expected_champion)}, the champion is now {_short(compared_with)}{by_whom}. "
        f"Run the quarterly of the next cycle, which compares with it, or decide by hand: kedro al promote --help."
    )


def _lost_race(theirs: ChampionEntry, ours: ChampionEntry) -> CommitConflictError:
    return CommitConflictError(
        f"Another promotion or rollback of {ours.family} came first: entry {theirs.number} makes "
        f"{_short(theirs.model_digest)} the champion ({theirs.reason}). Nothing was done about "
        f"{_short(ours.model_digest)}. Look at it with: kedro al champions --family {ours.family}"
    )


def _folder(family: str, digest: str) -> str:
    return f"{family}/by_digest/{digest}"


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "none"
