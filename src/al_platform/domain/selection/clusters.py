"""Clusters and distances of embeddings, for strategies that compare pages with one another.

Each function takes the rows in an order that is fixed by the shortlist, and ``diverse`` runs it on one thread, so that
neither the order of the stored rows nor the machine's load changes a choice. None allocates rows x labels x dimensions.
"""

import warnings

import numpy as np
from numpy.typing import NDArray

MAX_ITERATIONS = 10
MAX_DIMENSIONS = 64
MAX_LINKED = 8_000  # hierarchical clustering keeps a distance a pair: 250 MB
BLOCK_ROWS = 2_048

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


def compressed(rows: Floats) -> Floats:
    """Return rows of at most ``MAX_DIMENSIONS`` that keep most of the distances: their principal components."""
    if rows.shape[1] <= MAX_DIMENSIONS:
        return rows
    centred = rows - rows.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return np.ascontiguousarray(centred @ vectors[:, -MAX_DIMENSIONS:])


def weighted_clusters(rows: Floats, weights: NDArray[np.float64], size: int, seed: int) -> tuple[Rows, Floats]:
    """Return the k-means cluster of each row and its squared distance to the centre.

    Args:
        rows: (N, E).
        weights: (N,), positive: how much each row draws its centre.
        size: Number of clusters, 1 to N; some may stay empty.
        seed: Of the first centres, rows drawn by weight.
    """
    # scikit-learn takes a second to import, and most months cluster nothing.
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than clusters
        kmeans = KMeans(size, init="random", n_init=1, max_iter=MAX_ITERATIONS, random_state=seed)
        kmeans.fit(rows, sample_weight=weights)
    cluster = kmeans.labels_.astype(np.int64)
    return cluster, np.square(rows - kmeans.cluster_centers_[cluster]).sum(axis=1)


def linked_clusters(rows: Floats, size: int) -> Rows:
    """Return the cluster of each row, of at most ``size``, by average linkage.

    Beyond ``MAX_LINKED`` rows the later ones join the cluster of the nearest of the first.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(rows) <= 1:
        return np.zeros(len(rows), dtype=np.int64)
    found = fcluster(linkage(rows[:MAX_LINKED], method="average"), size, criterion="maxclust")
    later = [
        found[squared_distances(rows[start : start + BLOCK_ROWS], rows[:MAX_LINKED]).argmin(axis=1)]
        for start in range(MAX_LINKED, len(rows), BLOCK_ROWS)
    ]
    return np.concatenate([found, *later]).astype(np.int64)


def squared_distances(rows: Floats, others: Floats) -> Floats:
    """Return the squared Euclidean distance of each row to each other, (N, M)."""
    squares = np.square(rows).sum(axis=1)[:, None] + np.square(others).sum(axis=1)
    return np.asarray(np.maximum(squares - 2 * (rows @ others.T), 0), dtype=np.float32)


def farthest_first(rows: Floats, centres: Floats, size: int) -> tuple[Rows, Floats]:
    """Choose rows one by one, each the farthest from what is chosen and from the centres (Gonzalez 1985).

    Without centres the first is the row nearest to the mean.

    Returns:
        ``size`` row numbers, and the distance of each when it was chosen, NaN for a first one without centres.
    """
    chosen, distances = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.float32)
    nearest, squares = _to_nearest(rows, centres), np.square(rows).sum(axis=1)
    for step in range(size):
        is_first = not len(centres) and step == 0
        row = int(squared_distances(rows, rows.mean(axis=0)[None]).argmin()) if is_first else int(nearest.argmax())
        chosen[step], distances[step] = row, np.nan if is_first else np.sqrt(max(nearest[row], 0))
        nearest = np.minimum(nearest, np.maximum(squares + squares[row] - 2 * (rows @ rows[row]), 0))
        nearest[row] = -1  # a copy of it has 0, and is still another page
    return chosen, distances


def _to_nearest(rows: Floats, centres: Floats) -> Floats:
    nearest = np.full(len(rows), np.inf, dtype=np.float32)
    for start in range(0, len(centres), BLOCK_ROWS):
        nearest = np.minimum(nearest, squared_distances(rows, centres[start : start + BLOCK_ROWS]).min(axis=1))
    return nearest


def gradient_seeds(errors: Floats, rows: Floats, size: int, seed: int) -> Rows:
    """Choose rows by k-means++ over the outer products of ``errors`` (N, C) and ``rows`` (N, E), never made.

    |a (x) x - b (x) y|^2 = |a|^2 |x|^2 + |b|^2 |y|^2 - 2 (a.b)(x.y), so a step takes N (C + E) operations.
    The first row is the one with the largest product; the others are drawn by squared distance to the nearest chosen.
    """
    generator = np.random.default_rng(seed)
    norms = np.square(errors).sum(axis=1) * np.square(rows).sum(axis=1)
    chosen = [int(norms.argmax())]
    nearest = np.full(len(rows), np.inf, dtype=np.float64)
    is_left = np.ones(len(rows), dtype=bool)
    while len(chosen) < size:
        last = chosen[-1]
        is_left[last] = False
        distances = norms + norms[last] - 2 * (errors @ errors[last]) * (rows @ rows[last])
        nearest = np.minimum(nearest, np.maximum(distances, 0)) * is_left
        # Where only copies of what is chosen are left, any of them will do.
        weights = nearest if nearest.sum() > 0 else is_left.astype(np.float64)
        chosen.append(int(np.searchsorted(np.cumsum(weights), generator.random() * weights.sum(), side="right")))
    return np.array(chosen, dtype=np.int64)


def typicality(rows: Floats, cluster: Rows, n_neighbours: int) -> Floats:
    """Return 1 / the mean distance of each row to its nearest neighbours in its cluster, larger where it is typical."""
    found = np.zeros(len(rows), dtype=np.float32)
    for label in np.unique(cluster):
        members = np.flatnonzero(cluster == label)
        k = min(n_neighbours, len(members) - 1)
        for start in range(0, len(members), BLOCK_ROWS):
            block = members[start : start + BLOCK_ROWS]
            distances = np.sqrt(squared_distances(rows[block], rows[members]))
            distances[np.arange(len(block)), np.arange(start, start + len(block))] = 0
            nearest = np.partition(distances, k, axis=1)[:, : k + 1]  # the row itself is among them, with 0
            found[block] = 1 / (nearest.sum(axis=1) / max(1, k) + 1e-5)
    return found
