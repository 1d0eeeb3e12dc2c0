"""Query strategies: which pages a model learns most from.

A new strategy is a class with the members of ``QueryStrategy`` and a line in ``STRATEGIES``; the contract test then
runs over it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from al_platform.domain.errors import ConfigError, InputError, known_names
from al_platform.domain.selection.diversity import embedding_matrix, representatives


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


class Choice(NamedTuple):
    """Row numbers of the chosen candidates, most informative first, and their scores (NaN: none)."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]


class QueryStrategy(Protocol):
    """How the most informative pages are found, first by an engine, then in memory."""

    name: ClassVar[str]
    needs_embedding: ClassVar[bool]

    def order(self, *, is_multi: bool) -> StoredOrder | None:
        """Return the order of the shortlist; None: a random one, for which no prediction is needed."""
        ...

    def choose(self, candidates: pa.Table, size: int, *, is_multi: bool, seed: int) -> Choice:
        """Choose exactly ``size`` of the candidates, which come in the order of the shortlist."""
        ...


class Margin:
    """The closest calls first.

    Single-label: the smallest gap between the two most likely labels (Scheffer, Decomain & Wrobel 2001, "Active hidden
    Markov models for information extraction"). Multi-label: the smallest distance of any label to its decision
    threshold (Brinker 2006, "On active learning in multi-label classification").
    """

    name: ClassVar[str] = "margin"
    needs_embedding: ClassVar[bool] = False

    def order(self, *, is_multi: bool) -> StoredOrder:
        """Return ascending margin or distance."""
        return StoredOrder("threshold_distance" if is_multi else "margin")

    def choose(self, candidates: pa.Table, size: int, *, is_multi: bool, seed: int) -> Choice:
        """Choose the first rows."""
        return _first(candidates, size, self.order(is_multi=is_multi))


class LeastConfidence:
    """The least likely best guess first (Lewis & Gale 1994, "A sequential algorithm for training text classifiers").

    Multi-label: a decision is least sure where a label is closest to its threshold, which is what ``margin`` asks too.
    """

    name: ClassVar[str] = "least_confidence"
    needs_embedding: ClassVar[bool] = False

    def order(self, *, is_multi: bool) -> StoredOrder:
        """Return ascending top probability or distance."""
        return StoredOrder("threshold_distance" if is_multi else "top1")

    def choose(self, candidates: pa.Table, size: int, *, is_multi: bool, seed: int) -> Choice:
        """Choose the first rows."""
        return _first(candidates, size, self.order(is_multi=is_multi))


class Entropy:
    """The flattest distribution first (Shannon 1948; as a query strategy: Settles 2009, section 3.1).

    Multi-label: the sum of the labels' binary entropies.
    """

    name: ClassVar[str] = "entropy"
    needs_embedding: ClassVar[bool] = False

    def order(self, *, is_multi: bool) -> StoredOrder:
        """Return descending entropy."""
        return StoredOrder("entropy", is_descending=True)

    def choose(self, candidates: pa.Table, size: int, *, is_multi: bool, seed: int) -> Choice:
        """Choose the first rows."""
        return _first(candidates, size, self.order(is_multi=is_multi))


class Random:
    """Any page as likely as any other: the baseline of every comparison (Settles 2009, "Active learning survey").

    No page is more informative than another, so there are no scores.
    """

    name: ClassVar[str] = "random"
    needs_embedding: ClassVar[bool] = False

    def order(self, *, is_multi: bool) -> None:
        """Return None: a random order."""
        return

    def choose(self, candidates: pa.Table, size: int, *, is_multi: bool, seed: int) -> Choice:
        """Choose the first rows."""
        return Choice(np.arange(size), np.full(size, np.nan))


class Diversity:
    """Typical pages of as many kinds as there are pages to choose, for a start without a model.

    The nearest page to each centre of a k-means clustering of the embeddings (Xu et al. 2003; Zhdanov 2019), over a
    random shortlist. The score is the share of the shortlist that the page's cluster holds. Pages without an embedding
    come last.
    """

    name: ClassVar[str] = "diversity"
    needs_embedding: ClassVar[bool] = True

    def order(self, *, is_multi: bool) -> None:
        """Return None: a random order."""
        return

    def choose(self, candidates: pa.Table, size: int, *, is_multi: bool, seed: int) -> Choice:
        """Choose one page a cluster.

        Raises:
            InputError: No candidate has an embedding.
        """
        if size == 0:
            return Choice(np.empty(0, dtype=np.int64), np.empty(0))
        has_embedding = pc.is_valid(candidates["embedding"]).to_numpy()
        if not has_embedding.any():
            raise InputError(
                f"Strategy 'diversity' needs embeddings, but none of {candidates.num_rows} candidates has one. "
                f"Score with an encoder, or set the strategy to random."
            )
        known, unknown = np.flatnonzero(has_embedding), np.flatnonzero(~has_embedding)
        n_known = min(size, len(known))
        page_ids = candidates["page_id"].take(known).to_pylist()
        matrix = embedding_matrix(candidates["embedding"].take(known))
        rows, scores = representatives(matrix, page_ids, n_known, seed)
        last = unknown[: size - n_known]
        return Choice(np.concatenate([known[rows], last]), np.concatenate([scores, np.full(len(last), np.nan)]))


STRATEGIES: Mapping[str, QueryStrategy] = {
    strategy.name: strategy for strategy in (Margin(), LeastConfidence(), Entropy(), Random(), Diversity())
}


def strategy_named(name: str) -> QueryStrategy:
    """Return the query strategy of that name.

    Raises:
        ConfigError: There is none.
    """
    if name not in STRATEGIES:
        raise ConfigError(f"There is no query strategy {name!r}. {known_names(name, STRATEGIES)}")
    return STRATEGIES[name]


def _first(candidates: pa.Table, size: int, order: StoredOrder) -> Choice:
    values = candidates[order.column][:size].cast(pa.float64()).to_numpy(zero_copy_only=False)
    return Choice(np.arange(size), order.score(values))
