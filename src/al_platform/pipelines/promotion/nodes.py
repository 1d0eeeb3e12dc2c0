"""Nodes of promotion."""

from hashlib import sha256
from typing import Any

import pyarrow as pa

from al_platform.catalog.champion import ChampionEntry, Promotion
from al_platform.domain.duel import decide_duel, read_duels
from al_platform.domain.selection.options import SelectionOptions
from al_platform.domain.taxonomy import Taxonomy
from al_platform.models.model import Model
from al_platform.storage.commit_log import to_json


def settle_duel(
    batches: Any, labels: pa.Table, champion: Model | None, taxonomy: Taxonomy, options: SelectionOptions
) -> dict[str, Any]:
    """Return who won the newest duel, by the answers that are there; empty where there is none with this champion.

    A duel may be looked at again when more answers have come: those that are missing count against a victory, so that
    one which is found early stands.
    """
    duels = read_duels(batches.select(["page_id", "cycle", "duel"]))
    if champion is None or not duels or duels[-1].champion_digest != champion.digest:
        return {}
    newest = duels[-1]
    answers = dict(zip(labels["page_id"].to_pylist(), labels["values"].to_pylist(), strict=True))
    verdict = decide_duel(newest.duel, answers, taxonomy, alpha=options.duel.alpha)
    return {
        "challenger_digest": newest.challenger_digest,
        "champion_digest": newest.champion_digest,
        **verdict.model_dump(mode="json"),
    }


def promote_challenger(verdict: dict[str, Any], duel: dict[str, Any]) -> Promotion:
    """Return the entry that the verdicts ask for: this quarter's challenger, the winner of a duel, or none."""
    if verdict["verdict"] != "promote" and duel and duel["winner"] == "challenger":
        return Promotion(
            model_digest=duel["challenger_digest"],
            expected_champion=duel["champion_digest"],
            verdict_digest=sha256(to_json(duel)).hexdigest(),
            verdict="duel",
        )
    return Promotion(
        model_digest=verdict["challenger_digest"] if verdict["verdict"] == "promote" else None,
        expected_champion=verdict["champion_digest"],
        verdict_digest=sha256(to_json(verdict)).hexdigest(),
    )


def report_promotion(champions: list[ChampionEntry], verdict: dict[str, Any], duel: dict[str, Any]) -> dict[str, Any]:
    """Say which model is champion after this cycle, and why."""
    newest = champions[-1] if champions else None
    return {
        "verdict": verdict["verdict"],
        "reason": verdict["reason"],
        "duel": duel or None,
        "champion": newest.model_digest if newest else None,
        "champion_since": newest.cycle if newest else None,
        "promotions": len(champions),
    }
