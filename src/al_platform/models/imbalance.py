"""Class weights: how much the positive rows of each class count."""

import numpy as np
from numpy.typing import NDArray


def balanced_weights(
    targets: NDArray[np.float32], row_weights: NDArray[np.float32], *, is_multi: bool, limit: float
) -> NDArray[np.float32]:
    """Return the weight of each class's positive rows, shape (C,), between 1 / ``limit`` and ``limit``.

    Single-label: rows / (classes present x rows of the class). Multi-label: negative / positive rows. A class without a
    row has 1.

    Args:
        targets: Indicator matrix of shape (N, C).
        row_weights: How much each row counts, shape (N,).
        is_multi: Whether each column is a decision of its own.
        limit: Above it a handful of rows would steer each step.
    """
    positive = row_weights @ targets  # (C,)
    weights = np.ones_like(positive)
    total, present = row_weights.sum(), positive > 0
    even = total - positive if is_multi else np.full_like(positive, total / present.sum())
    np.divide(even, positive, out=weights, where=present)
    return weights.clip(1 / limit, limit)
