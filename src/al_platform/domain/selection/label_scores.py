"""What each label has to say about a page: its probability, or how close a call it is."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from al_platform.domain.selection.diversity import list_matrix
from al_platform.domain.selection.query import LabelScore, Query
from al_platform.domain.selection.uncertainty import top_two

DEFAULT_THRESHOLD = 0.5
FIXED_POINT = 2.0**24  # sums of integers do not depend on the order of their terms


def label_scores(
    probabilities: NDArray[np.float32],
    kind: LabelScore,
    *,
    is_multi: bool,
    thresholds: tuple[float, ...] | None = None,
) -> NDArray[np.float32]:
    """Return a score for each page and label, (N, C), in [0, 1]: higher = more informative.

    Args:
        probabilities: (N, C).
        kind: ``probability``: as it is, so that pages which probably have the label come first. ``closeness``: 1 less
            the distance to the point at which the decision about this label turns: multi-label its threshold,
            single-label the best of the other labels.
        is_multi: Whether a page may have any number of labels.
        thresholds: Multi-label only: of each label; 0.5 if not given.
    """
    if kind == "probability":
        return probabilities
    if is_multi:
        cuts = np.full(probabilities.shape[1], DEFAULT_THRESHOLD) if thresholds is None else np.asarray(thresholds)
        return 1 - np.abs(probabilities - cuts.astype(np.float32))
    columns = np.ascontiguousarray(probabilities.T)  # a label at a time is a third of the time
    first, second = top_two(columns)
    scores = np.empty_like(columns)
    for score, column in zip(scores, columns, strict=True):
        np.subtract(column, np.where(column == first, second, first), out=score)
    np.subtract(1, np.abs(scores, out=scores), out=scores)
    return scores.T


def scores_of(candidates: pa.Table, kind: LabelScore, query: Query) -> NDArray[np.float32]:
    """Return ``label_scores`` of candidates; -inf where one has no probabilities, no columns where none has any."""
    is_known = candidates["probabilities"].is_valid().to_numpy()
    if not is_known.any():
        return np.empty((len(is_known), 0), dtype=np.float32)
    matrix = list_matrix(candidates["probabilities"].drop_null())
    found = label_scores(matrix, kind, is_multi=query.is_multi, thresholds=query.thresholds)
    scores = np.full((len(is_known), matrix.shape[1]), -np.inf, dtype=np.float32)
    scores[is_known] = found
    return scores


def fixed_point_sum(probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the sum of each column in units of 1 / FIXED_POINT, the same for any order of the rows."""
    # Exact in float32, as the factor is a power of two; and so are sums of whole numbers in float64.
    units = np.rint(probabilities.astype(np.float32, copy=False) * np.float32(FIXED_POINT))
    return np.asarray(units.sum(axis=0, dtype=np.float64), dtype=np.int64)


def take_turns(scores: NDArray[np.float32], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Let the columns take turns in choosing the best row that is left; ties go to the earlier row.

    Round robin over the labels (Esuli & Sebastiani 2009, "Active learning strategies for multi-label text
    classification"). A row whose score is -inf is not chosen.

    Returns:
        Rows in the order of choice, at most ``size``, and the column that chose each.
    """
    queues = [iter(np.argsort(-column, kind="stable").tolist()) for column in scores.T]
    turns, taken, chosen = list(enumerate(queues)), set[int](), list[tuple[int, int]]()
    while turns and len(chosen) < size:
        column, queue = turns.pop(0)
        row = next((row for row in queue if row not in taken and np.isfinite(scores[row, column])), None)
        if row is not None:
            taken.add(row)
            chosen.append((row, column))
            turns.append((column, queue))
    rows, columns = zip(*chosen, strict=True) if chosen else ((), ())
    return np.array(rows, dtype=np.int64), np.array(columns, dtype=np.int64)
