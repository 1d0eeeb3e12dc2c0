"""Scalar uncertainty of a prediction, computed once at scoring so that selection only compares stored columns."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import scipy  # its submodules are loaded when they are used
from numpy.typing import NDArray

from al_platform.domain.errors import InputError

SCALARS = ("top1", "top2", "margin", "entropy", "threshold_distance")
CHUNK_ROWS = 32_768  # a chunk of a few dozen float32 columns stays in the second-level cache
RANGE_TOLERANCE = 1e-5  # a float32 softmax may end a little above 1


def uncertainty_scalars(
    probabilities: NDArray[np.floating],
    page_ids: Sequence[str],
    *,
    is_multi: bool,
    thresholds: Sequence[float] | None = None,
) -> pa.Table:
    """Return the scalar columns of ``schemas.PREDICTIONS`` for N predictions.

    Args:
        probabilities: Shape (N, C), one column a label, each in [0, 1].
        page_ids: The N pages, to name a row that cannot be used.
        is_multi: Whether a page may have any number of labels. Then ``entropy`` is the sum of the binary entropies,
            ``threshold_distance`` the distance of the closest call to its threshold, and ``margin`` is null.
            Otherwise ``margin`` is ``top1 - top2`` and ``threshold_distance`` is null.
        thresholds: Multi-label only: C decision thresholds; 0.5 each if not given.

    Returns:
        N rows of ``top1``, ``top2``, ``margin``, ``entropy`` (nats) and ``threshold_distance``, float32.
        ``top2`` and ``margin`` are null if there is only one label.

    Raises:
        InputError: A probability is not finite or lies outside [0, 1], or the shapes do not fit.
    """
    probabilities = np.asarray(probabilities)
    cuts = _threshold_column(probabilities, page_ids, thresholds)
    columns = {name: np.full(len(page_ids), np.nan, dtype=np.float32) for name in SCALARS}
    for start, chunk in _label_chunks(probabilities, page_ids):  # chunk (C, n)
        rows = slice(start, start + chunk.shape[1])
        columns["top1"][rows], columns["top2"][rows] = top_two(chunk)
        columns["entropy"][rows] = entropy(chunk, is_multi=is_multi)
        if is_multi:
            columns["threshold_distance"][rows] = np.abs(chunk - cuts).min(axis=0)
    if not is_multi:
        columns["margin"] = columns["top1"] - columns["top2"]
    return pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})


def top_two(columns: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the largest and second largest of each column of a (C, N) array, without sorting.

    The second is NaN if C is 1.
    """
    first = columns[0].copy()
    second = np.full_like(first, -np.inf if len(columns) > 1 else np.nan)
    lower = np.empty_like(first)
    for column in columns[1:]:
        np.minimum(first, column, out=lower)
        np.maximum(second, lower, out=second)
        np.maximum(first, column, out=first)
    return first, second


def entropy(columns: NDArray[np.float32], *, is_multi: bool) -> NDArray[np.float32]:
    """Return Shannon's entropy in nats of each column of a (C, N) array; multi-label: the sum over the labels."""
    total = np.zeros(columns.shape[1], dtype=np.float32)
    for column in columns:
        total += scipy.special.entr(column)
        if is_multi:
            total += scipy.special.entr(1 - column)
    return total


def _label_chunks(
    probabilities: NDArray[np.floating], page_ids: Sequence[str]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    for start in range(0, len(probabilities), CHUNK_ROWS):
        rows = probabilities[start : start + CHUNK_ROWS]
        chunk = np.ascontiguousarray(rows.T, dtype=np.float32)
        # NaN compares false, so it is caught too.
        is_usable = ((chunk >= -RANGE_TOLERANCE) & (chunk <= 1 + RANGE_TOLERANCE)).all(axis=0)
        if not is_usable.all():
            row = int(np.argmin(is_usable))
            raise InputError(
                f"Page {page_ids[start + row]!r} has probabilities {rows[row].tolist()}; "
                f"each must be a number from 0 to 1. Check the model that wrote them (a NaN often means that training "
                f"diverged), or drop the page."
            )
        yield start, np.clip(chunk, 0, 1)


def _threshold_column(
    probabilities: NDArray[np.floating], page_ids: Sequence[str], thresholds: Sequence[float] | None
) -> NDArray[np.float32]:
    expected_axes = 2
    if probabilities.ndim != expected_axes or len(probabilities) != len(page_ids):
        raise InputError(
            f"Probabilities of {len(page_ids)} pages must have shape ({len(page_ids)}, labels), "
            f"found {probabilities.shape}. Give one row a page."
        )
    n_labels = probabilities.shape[1]
    cuts = np.full(n_labels, 0.5) if thresholds is None else np.asarray(thresholds)
    if cuts.shape != (n_labels,):
        raise InputError(f"{n_labels} labels need {n_labels} thresholds, found {len(cuts)}. Give one a label.")
    return cuts.astype(np.float32)[:, None]
