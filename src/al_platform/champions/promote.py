"""A person's entries in the champion log: promotion in spite of the gate or before it, and rollback.

Nothing is deleted: each is one more entry, and readers go by the cycle of an entry: it counts for cycles after its own.
An entry by hand gets the newest cycle in which the family has committed any stage. So the next month is scored by the
new champion at once, while a run of a month that had begun, repeated, reads what it read before. A quarterly of that
newest month still compares with the champion of before, and promotion then refuses: the champion moved. Who wants the
comparison with the new one runs the month after it first.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple

from al_platform.catalog.champion import (
    ChampionEntry,
    Kind,
    append_champion,
    champion_log,
    load_model,
    succession,
)
from al_platform.catalog.formats import format_named
from al_platform.catalog.outputs import read_output
from al_platform.config import FamilyConfigLoader
from al_platform.domain.errors import ConfigError, known_names
from al_platform.domain.taxonomy import Taxonomy
from al_platform.stages import STAGES
from al_platform.storage.audit_log import anchor_quietly
from al_platform.storage.commit_log import Entry, committed_cycles, history, read_manifest, to_json
from al_platform.storage.run_record import actor
from al_platform.storage.store import Store, open_store
from al_platform.stores import open_audit_log

PROMOTE = "promote"
_JSON = format_named("json")
_MODELS = ("model_digest", "simpler_model")  # of a training: the challenger, and a cheaper model beside it


class Change(NamedTuple):
    """The entry that was made, and what its maker should know."""

    entry: ChampionEntry
    warnings: tuple[str, ...]


class _Verdict(NamedTuple):
    cycle: str
    content: dict[str, Any]


@dataclass(frozen=True)
class _Family:
    """A family of an environment, with its champion log as it was read: entries are built on it."""

    loader: FamilyConfigLoader
    name: str
    log: tuple[ChampionEntry, ...]

    @classmethod
    def of(cls, loader: FamilyConfigLoader, name: str) -> "_Family":
        if name not in loader.families:
            raise ConfigError(f"There is no family {name!r}. {known_names(name, loader.families)}")
        return cls(loader, name, tuple(champion_log(open_store(loader.root("champion")), name)))

    @property
    def champion(self) -> str | None:
        return self.log[-1].model_digest if self.log else None

    @property
    def models(self) -> Store:
        return open_store(self.loader.root("models"))

    def newest_cycle(self) -> str:
        """Return the newest cycle that the family has committed any stage in, or has an entry of."""
        stores = ((open_store(self.loader.root(stage.data_class)), stage.name) for stage in STAGES)
        cycles = (cycle for store, stage in stores for cycle in committed_cycles(store, self.name, stage))
        return max([*cycles, *(entry.cycle for entry in self.log)])


def champion_history(loader: FamilyConfigLoader, family: str) -> list[ChampionEntry]:
    """Return every entry of the family's champion log, oldest first; the last one is the champion.

    Raises:
        ConfigError: There is no such family.
    """
    return list(_Family.of(loader, family).log)


def promote_by_hand(loader: FamilyConfigLoader, family: str, model: str, reason: str) -> Change:
    """Make a trained model the champion, whatever the gate said of it; what it said is recorded.

    Args:
        loader: Configuration of the environment.
        family: The model family.
        model: Digest of the model, or the beginning of one.
        reason: Why; it is kept in the log.

    Raises:
        ConfigError: No such family or model, the model has other labels or is the champion already, or no reason.
        CommitConflictError: Another promotion or rollback came first.
    """
    found = _Family.of(loader, family)
    trained = _trained_models(found.models, family)
    digest = _one_digest(model, trained, f"Asked to promote model {model!r} of {family}", "trained models")
    if digest == found.champion:
        raise ConfigError(f"Model {digest[:12]} is the champion of {family} already; nothing was done.")
    verdict = _newest_verdict(found.models, family, digest)
    entry = _append(found, "by_hand", digest, reason, verdict)
    return Change(entry, tuple(_doubts(verdict, found.champion)))


def roll_back(loader: FamilyConfigLoader, family: str, reason: str, to: str | None = None) -> Change:
    """Make a former champion the champion again.

    Args:
        loader: Configuration of the environment.
        family: The model family.
        reason: Why; it is kept in the log.
        to: Digest of a former champion, or the beginning of one; by default the one before the champion of today. What
            was itself rolled back or superseded is passed over, so that a second rollback goes further back.

    Raises:
        ConfigError: No such family or former champion, it has other labels, or no reason.
        CommitConflictError: Another promotion or rollback came first.
    """
    found = _Family.of(loader, family)
    digest = _former_champion(found, to) if to else _champion_before(found)
    return Change(_append(found, "rollback", digest, reason, _newest_verdict(found.models, family, digest)), ())


def _append(family: _Family, kind: Kind, digest: str, reason: str, verdict: _Verdict | None) -> ChampionEntry:
    if not reason.strip():
        raise ConfigError(f"Asked to change the champion of {family.name} without a reason. Say why with --reason.")
    _require_labels(family, digest)
    entry = ChampionEntry(
        number=len(family.log) + 1,
        family=family.name,
        cycle=family.newest_cycle(),
        model_digest=digest,
        previous=family.champion,
        reason=reason.strip(),
        verdict_digest=sha256(to_json(verdict.content)).hexdigest() if verdict else None,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        kind=kind,
        actor=actor(),
        verdict=verdict.content["verdict"] if verdict else None,
    )
    audit = open_audit_log(family.loader)
    append_champion(open_store(family.loader.root("champion")), entry, audit)
    anchor_quietly(audit)
    return entry


def _champion_before(family: _Family) -> str:
    line = succession(family.log)
    if not line:
        raise ConfigError(f"{family.name} has no champion yet, so that there is nothing to roll back.")
    if len(line) == 1:
        raise ConfigError(
            f"Model {line[0].model_digest[:12]} is the first champion of {family.name}: there is none before it. "
            f"Promote another model by hand: kedro al promote MODEL --family {family.name} --reason TEXT"
        )
    return line[-2].model_digest


def _former_champion(family: _Family, to: str) -> str:
    former = {entry.model_digest for entry in family.log} - {family.champion}
    asked = f"Asked to roll {family.name} back to {to!r}"
    if family.champion is not None and family.champion.startswith(to):
        raise ConfigError(f"{asked}, which is its champion. Former champions: {_listed(former)}.")
    return _one_digest(to, former, asked, "former champions")


def _one_digest(given: str, known: Iterable[str], asked: str, what: str) -> str:
    """Return the digest that begins with what was given."""
    digests = sorted(known)
    matches = [digest for digest in digests if given and digest.startswith(given)]
    if len(matches) == 1:
        return matches[0]
    found = f"{len(matches)} {what} begin with it: give more of it" if matches else f"there is none among its {what}"
    raise ConfigError(f"{asked}, but {found}. {what.capitalize()}: {_listed(matches or digests)}.")


def _listed(digests: Iterable[str]) -> str:
    return ", ".join(digest[:12] for digest in sorted(digests)) or "none"


def _require_labels(family: _Family, digest: str) -> None:
    taxonomy = Taxonomy.model_validate(family.loader["parameters"][family.name]["taxonomy"])
    found = load_model(family.models, family.name, digest).classifier.config.taxonomy
    if (found.task, found.labels) != (taxonomy.task, taxonomy.labels):
        raise ConfigError(
            f"Model {digest[:12]} knows the labels {list(found.labels)} ({found.task}), but {family.name} has "
            f"{list(taxonomy.labels)} ({taxonomy.task}). Choose a model of today's labels, or restore the labels."
        )


def _trained_models(models: Store, family: str) -> set[str]:
    """Return the models that committed trainings made, superseded ones too."""
    logs = (path for path in models.list(family) if path.split("/")[2:4] == ["training", "log"])
    entries = (Entry.model_validate_json(models.read(path)) for path in logs)
    outputs = (read_manifest(models, entry).outputs["challenger"] for entry in entries)
    references = (read_output(models, output, _JSON) for output in outputs)
    return {reference[name] for reference in references for name in _MODELS if name in reference}


def _newest_verdict(models: Store, family: str, digest: str) -> _Verdict | None:
    """Return the newest verdict of the gate on a model, or None."""
    return next((found for found in _verdicts(models, family) if found.content["challenger_digest"] == digest), None)


def _verdicts(models: Store, family: str) -> Iterator[_Verdict]:
    for cycle, manifest in reversed(history(models, family, "evaluation").items()):
        yield _Verdict(cycle, read_output(models, manifest.outputs["verdict"], _JSON))


def _doubts(verdict: _Verdict | None, champion: str | None) -> Iterator[str]:
    if verdict is None:
        yield "The gate never judged this model: no evaluation of it is committed."
        return
    if verdict.content["verdict"] != PROMOTE:
        said = verdict.content["verdict"]
        yield f"The gate's verdict on it in {verdict.cycle} was {said}: {verdict.content['reason']}"
    if (compared_with := verdict.content["champion_digest"]) != champion:
        yield f"That verdict compared it with {(compared_with or 'none')[:12]}, not with today's champion."
