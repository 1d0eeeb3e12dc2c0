"""Outputs of a small evaluation, as the stages write them."""

from copy import deepcopy
from typing import Any

from al_platform.reports.challenger_report import ChallengerReport
from al_platform.reports.curves import ClassCurves, CurvePoint
from al_platform.reports.regressions import ChangedCounts, ChangedPage, Regressions

LABELS = ("business", "sport")
CHALLENGER, CHAMPION = "ab" * 32, "cd" * 32


def model(macro_f1: float) -> dict[str, Any]:
    interval = {"low": macro_f1 - 0.1, "high": macro_f1 + 0.1}
    return {
        "macro_f1": {"value": macro_f1, "n": 40, "set": "golden", **interval},
        "accuracy": macro_f1,
        "intervals": {"accuracy": interval},
        "calibration_error": 0.05,
        "per_class": [
            {"label": label, "precision": 0.8, "recall": 0.7, "f1": macro_f1, "support": 20.0} for label in LABELS
        ],
        "reliability": [{"probability": 0.3, "share": 0.25, "n": 20}, {"probability": 0.9, "share": 0.95, "n": 20}],
    }


def check(name: str, value: float | None, threshold: float | None, passed: bool | None, **more: Any) -> dict[str, Any]:
    return {"name": name, "value": value, "threshold": threshold, "passed": passed, "why": f"why {name}", **more}


VERDICT = {
    "verdict": "promote",
    "rule": "non_inferior",
    "reason": "Promoted, every required check passed.",
    "checks": [
        check("golden_rows", 40.0, 20.0, True),
        check("golden_difference", 0.026, -0.005, True),
        check("a_new_guardrail", None, 0.5, None),
        check("audit_response", 0.9, 1.0, False, required=False),
    ],
    "missing_rows": None,
    "challenger_digest": CHALLENGER,
    "champion_digest": CHAMPION,
    "options": {"confidence": 0.95},
    "loosened": ["min_golden is 20 instead of 1000"],
}
EVALUATION = {
    "audit": {"n": 30, "challenger": model(0.72), "champion": model(0.61)},
    "golden": {
        "n": 40,
        "challenger": model(0.7),
        "champion": model(0.6),
        "difference": {"point": 0.1, "lower": 0.026, "upper": 0.2, "n": 40},
        "slices": [
            {
                "slice": "language",
                "value": "en",
                "difference": {"point": -0.02, "lower": -0.1, "upper": 0.05, "n": 25},
                "p_of_harm": 0.31,
            }
        ],
    },
}
ERRORS = {
    "set": "golden",
    "n": 40,
    "n_errors": 3,
    "confusions": [{"truth": "sport", "predicted": "business", "n": 3}],
    "class_errors": [],
    "slices": [
        {"slice": "language", "value": "de", "n": 15, "errors": 2, "accuracy": 0.87, "low": 0.6, "high": 0.96},
        {"slice": "language", "value": "en", "n": 25, "errors": 1, "accuracy": 0.96, "low": 0.8, "high": 0.99},
    ],
    "n_small_slices": 4,
    "mistakes": [
        {
            "page_id": "page-0001",
            "snippet": "the striker bought shares",
            "truth": ["sport"],
            "predicted": ["business"],
            "confidence": 0.91,
        }
    ],
}
TRAINING = {
    "model_digest": CHALLENGER,
    "n_train": 200,
    "n_validation": 50,
    "history": [
        {"epoch": 0, "train_loss": 1.6, "validation_loss": 1.4, "validation_macro_f1": 0.3},
        {"epoch": 1, "train_loss": 1.1, "validation_loss": 1.2, "validation_macro_f1": 0.5},
    ],
    "seed": 0,
}
CARD = {
    "pages": 320,
    "sets": {"train": 200, "validation": 50, "golden": 40, "audit": 30, "control": 0, "excluded": 0},
    "class_balance": {name: {"business": 30, "sport": 10} for name in ("train", "validation", "golden", "audit")},
    "sources": {"imported": 240, "annotated": 80},
    "reasons": {"strategy": 60, "audit": 20},
    "since_last_cycle": {"added": 39, "removed": 1, "relabelled": 2},
}
STALENESS = {
    "cycle": "2026-10",
    "n": 30,
    "champions": [
        {
            "cycle": cycle,
            "model_digest": digest * 32,
            "age_months": age,
            "macro_f1": {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 30, "set": "audit"},
            "gain": {
                "point": 0.72 - value,
                "lower": 0.01,
                "upper": 0.3,
                "confidence": 0.95,
                "n": 30,
                "set": "audit",
            },
        }
        for cycle, digest, age, value in (("2026-04", "ef", 6, 0.5), ("2026-07", "cd", 3, 0.61))
    ],
    "challenger": {"value": 0.72, "low": 0.62, "high": 0.82, "n": 30, "set": "audit"},
    "left_out": [],
}


def regressions(**page: Any) -> Regressions:
    told: dict[str, Any] = {
        "page_id": "page-0002",
        "set": "golden",
        "text": "the bank sponsors a race",
        "truth": ("sport",),
        "champion": ("sport",),
        "challenger": ("business",),
        "confidence": 0.8,
    }
    counts = ChangedCounts(set="golden", n=40, regressed=1, improved=5, both_right=30, both_wrong=4)
    return Regressions(counts=(counts,), pages=(ChangedPage(**{**told, **page}),))


def curves() -> list[ClassCurves]:
    points = (CurvePoint(recall=0.5, precision=1.0), CurvePoint(recall=1.0, precision=0.6))
    return [ClassCurves(set="golden", label=label, challenger=points, champion=points[:1]) for label in LABELS]


def outputs(**changed: Any) -> dict[str, Any]:
    """Everything that a report is made of; ``changed`` replaces parts."""
    whole = {
        "verdict": VERDICT,
        "evaluation": EVALUATION,
        "error_analysis": ERRORS,
        "training_report": TRAINING,
        "dataset_card": CARD,
        "staleness": STALENESS,
    }
    return {**deepcopy(whole), "regressions": regressions(), "curves": curves(), **changed}


def first_champion() -> dict[str, Any]:
    """The same before there is a champion."""
    evaluation = {name: {**found, "champion": None} for name, found in EVALUATION.items()}
    verdict = {**VERDICT, "rule": "first_champion", "champion_digest": None}
    nothing = {"cycle": "2026-10", "n": 30, "champions": [], "challenger": STALENESS["challenger"], "left_out": []}
    return outputs(verdict=verdict, evaluation=evaluation, staleness=nothing, regressions=None)


def make_report(**changed: Any) -> ChallengerReport:
    return ChallengerReport.of_outputs("topics", "2026-10", **outputs(**changed))
