"""What a scheduler is told of a stage that ended: whether the stage after it has anything to do."""

import json
from collections.abc import Mapping

from kedro.io import DataCatalog

from al_platform.catalog.champion import champion_before
from al_platform.config import FamilyConfigLoader
from al_platform.domain.duel import read_duels
from al_platform.storage.commit_log import StageKey, head
from al_platform.stores import Stores

CONDITIONS: Mapping[str, str] = {"annotation_ingest": "is_new", "evaluation": "is_promotion_due"}
"""What of a stage's outcome must be ``true`` for the stages after it to have anything to do."""


def stage_outcome(loader: FamilyConfigLoader, family: str, stage: str) -> dict[str, str]:
    """Return what a stage's commit of the loader's cycle says to a scheduler, as text.

    Returns:
        After annotation_ingest ``is_new``: ``true`` where preparation has not read the labels that are now committed.
        After evaluation ``verdict`` and ``is_promotion_due``: ``true`` where promotion would carry out the verdict or
        settle a duel. Nothing after other stages.
    """
    stores = Stores.of_environment(loader)
    if stage == "annotation_ingest":
        return {"is_new": _text(_is_new(stores, family, loader.cycle))}
    if stage == "evaluation":
        verdict = _verdict(stores, family, loader.cycle)
        is_due = verdict == "promote" or _is_in_duel(loader, stores, family)
        return {"verdict": verdict, "is_promotion_due": _text(is_due)}
    return {}


def _is_new(stores: Stores, family: str, cycle: str) -> bool:
    ingested = head(stores.of_stage("annotation_ingest"), StageKey(family, cycle, "annotation_ingest"))
    prepared = head(stores.of_stage("preparation"), StageKey(family, cycle, "preparation"))
    if ingested is None or prepared is None:
        return True
    return prepared.inputs[f"{family}.labels"].sha256 != ingested.outputs["labels"].sha256


def _verdict(stores: Stores, family: str, cycle: str) -> str:
    """Return the verdict of a cycle; ``none`` where nothing was evaluated."""
    store = stores.of_stage("evaluation")
    evaluated = head(store, StageKey(family, cycle, "evaluation"))
    return str(json.loads(store.read(evaluated.outputs["verdict"].path))["verdict"]) if evaluated else "none"


def _is_in_duel(loader: FamilyConfigLoader, stores: Stores, family: str) -> bool:
    champion = champion_before(stores.by_class["champion"], family, loader.cycle)
    if champion is None:
        return False
    catalog = DataCatalog.from_config(loader["catalog"], loader["credentials"])
    batches = catalog[f"{family}.batches"].load()
    duels = read_duels(batches.select(["page_id", "cycle", "duel"]))
    return bool(duels) and duels[-1].champion_digest == champion.model_digest


def _text(value: bool) -> str:
    return str(value).lower()
