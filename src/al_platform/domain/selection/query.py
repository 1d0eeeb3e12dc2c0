"""What a query strategy is asked, what it answers, and what it is."""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

LabelScore = Literal["probability", "closeness"]


@dataclass(frozen=True)
class StoredOrder:
    """Most informative first, by one stored column; missing values last, ties by page_id.

    Attributes:
        column: A column of ``schemas.PREDICTIONS``.
        is_descending: Whether its large values are the informative ones. Columns that are not, lie in [0, 1].
    """

    column: str
    is_descending: bool = False

    def score(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return stored values as scores: higher = more informative."""
        return values if self.is_descending else 1 - values

    def scores(self, candidates: pa.Table) -> NDArray[np.float64]:
        """Return the candidates' scores, NaN where the value is missing."""
        return self.score(candidates[self.column].cast(pa.float64()).to_numpy())


@dataclass(frozen=True, eq=False)
class Query:
    """How many pages are wanted, and what is known beside the candidates.

    Attributes:
        size: Pages to choose.
        is_multi: Whether a page may have any number of labels.
        seed: Of whatever is drawn.
        thresholds: Multi-label: the probability from which each label is given; 0.5 each where none are known.
        label_shares: Share of the whole pool that each label is expected to have, (C,); only for strategies with a
            ``label_score``.
        taken: Embeddings of pages that are labelled or in the batch already, (L, E); only for strategies that
            ``compares_taken``.
        rare_share: Share of the pages to choose that goes to rare labels, for strategies that hold a quota.
    """

    size: int
    is_multi: bool = False
    seed: int = 0
    thresholds: tuple[float, ...] | None = None
    label_shares: tuple[float, ...] | None = None
    taken: NDArray[np.float32] | None = None
    rare_share: float = 0.2


class Choice(NamedTuple):
    """Row numbers of the chosen candidates, most informative first, their scores (NaN: none) and labels.

    Attributes:
        rows: (size,).
        scores: (size,), falling; missing ones last.
        labels: Number of the label on whose account a row was chosen, -1 where on no single one's; None: all -1.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64] | None = None


class QueryStrategy(Protocol):
    """How the most informative pages are found, first by an engine, then in memory.

    Attributes:
        name: Key in ``STRATEGIES``.
        reads: Columns of the predictions that are read for the shortlist only.
        label_score: How the best candidates of each label join the shortlist; None: they do not.
        compares_taken: Whether ``Query.taken`` is used.
    """

    name: ClassVar[str]
    reads: ClassVar[tuple[str, ...]]
    label_score: ClassVar[LabelScore | None]
    compares_taken: ClassVar[bool]

    def order(self, *, is_multi: bool) -> StoredOrder | None:
        """Return the order of the shortlist; None: a random one, for which no prediction is needed."""
        ...

    def choose(self, candidates: pa.Table, query: Query) -> Choice:
        """Choose exactly ``query.size`` of the candidates, which come in the order of the shortlist."""
        ...


class InOrder:
    """Base of strategies: the shortlist's first rows, and nothing else is read."""

    reads: ClassVar[tuple[str, ...]] = ()
    label_score: ClassVar[LabelScore | None] = None
    compares_taken: ClassVar[bool] = False

    def order(self, *, is_multi: bool) -> StoredOrder | None:
        """Return None: a random order, in which no page has a score."""
        return None

    def choose(self, candidates: pa.Table, query: Query) -> Choice:
        """Choose the first rows."""
        order = self.order(is_multi=query.is_multi)
        head = candidates[: query.size]
        return Choice(np.arange(query.size), order.scores(head) if order else np.full(query.size, np.nan))


def closest_calls(*, is_multi: bool) -> StoredOrder:
    """Return the order by margin, or multi-label by the distance of the closest label to its threshold."""
    return StoredOrder("threshold_distance" if is_multi else "margin")
