"""Precision and recall of each class at every threshold, thinned to what a chart can show."""

import numpy as np
from pydantic import BaseModel, ConfigDict

from al_platform.domain.evidence import ModelOutput, ScoredSet
from al_platform.domain.metrics import BoolArray, FloatArray
from al_platform.domain.taxonomy import Taxonomy

MAX_POINTS = 40


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CurvePoint(_Record):
    """What giving a class to all pages above some probability finds, and how often that is right."""

    recall: float
    precision: float


class ClassCurves(_Record):
    """Both models' curve of a class on ``set``, by recall; the champion's is empty before the first."""

    set: str
    label: str
    challenger: tuple[CurvePoint, ...]
    champion: tuple[CurvePoint, ...] = ()


def class_curves(name: str, scored: ScoredSet, taxonomy: Taxonomy) -> list[ClassCurves]:
    """Return the curves of every class that has a page in the set ``name``."""
    return [
        ClassCurves(
            set=name,
            label=label,
            challenger=_curve(scored, scored.challenger, column),
            champion=_curve(scored, scored.champion, column) if scored.champion else (),
        )
        for column, label in enumerate(taxonomy.labels)
        if scored.truth[:, column].any()
    ]


def _curve(scored: ScoredSet, model: ModelOutput, column: int) -> tuple[CurvePoint, ...]:
    truth = scored.truth[:, column]
    weights = np.ones(len(truth)) if scored.weights is None else scored.weights
    recall, precision = precision_recall(truth, model.probabilities[:, column].astype(np.float64), weights)
    shown = np.unique(np.linspace(0, len(recall) - 1, min(MAX_POINTS, len(recall))).astype(np.int64))
    return tuple(CurvePoint(recall=float(recall[row]), precision=float(precision[row])) for row in shown)


def precision_recall(truth: BoolArray, scores: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return recall and precision at every distinct score, highest score first; each of shape (K,).

    Args:
        truth: (N,), some true.
        scores: (N,).
        weights: (N,), positive.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    given = np.cumsum(weights[order])[ends]
    found = np.cumsum(weights[order] * truth[order])[ends]
    return np.asarray(found / found[-1]), np.asarray(found / given)
