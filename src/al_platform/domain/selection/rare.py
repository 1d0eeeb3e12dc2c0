"""The strategy that keeps a share of the batch for labels which the pool hardly holds."""

from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from al_platform.domain.selection.label_scores import scores_of, take_turns
from al_platform.domain.selection.query import Choice, InOrder, LabelScore, Query, StoredOrder, closest_calls

RARE_BELOW = 0.5  # of the share that a label would have if all were equal


class RareClass(InOrder):
    """Close calls, and a quota of pages that probably have a rare label.

    The quota (``selection.rare_share``) goes in turn to the labels that are rare, most probable pages first: where a
    class is rare, pages that are likely to have it teach more than close calls (Attenberg & Provost 2010, "Why label
    when you can search?"). A label is rare if its expected share of the pool is below half of what it would be if all
    were equal. Where none is, this is ``margin``.
    """

    name: ClassVar[str] = "rare_class"
    reads: ClassVar[tuple[str, ...]] = ("probabilities",)
    label_score: ClassVar[LabelScore | None] = "probability"

    def order(self, *, is_multi: bool) -> StoredOrder:
        """Return ascending margin or distance."""
        return closest_calls(is_multi=is_multi)

    def choose(self, candidates: pa.Table, query: Query) -> Choice:
        """Choose the quota, then the closest calls."""
        scores = closest_calls(is_multi=query.is_multi).scores(candidates)
        quota, labels = _quota(candidates, query)
        closest = np.argsort(-scores, kind="stable")
        closest = closest[~np.isin(closest, quota)][: query.size - len(quota)]
        rows = np.concatenate([quota, closest])
        accounts = np.concatenate([labels, np.full(len(closest), -1)])
        best_first = np.argsort(-scores[rows], kind="stable")
        return Choice(rows[best_first], scores[rows][best_first], accounts[best_first])


def rare_labels(shares: tuple[float, ...]) -> list[int]:
    """Return the labels whose share is below half of what it would be if all were equal, rarest first."""
    equal = sum(shares) / max(1, len(shares))
    return sorted((label for label, share in enumerate(shares) if share < RARE_BELOW * equal), key=shares.__getitem__)


def _quota(candidates: pa.Table, query: Query) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of the quota, and the label on whose account each is there."""
    rare = np.array(rare_labels(query.label_shares or ()), dtype=np.int64)
    probable = scores_of(candidates, "probability", query)
    if not len(rare) or not probable.shape[1]:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    rows, columns = take_turns(probable[:, rare], round(query.size * query.rare_share))
    return rows, rare[columns]
