"""Labels that are probably wrong: confident learning.

A page is suspect where a model that has not seen it is confident of another label than the one it has; how much
probability is confident, each label's own pages say (Northcutt, Jiang & Chuang 2021, "Confident learning: estimating
uncertainty in dataset labels", section 3.1). Multi-label: each class is a question of its own, yes or no.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Suspects(NamedTuple):
    """Pages whose label is in doubt, the most doubtful first.

    Attributes:
        rows: Of the pages, (S,).
        scores: By how much the model prefers another label, -1 to 1, (S,).
        classes: What is in doubt, (S,): single-label the class that the model prefers; multi-label the class that is
            there and should not be, or the other way round.
    """

    rows: NDArray[np.int64]
    scores: Floats
    classes: NDArray[np.int64]


def find_suspects(probabilities: Floats, given: NDArray[np.bool_], *, is_multi: bool) -> Suspects:
    """Return the pages whose label is in doubt; of equal doubt, in the order of rows.

    Args:
        probabilities: Of each class, by a model that was not trained on the page, (N, C). NaN: there is no model of
            that class.
        given: The labels, (N, C); single-label: one a page.
        is_multi: Whether a page may have any number of labels.
    """
    doubts = _of_each_class(probabilities, given) if is_multi else _of_one_class(probabilities, given)
    classes = doubts.argmax(axis=1) if doubts.size else np.zeros(len(doubts), dtype=np.int64)
    scores = doubts[np.arange(len(doubts)), classes] if doubts.size else np.full(len(doubts), -np.inf)
    rows = np.flatnonzero(np.isfinite(scores))
    order = rows[np.argsort(-scores[rows], kind="stable")]
    return Suspects(order, scores[order], classes[order])


def _of_one_class(probabilities: Floats, given: NDArray[np.bool_]) -> Floats:
    """Return how doubtful each page is in favour of each class, -inf where it is not, (N, C)."""
    own = given.argmax(axis=1)
    is_confident = np.nan_to_num(probabilities, nan=-1.0) >= _thresholds(probabilities, given)
    among = np.where(is_confident, probabilities, -np.inf)
    best = among.argmax(axis=1)
    is_suspect = is_confident.any(axis=1) & (best != own)
    margin = probabilities[np.arange(len(own)), best] - probabilities[np.arange(len(own)), own]
    doubts = np.full(probabilities.shape, -np.inf)
    rows = np.flatnonzero(is_suspect & np.isfinite(margin))
    doubts[rows, best[rows]] = margin[rows]
    return doubts


def _of_each_class(probabilities: Floats, given: NDArray[np.bool_]) -> Floats:
    doubts = np.full(probabilities.shape, -np.inf)
    for column in range(probabilities.shape[1]):
        yes = probabilities[:, column]
        if np.isfinite(yes).all() and len(yes):
            says = given[:, column]
            found = _of_one_class(np.stack([1 - yes, yes], axis=1), np.stack([~says, says], axis=1))
            doubts[:, column] = found.max(axis=1)
    return doubts


def _thresholds(probabilities: Floats, given: NDArray[np.bool_]) -> Floats:
    """Return the mean probability of each class among the pages that are labelled so; inf where none is, (C,)."""
    n = given.sum(axis=0)
    total = np.where(given, probabilities, 0.0).sum(axis=0)
    return np.where((n > 0) & np.isfinite(total), total / np.maximum(n, 1), np.inf)
