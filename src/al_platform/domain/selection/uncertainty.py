"""Scalar uncertainty of a prediction, computed once at scoring so that selection only compares stored columns."""

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from al_platform.domain.errors import InputError

SCALARS = ("top1", "top2", "margin", "entropy", "threshold_distance")
CHUNK_ROWS = 8_192  # a chunk of a few dozen float32 columns stays in the second-level cache
SMALLEST = np.float32(1e-30)
RANGE_TOLERANCE = 1e-5  # a float32 softmax may end a little above 1

Columns: TypeAlias = Sequence[NDArray[np.float32]] | NDArray[np.float32]
"""A column a label, of as many rows each."""


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
    _require_matrix(probabilities, page_ids)
    cuts = _cuts(probabilities.shape[1], thresholds)
    chunks = (
        np.ascontiguousarray(probabilities[start : start + CHUNK_ROWS].T, dtype=np.float32)
        for start in range(0, len(probabilities), CHUNK_ROWS)
    )
    return _scalars(chunks, page_ids, cuts, is_multi=is_multi)


def uncertainty_of_columns(
    columns: Sequence[NDArray[np.floating]],
    page_ids: Sequence[str],
    *,
    is_multi: bool,
    thresholds: Sequence[float] | None = None,
) -> pa.Table:
    """Return what ``uncertainty_scalars`` does, from C columns of N probabilities each, which are not copied.

    Raises:
        InputError: A probability is not finite or lies outside [0, 1], or the columns differ in length.
    """
    lengths = {len(column) for column in columns}
    if lengths != {len(page_ids)}:
        raise InputError(f"Columns have {sorted(lengths)} rows, for {len(page_ids)} pages. Give each one row a page.")
    cuts = _cuts(len(columns), thresholds)
    chunks = (
        [np.asarray(column[start : start + CHUNK_ROWS], dtype=np.float32) for column in columns]
        for start in range(0, len(page_ids), CHUNK_ROWS)
    )
    return _scalars(chunks, page_ids, cuts, is_multi=is_multi)


def top_two(columns: Columns) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the largest and second largest of each row of C columns of N rows, without sorting.

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


def entropy(columns: Columns, *, is_multi: bool) -> NDArray[np.float32]:
    """Return Shannon's entropy in nats of each row of C columns of N rows; multi-label: the sum over the labels."""
    total = np.zeros(len(columns[0]), dtype=np.float32)
    for column in columns:
        _subtract_x_log_x(total, column)
        if is_multi:
            _subtract_x_log_x(total, 1 - column)
    return total


def _subtract_x_log_x(total: NDArray[np.float32], x: NDArray[np.float32]) -> None:
    logarithm = np.log(np.maximum(x, SMALLEST))  # 0 log 0 is 0
    logarithm *= x
    total -= logarithm


def _scalars(
    chunks: Iterator[Columns], page_ids: Sequence[str], cuts: NDArray[np.float32], *, is_multi: bool
) -> pa.Table:
    columns = {name: np.full(len(page_ids), np.nan, dtype=np.float32) for name in SCALARS}
    start = 0
    for given in chunks:
        chunk = _usable(given, page_ids, start)
        rows = slice(start, start + len(chunk[0]))
        columns["top1"][rows], columns["top2"][rows] = top_two(chunk)
        columns["entropy"][rows] = entropy(chunk, is_multi=is_multi)
        if is_multi:
            distances = (np.abs(column - cut) for column, cut in zip(chunk, cuts, strict=True))
            columns["threshold_distance"][rows] = reduce(np.minimum, distances)
        start = rows.stop
    if not is_multi:
        columns["margin"] = columns["top1"] - columns["top2"]
    return pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})


def _usable(columns: Columns, page_ids: Sequence[str], start: int) -> Columns:
    """Return columns in [0, 1], which is where all of them have to lie but for rounding."""
    least, greatest = (reduce(pick, map(pick.reduce, columns)) for pick in (np.minimum, np.maximum))
    if least >= 0 and greatest <= 1:
        return columns
    # NaN compares false, so it comes here too.
    matrix = np.array(columns)  # (C, n)
    is_usable = ((matrix >= -RANGE_TOLERANCE) & (matrix <= 1 + RANGE_TOLERANCE)).all(axis=0)
    if not is_usable.all():
        row = int(np.argmin(is_usable))
        raise InputError(
            f"Page {page_ids[start + row]!r} has probabilities {matrix[:, row].tolist()}; "
            f"each must be a number from 0 to 1. Check the model that wrote them (a NaN often means that training "
            f"diverged), or drop the page."
        )
    return np.clip(matrix, 0, 1)


def _require_matrix(probabilities: NDArray[np.floating], page_ids: Sequence[str]) -> None:
    expected_axes = 2
    if probabilities.ndim != expected_axes or len(probabilities) != len(page_ids):
        raise InputError(
            f"Probabilities of {len(page_ids)} pages must have shape ({len(page_ids)}, labels), "
            f"found {probabilities.shape}. Give one row a page."
        )


def _cuts(n_labels: int, thresholds: Sequence[float] | None) -> NDArray[np.float32]:
    cuts = np.full(n_labels, 0.5) if thresholds is None else np.asarray(thresholds)
    if cuts.shape != (n_labels,):
        raise InputError(f"{n_labels} labels need {n_labels} thresholds, found {len(cuts)}. Give one a label.")
    return cuts.astype(np.float32)
