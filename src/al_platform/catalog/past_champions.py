"""Every champion that a family has had: what it would cost to have stopped at one of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from al_platform.catalog.champion import ChampionEntry, ChampionModels, champion_log, load_model
from al_platform.catalog.outputs import stored_files
from al_platform.models.model import Model
from al_platform.storage.commit_log import Input
from al_platform.storage.store import Store


@dataclass(frozen=True)
class PastChampion:
    """A model that was champion, and the first cycle whose run left it as champion."""

    cycle: str
    model: Model


class PastChampions(ChampionModels):
    """The champions of all cycles before this one, each model once, as a tuple of ``PastChampion``, newest last."""

    def _load(self) -> tuple[PastChampion, ...]:
        entries = first_of_each(entry for entry in champion_log(self.store, self.family) if entry.cycle < self.cycle)
        paths = [f"{self.family}/log/{entry.number:06d}.json" for entry in entries]
        self.source = Input.of_files(", ".join(paths), stored_files(self.store, paths))
        return past_champions(entries, self.models)


def first_of_each(entries: Iterable[ChampionEntry]) -> list[ChampionEntry]:
    """Return one entry for each model, its first, by cycle: a rollback makes no model younger.

    A model that another one superseded within its own cycle was never in use, and is left out.
    """
    in_use = {entry.cycle: entry for entry in sorted(entries, key=lambda entry: entry.number)}
    first: dict[str, ChampionEntry] = {}
    for _, entry in sorted(in_use.items()):
        first.setdefault(entry.model_digest, entry)
    return list(first.values())


def past_champions(entries: Sequence[ChampionEntry], models: Store) -> tuple[PastChampion, ...]:
    """Return the models that champion entries name, loaded.

    Raises:
        StoreError: A model is missing, incomplete, or was changed.
    """
    return tuple(PastChampion(entry.cycle, load_model(models, entry.family, entry.model_digest)) for entry in entries)
