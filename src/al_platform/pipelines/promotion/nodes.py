"""Nodes of promotion."""

from hashlib import sha256
from typing import Any

from al_platform.catalog.champion import ChampionEntry, Promotion
from al_platform.storage.commit_log import to_json


def promote_challenger(verdict: dict[str, Any]) -> Promotion:
    """Return the entry that the verdict asks of the champion log: the challenger, or none."""
    is_promoted = verdict["verdict"] == "promote"
    return Promotion(
        model_digest=verdict["challenger_digest"] if is_promoted else None,
        expected_champion=verdict["champion_digest"],
        verdict_digest=sha256(to_json(verdict)).hexdigest(),
    )


def report_promotion(champions: list[ChampionEntry], verdict: dict[str, Any]) -> dict[str, Any]:
    """Say which model is champion after this cycle, and why."""
    newest = champions[-1] if champions else None
    return {
        "verdict": verdict["verdict"],
        "reason": verdict["reason"],
        "champion": newest.model_digest if newest else None,
        "champion_since": newest.cycle if newest else None,
        "promotions": len(champions),
    }
