"""Models under their digest, and the champion: a log in which every promotion and rollback is one more entry."""

import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from al_platform.catalog.outputs import StageOutput, StoreDataset, stored_files
from al_platform.domain.errors import CommitConflictError, StoreError
from al_platform.models.classifier import Classifier
from al_platform.models.model import TRAINING_RECORD, Model, TrainedModel, directory_digest
from al_platform.storage.audit_log import AuditLog, entry_subject
from al_platform.storage.commit_log import Input, StageKey, append, entries, head, to_json
from al_platform.storage.store import Root, Store, open_store, temporary_folder

BY_GATE = "gate"


class ChampionEntry(BaseModel):
    """One entry of a family's champion log.

    Attributes:
        number: Position in the log, from 1.
        cycle: The cycle whose run made it: later cycles read this champion.
        model_digest: The model that became champion.
        previous: The champion it replaced, if any.
        reason: ``gate``, or why a person did it.
        verdict_digest: SHA-256 of the verdict that it follows from.
        at: When, ISO 8601, UTC.
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


class Promotion(BaseModel):
    """What the gate's verdict asks of the champion log; ``model_digest`` is None where the champion stays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_digest: str | None
    expected_champion: str | None
    verdict_digest: str | None


class ModelOutput(StageOutput):
    """A trained model: its files lie under their digest, the stage's output is a reference to them."""

    def __init__(self, **output: Any):
        """Create the dataset; see ``StageOutput``."""
        super().__init__(format="json", **output)

    def _save(self, data: TrainedModel) -> None:
        super()._save({"model_digest": store_model(self.store, self.family, data)})

    def _load(self) -> Model:
        return load_model(self.store, self.family, super()._load()["model_digest"])


class Champion(StoreDataset):
    """The model that the newest champion entry of a cycle before this one names; None before the first."""

    def __init__(self, *, models_root: Root, **where: Any):
        """Create the dataset.

        Args:
            models_root: Where models lie.
            where: Root of the champion log, family and cycle.
        """
        super().__init__(**where)
        self._models = open_store(models_root)

    def _load(self) -> Model | None:
        entry = champion_before(self.store, self.family, self.cycle)
        if entry is None:
            self.source = Input(place="none", sha256=None)
            return None
        path = f"{self.family}/log/{entry.number:06d}.json"
        self.source = Input(place=path, sha256=entry.model_digest, files=tuple(stored_files(self.store, [path])))
        return load_model(self._models, self.family, entry.model_digest)


class ChampionLog(StoreDataset):
    """The champion log of a family: saving a ``Promotion`` appends to it, loading returns all entries."""

    def _save(self, data: Promotion) -> None:
        if data.model_digest is None:
            return
        log = champion_log(self.store, self.family)
        if log and (log[-1].cycle, log[-1].model_digest) == (self.cycle, data.model_digest):
            return
        # A quarter that is run again supersedes its own promotion: both were compared with the champion before it.
        others = [entry.model_digest for entry in log if (entry.cycle, entry.reason) != (self.cycle, BY_GATE)]
        compared_with = others[-1] if others else None
        if compared_with != data.expected_champion:
            raise CommitConflictError(
                f"The champion of {self.family} moved while {data.model_digest[:12]} was evaluated: the verdict "
                f"compared it with {_short(data.expected_champion)}, the champion is now {_short(compared_with)}. "
                f"Run the quarterly of the next cycle, which compares with it."
            )
        append_champion(
            self.store,
            ChampionEntry(
                number=len(log) + 1,
                family=self.family,
                cycle=self.cycle,
                model_digest=data.model_digest,
                previous=log[-1].model_digest if log else None,
                reason=BY_GATE,
                verdict_digest=data.verdict_digest,
                at=datetime.now(UTC).isoformat(timespec="seconds"),
            ),
            self.run.audit if self.run else None,
        )

    def _load(self) -> list[ChampionEntry]:
        log = [entry for entry in champion_log(self.store, self.family) if entry.cycle <= self.cycle]
        digest = sha256(b"".join(to_json(entry) for entry in log)).hexdigest()
        self.source = Input(place=f"{self.family}/log", sha256=digest)
        return log

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


def append_champion(store: Store, entry: ChampionEntry, audit: AuditLog | None) -> None:
    """Append ``entry`` to its family's champion log, after its line in the audit log.

    Raises:
        CommitConflictError: Another promotion took this place first.
    """
    folder, data = f"{entry.family}/log", to_json(entry)
    if audit:
        audit.record("promote", entry_subject("champion", f"{folder}/{entry.number:06d}.json", data))
    try:
        append(store, folder, entry.number, data)
    except FileExistsError as error:
        raise CommitConflictError(
            f"Another run promoted a model of {entry.family} first; {entry.model_digest[:12]} was not promoted."
        ) from error


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
    return Model(digest, Classifier.load(directory))


def training_record(store: Store, family: str, digest: str) -> dict[str, Any]:
    """Return the record of how a model was trained."""
    record: dict[str, Any] = json.loads(store.read(f"{_folder(family, digest)}/{TRAINING_RECORD}"))
    return record


def _folder(family: str, digest: str) -> str:
    return f"{family}/by_digest/{digest}"


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "none"
