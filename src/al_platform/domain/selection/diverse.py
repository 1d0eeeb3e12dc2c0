"""Strategies that choose pages unlike one another."""

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from al_platform.domain.errors import InputError
from al_platform.domain.selection.clusters import (
    compressed,
    farthest_first,
    gradient_seeds,
    linked_clusters,
    typicality,
    weighted_clusters,
)
from al_platform.domain.selection.diversity import (
    is_first_of_group,
    list_matrix,
    representatives,
    unit_rows,
)
from al_platform.domain.selection.label_scores import DEFAULT_THRESHOLD
from al_platform.domain.selection.query import Choice, InOrder, Query, StoredOrder, closest_calls

MIN_WEIGHT = 1e-3  # of a page whose prediction is certain, or missing
PAGES_PER_CLUSTER = 10
MAX_KINDS = 500
MIN_KIND = 5
NEIGHBOURS = 20

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]


class Diversity(InOrder):
    """Typical pages of as many kinds as there are pages to choose, for a start without a model.

    The nearest page to each centre of a k-means clustering of the embeddings (Xu et al. 2003; Zhdanov 2019), over a
    random shortlist. The score is the share of the shortlist that the page's cluster holds. Pages without an embedding
    come last.
    """

    name: ClassVar[str] = "diversity"
    reads: ClassVar[tuple[str, ...]] = ("embedding",)

    def choose(self, candidates: pa.Table, query: Query) -> Choice:
        """Choose one page a cluster.

        Raises:
            InputError: No candidate has an embedding.
        """

        def choose(known: pa.Table, size: int) -> Choice:
            page_ids = known["page_id"].to_pylist()
            return Choice(*representatives(list_matrix(known["embedding"], "Embeddings"), page_ids, size, query.seed))

        return _among_embedded(candidates, query, choose, self.name)


class WeightedKMeans(InOrder):
    """Close calls of many kinds (Zhdanov 2019, "Diverse mini-batch active learning").

    The margin shortlist (``selection.overfetch`` times the pages to choose) is clustered with each page's uncertainty
    as its weight, and the page nearest to each centre is chosen. Where clusters stay empty, the closest calls are
    added.
    """

    name: ClassVar[str] = "weighted_kmeans"
    reads: ClassVar[tuple[str, ...]] = ("embedding",)

    def order(self, *, is_multi: bool) -> StoredOrder:
        """Return ascending margin or distance."""
        return closest_calls(is_multi=is_multi)

    def choose(self, candidates: pa.Table, query: Query) -> Choice:
        """Choose one page a cluster.

        Raises:
            InputError: No candidate has an embedding.
        """

        def choose(known: pa.Table, size: int) -> Choice:
            scores = closest_calls(is_multi=query.is_multi).scores(known)
            return _best_first(one_a_cluster(_units(known), scores, size, query.seed), scores)

        return _among_embedded(candidates, query, choose, self.name)


class ClusterMargin(InOrder):
    """Close calls from small clusters first (Citovsky et al. 2021, "Batch active learning at scale", algorithm 1).

    The margin shortlist is clustered once by average linkage, ten pages a cluster; the clusters, smallest first, take
    turns in giving a page. The paper draws that page at random; here it is the closest call, so that a choice can be
    repeated without a seed.
    """

    name: ClassVar[str] = "cluster_margin"
    reads: ClassVar[tuple[str, ...]] = ("embedding",)

    def order(self, *, is_multi: bool) -> StoredOrder:
        """Return ascending margin or distance."""
        return closest_calls(is_multi=is_multi)

    def choose(self, candidates: pa.Table, query: Query) -> Choice:
        """Choose by turns of the clusters.

        Raises:
            InputError: No candidate has an embedding.
        """

        def choose(known: pa.Table, size: int) -> Choice:
            scores = closest_calls(is_multi=query.is_multi).scores(known)
            cluster = linked_clusters(_units(known), max(1, known.num_rows // PAGES_PER_CLUSTER))
            return _best_first(by_turns(cluster, size), scores)

        return _among_embedded(candidates, query, choose, self.name)


class Badge(InOrder):
    """Pages whose gradients are large and unlike.

    Ash et al. 2020, "Deep batch active learning by diverse, uncertain gradient lower bounds". The gradient of a linear
    head is the outer product of the error of the model's own decision and the embedding; k-means++ draws over it, on a
    margin shortlist, without ever making the product.
    """

    name: ClassVar[str] = "badge"
    reads: ClassVar[tuple[str, ...]] = ("embedding", "probabilities")

    def order(self, *, is_multi: bool) -> StoredOrder:
        """Return ascending margin or distance."""
        return closest_calls(is_multi=is_multi)

    def choose(self, candidates: pa.Table, query: Query) -> Choice:
        """Draw by k-means++.

        Raises:
            InputError: No candidate has an embedding, or one lacks its probabilities.
        """

        def choose(known: pa.Table, size: int) -> Choice:
            scores = closest_calls(is_multi=query.is_multi).scores(known)
            errors = decision_errors(_probabilities(known, self.name), query)
            return _best_first(gradient_seeds(errors, _units(known), size, query.seed), scores)

        return _among_embedded(candidates, query, choose, self.name)


class KCenter(InOrder):
    """Pages that leave no page far from a labelled one: greedy k-center.

    Sener & Savarese 2018, "Active learning for convolutional neural networks: a core-set approach", algorithm 1. Over a
    random shortlist; pages of the month that are labelled or in the batch already are centres from the start. The score
    is the distance to the nearest centre when the page was chosen.
    """

    name: ClassVar[str] = "k_center"
    reads: ClassVar[tuple[str, ...]] = ("embedding",)
    compares_taken: ClassVar[bool] = True

    def choose(self, candidates: pa.Table, query: Query) -> Choice:
        """Choose the farthest page, again and again.

        Raises:
            InputError: No candidate has an embedding.
        """

        def choose(known: pa.Table, size: int) -> Choice:
            rows, distances = farthest_first(_units(known), _taken_units(query, known), size)
            # Rounding may let a later distance be a little larger, and a first page without centres has none.
            return Choice(rows, np.minimum.accumulate(np.nan_to_num(distances, nan=2.0)).astype(np.float64))

        return _among_embedded(candidates, query, choose, self.name)


class TypiClust(InOrder):
    """The most typical page of each kind that has no label yet, for a start with few labels.

    Hacohen, Dekel & Weinshall 2022, "Active learning on a budget: opposite strategies suit high and low budgets",
    TPC_RP. Candidates and labelled pages are clustered into as many kinds as there will be labels, at most 500. Kinds
    with the fewest labels come first, of these the largest; kinds of fewer than five pages come last. Typical is a page
    that is near to its 20 nearest neighbours of the same kind: 1 / their mean distance, which is the score.
    """

    name: ClassVar[str] = "typiclust"
    reads: ClassVar[tuple[str, ...]] = ("embedding",)
    compares_taken: ClassVar[bool] = True

    def choose(self, candidates: pa.Table, query: Query) -> Choice:
        """Choose the most typical pages.

        Raises:
            InputError: No candidate has an embedding.
        """

        def choose(known: pa.Table, size: int) -> Choice:
            both = np.concatenate([_units(known), _taken_units(query, known)])
            n_kinds = min(len(both) - known.num_rows + size, MAX_KINDS, len(both))
            kind, _ = weighted_clusters(both, np.ones(len(both)), n_kinds, query.seed)
            typical = typicality(both, kind, NEIGHBOURS)
            return _best_first(typical_rows(kind, typical, known.num_rows, size), typical.astype(np.float64))

        return _among_embedded(candidates, query, choose, self.name)


def one_a_cluster(rows: Floats, scores: NDArray[np.float64], size: int, seed: int) -> Rows:
    """Return the row nearest to each centre of a k-means weighted by score; best rows are added up to ``size``.

    Args:
        rows: (N, E), best first.
        scores: (N,), NaN where missing.
        size: 1 to N.
        seed: Of the first centres.
    """
    if size >= len(rows):
        return np.arange(len(rows))
    weights = np.maximum(np.nan_to_num(scores, nan=0.0), 0) + MIN_WEIGHT
    cluster, distance = weighted_clusters(compressed(rows), weights, size, seed)
    nearest_first = np.lexsort((distance, cluster))
    chosen = nearest_first[is_first_of_group(cluster[nearest_first])]
    added = np.setdiff1d(np.arange(len(rows)), chosen)[: size - len(chosen)]
    return np.concatenate([chosen, added])


def by_turns(cluster: Rows, size: int) -> Rows:
    """Return ``size`` rows: clusters, the smallest first, take turns in giving their first row that is left."""
    by_cluster = np.argsort(cluster, kind="stable")
    _, starts, counts = np.unique(cluster[by_cluster], return_index=True, return_counts=True)
    turn = np.empty(len(cluster), dtype=np.int64)
    turn[by_cluster] = np.arange(len(cluster)) - np.repeat(starts, counts)
    cluster_size = np.empty(len(cluster), dtype=np.int64)
    cluster_size[by_cluster] = np.repeat(counts, counts)
    return np.lexsort((cluster, cluster_size, turn))[:size]


def decision_errors(probabilities: Floats, query: Query) -> Floats:
    """Return the gradient of the loss by the logits, were the model's own decision the truth: (N, C)."""
    if query.is_multi:
        cuts = np.array(query.thresholds or [DEFAULT_THRESHOLD] * probabilities.shape[1], dtype=np.float32)
        given = probabilities >= cuts
    else:
        given = np.arange(probabilities.shape[1]) == probabilities.argmax(axis=1)[:, None]
    errors: Floats = probabilities - given.astype(np.float32)
    return errors


def typical_rows(kind: Rows, typical: Floats, n_candidates: int, size: int) -> Rows:
    """Return ``size`` of the first ``n_candidates`` rows: the most typical of the kinds with the fewest labels.

    Args:
        kind: (N,), of candidates, then of labelled pages.
        typical: (N,).
        n_candidates: The rest is labelled.
        size: At most ``n_candidates``.
    """
    sizes = np.bincount(kind)
    labels = np.bincount(kind[n_candidates:], minlength=len(sizes))
    by_kind = np.lexsort((-typical[:n_candidates], kind[:n_candidates]))
    # The n-th page chosen of a kind finds it with n more labels than it has now.
    ordered = kind[by_kind]
    nth = np.arange(n_candidates) - np.searchsorted(ordered, ordered)
    return by_kind[np.lexsort((ordered, -sizes[ordered], labels[ordered] + nth, sizes[ordered] < MIN_KIND))[:size]]


def _among_embedded(
    candidates: pa.Table, query: Query, choose: Callable[[pa.Table, int], Choice], strategy: str
) -> Choice:
    """Let ``choose`` choose among candidates with an embedding; the others come last, in their order."""
    if query.size == 0:
        return Choice(np.empty(0, dtype=np.int64), np.empty(0))
    has_embedding = pc.is_valid(candidates["embedding"]).to_numpy()
    if not has_embedding.any():
        raise InputError(
            f"Strategy {strategy!r} needs embeddings, but none of {candidates.num_rows} candidates has one. "
            f"Score with an encoder, or set the strategy to random."
        )
    known, unknown = np.flatnonzero(has_embedding), np.flatnonzero(~has_embedding)
    # One thread: scikit-learn adds up the threads' partial sums in the order in which they finish.
    with threadpool_limits(limits=1):
        choice = choose(candidates.take(pa.array(known)), min(query.size, len(known)))
    last = unknown[: query.size - len(choice.rows)]
    return Choice(
        np.concatenate([known[choice.rows], last]), np.concatenate([choice.scores, np.full(len(last), np.nan)])
    )


def _best_first(rows: Rows, scores: NDArray[np.float64]) -> Choice:
    """Return the rows as a choice, best score first, missing scores last."""
    ordered = rows[np.lexsort((rows, -scores[rows]))]
    return Choice(ordered, scores[ordered])


def _units(candidates: pa.Table) -> Floats:
    matrix = list_matrix(candidates["embedding"], "Embeddings")
    return unit_rows(matrix, candidates["page_id"].to_pylist())


def _taken_units(query: Query, known: pa.Table) -> Floats:
    n_dimensions = list_matrix(known["embedding"][:1], "Embeddings").shape[1]
    if query.taken is None or not len(query.taken):
        return np.empty((0, n_dimensions), dtype=np.float32)
    return unit_rows(query.taken, [f"in the batch or labelled, row {row}" for row in range(len(query.taken))])


def _probabilities(candidates: pa.Table, strategy: str) -> Floats:
    column = candidates["probabilities"]
    if column.null_count:
        page_id = candidates["page_id"].filter(column.is_null())[0].as_py()
        raise InputError(
            f"Strategy {strategy!r} needs probabilities, but page {page_id!r} has none. Score the cycle anew, or set "
            f"selection.strategy to weighted_kmeans."
        )
    return list_matrix(column)
