"""What must not get worse while the average gets better: single classes, and labels that are protected."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from al_platform.domain.errors import ConfigError, known_names
from al_platform.domain.estimators import Difference
from al_platform.domain.metrics import BoolArray, Probabilities
from al_platform.domain.paired import Gain, as_difference, class_f1_gains, holm, paired_recall_difference


class ClassDifference(BaseModel):
    """How challenger and champion differ on one class of golden.

    Attributes:
        label: The class.
        difference: In F1; ``n`` is the number of its golden pages.
        recall: In recall, with Tango's bounds.
        p_of_harm: Of finding this loss where the true loss is the margin, adjusted for all guarded classes (Holm 1979).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str
    difference: Difference
    recall: Difference | None
    p_of_harm: float


class Contest(NamedTuple):
    """Both models on the same rows: arrays (N, C) of truth, decisions and probabilities."""

    truth: BoolArray
    champion: BoolArray
    challenger: BoolArray
    champion_probabilities: Probabilities
    challenger_probabilities: Probabilities


def class_differences(
    golden: Contest, labels: Sequence[str], *, min_support: int, margin: float, confidence: float
) -> list[ClassDifference]:
    """Return the differences of every class with at least ``min_support`` golden pages, in label order.

    Args:
        golden: Both models on golden.
        labels: Names of the columns.
        min_support: Pages of the smallest class that is guarded.
        margin: F1 that a class may lose.
        confidence: Of each bound alone.
    """
    gains = class_f1_gains(golden.truth, golden.champion, golden.challenger)
    support = golden.truth.sum(axis=0)
    guarded = np.flatnonzero(support >= min_support).tolist()
    adjusted = holm(gains.p_of_harm(margin)[guarded]).tolist()
    return [
        ClassDifference(
            label=labels[column],
            difference=as_difference(_of_class(gains, column), confidence, int(support[column]), "golden"),
            recall=_recall(golden, [column], golden.challenger, golden.champion, confidence),
            p_of_harm=p,
        )
        for column, p in zip(guarded, adjusted, strict=True)
    ]


def protected_recall(
    golden: Contest, validation: Contest, labels: Sequence[str], protected: Sequence[str], confidence: float
) -> Difference | None:
    """Return challenger minus champion in recall of the protected labels together, at the champion's precision.

    A challenger that gives a label less often is more precise and finds less of it; so each label's threshold is moved
    to where, on validation, it is as precise as the champion, and recall is compared on golden at that threshold.

    Args:
        golden: Both models on golden.
        validation: Both models on validation.
        labels: Names of the columns.
        protected: Labels to guard.
        confidence: Of each bound alone.

    Returns:
        With Tango's bounds; ``n`` is the number of golden pairs of page and protected label, None without any.

    Raises:
        ConfigError: A protected label is not in the taxonomy.
    """
    columns = [_column(label, labels) for label in protected]
    thresholds = [_threshold_at_champions_precision(validation, column) for column in columns]
    challenger = golden.challenger.copy()
    for column, threshold in zip(columns, thresholds, strict=True):
        if threshold is not None:
            challenger[:, column] = golden.challenger_probabilities[:, column] >= threshold
    return _recall(golden, columns, challenger, golden.champion, confidence) if columns else None


def threshold_at_precision(truth: BoolArray, scores: Probabilities, precision: float) -> float | None:
    """Return the threshold that finds most of a class at this precision or above; of the most precise where none is.

    Args:
        truth: (N,).
        scores: (N,).
        precision: To reach.

    Returns:
        None where no row is true: nothing can be said about precision.
    """
    if not truth.any():
        return None
    order = np.argsort(-scores.astype(np.float64), kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    reached = np.cumsum(truth[order])[ends] / (ends + 1)
    enough = np.flatnonzero(reached >= min(precision, reached.max()))
    return float(scores[order][ends[enough[-1]]])


def _threshold_at_champions_precision(validation: Contest, column: int) -> float | None:
    truth, given = validation.truth[:, column], validation.champion[:, column]
    if not given.any() or not truth.any():
        return None
    precision = float((truth & given).sum() / given.sum())
    return threshold_at_precision(truth, validation.challenger_probabilities[:, column], precision)


def _recall(
    golden: Contest, columns: list[int], challenger: BoolArray, champion: BoolArray, confidence: float
) -> Difference | None:
    return paired_recall_difference(
        golden.truth[:, columns],
        champion[:, columns],
        challenger[:, columns],
        set_name="golden",
        confidence=confidence,
    )


def _of_class(gains: Gain, column: int) -> Gain:
    return Gain(gains.point[column], gains.standard_error[column])


def _column(label: str, labels: Sequence[str]) -> int:
    if label not in labels:
        raise ConfigError(
            f"evaluation.gate.protected names the label {label!r}, which is not in the taxonomy. "
            f"{known_names(label, labels)}"
        )
    return list(labels).index(label)
