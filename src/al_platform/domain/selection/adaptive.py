"""The default strategy, which goes by the labels that it expects in the pool."""

from typing import ClassVar

import numpy as np
import pyarrow as pa

from al_platform.domain.selection.diverse import WeightedKMeans
from al_platform.domain.selection.query import Choice, InOrder, LabelScore, Query, StoredOrder, closest_calls
from al_platform.domain.selection.uncertain import LabelMargin, Margin

BALANCED_FROM = 0.8  # of 1, where all labels are equal
FEW_LABELS = 4
DIVERSE_FACTOR = 10  # pages clustered for each page to choose


class Adaptive(InOrder):
    """Close calls: of many kinds where labels are balanced, of each label in turn where many are not.

    Where the labels expected in the pool are balanced, weighted k-means over the ten times as many closest calls gains
    on plain margin (Zhdanov 2019); where some of many are rare, turns of the labels do (Esuli & Sebastiani 2009).
    Where few labels are unbalanced neither does, and this is ``margin``: a close call is between two labels, so that
    with two or three of them it mostly concerns the rare one already. That does not hold where a page may have any
    number of labels, so there the labels take turns too. docs/benchmarks.md has the table. Where pages have no
    embeddings, balanced labels take turns as well.
    """

    name: ClassVar[str] = "adaptive"
    reads: ClassVar[tuple[str, ...]] = ("probabilities", "embedding")
    label_score: ClassVar[LabelScore | None] = "closeness"

    def order(self, *, is_multi: bool) -> StoredOrder:
        """Return ascending margin or distance."""
        return closest_calls(is_multi=is_multi)

    def choose(self, candidates: pa.Table, query: Query) -> Choice:
        """Choose by what is expected of the pool."""
        shares = query.label_shares or ()
        has_kinds = candidates["embedding"].null_count < candidates.num_rows
        if has_kinds and balance(shares) >= BALANCED_FROM:
            return WeightedKMeans().choose(candidates[: DIVERSE_FACTOR * query.size], query)
        if query.is_multi or len(shares) > FEW_LABELS:
            return LabelMargin().choose(candidates, query)
        return Margin().choose(candidates, query)


def balance(shares: tuple[float, ...]) -> float:
    """Return the effective number of labels as a share of all: 1 where all are equal, 1 / C where one has all.

    Hill 1973, "Diversity and evenness": the exponential of the entropy. 1 where nothing is known.
    """
    parts = np.array([share for share in shares if share > 0])
    if not len(parts):
        return 1.0
    parts = parts / parts.sum()
    return float(np.exp(-(parts * np.log(parts)).sum()) / len(shares))
