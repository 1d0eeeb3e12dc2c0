"""What a model is trained from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from al_platform.domain.errors import TrainingDataError
from al_platform.domain.taxonomy import Taxonomy


@dataclass(frozen=True)
class LabelledTexts:
    """Texts and what we concluded about each.

    Attributes:
        texts: N texts.
        values: The labels of each.
        weights: How much each row counts in training, shape (N,); None counts all the same. Not read for validation.
        page_ids: Names the rows in errors; None where they have no name.
    """

    texts: Sequence[str]
    values: Sequence[Sequence[str]]
    weights: NDArray[np.floating[Any]] | None = None
    page_ids: Sequence[str] | None = None

    def digest(self) -> str:
        """Return the SHA-256 of texts, labels and weights."""
        digest = sha256()
        for text, values in zip(self.texts, self.values, strict=True):
            digest.update(json.dumps([text, list(values)]).encode())
        if self.weights is not None:
            digest.update(np.asarray(self.weights, dtype=np.float64).tobytes())
        return digest.hexdigest()

    def row_weights(self) -> NDArray[np.float32]:
        """Return the training weights with mean 1, shape (N,).

        Raises:
            TrainingDataError: There is not one finite weight of at least 0 a row, or all are 0.
        """
        n_rows = len(self.values)
        weights = np.ones(n_rows) if self.weights is None else np.asarray(self.weights, dtype=np.float64)
        if weights.shape != (n_rows,) or not np.isfinite(weights).all() or weights.min() < 0 or not weights.sum():
            raise TrainingDataError(
                f"Each of the {n_rows} training rows needs a finite weight of at least 0, not all of them 0; "
                f"found weights of shape {weights.shape}."
            )
        return np.asarray(weights / weights.mean(), dtype=np.float32)


def require_learnable(train: LabelledTexts, truth: NDArray[np.bool_], taxonomy: Taxonomy) -> None:
    """Check that there is something to tell apart.

    Raises:
        TrainingDataError: No rows, one class only, or no label with both answers.
    """
    n_rows = len(truth)
    if not n_rows:
        raise TrainingDataError("Asked to train but found no training rows. Label some pages first.")
    if len(train.texts) != n_rows:
        raise ValueError(f"Each text needs its labels: found {len(train.texts)} texts and {n_rows} rows of labels.")
    positive = truth.sum(axis=0)
    if taxonomy.is_multi and not ((positive > 0) & (positive < n_rows)).any():
        raise TrainingDataError(
            f"Asked to train on {n_rows} rows but no label has both rows with it and rows without it "
            f"({_counted(taxonomy, positive) or 'no row has any label'}). Label pages that differ."
        )
    if not taxonomy.is_multi and (positive > 0).sum() == 1:
        raise TrainingDataError(
            f"Asked to train but found one class only: {_counted(taxonomy, positive)}. "
            f"Label pages of another class: {', '.join(np.array(taxonomy.labels)[positive == 0])}."
        )


def missing_labels(truth: NDArray[np.bool_], taxonomy: Taxonomy) -> tuple[str, ...]:
    """Return the labels without a training row."""
    return tuple(np.array(taxonomy.labels)[~truth.any(axis=0)].tolist())


def _counted(taxonomy: Taxonomy, positive: NDArray[np.int64]) -> str:
    found = zip(taxonomy.labels, positive.tolist(), strict=True)
    return ", ".join(f"{label!r} has {count} rows" for label, count in found if count)
