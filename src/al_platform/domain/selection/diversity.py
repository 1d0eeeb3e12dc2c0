"""Diversity within a batch: near-duplicates out, and k-means for the cold start."""

import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from al_platform.domain.errors import InputError

_Float = TypeVar("_Float", np.float32, np.float64)
NearDuplicateGroups = Callable[[Sequence[str]], NDArray[np.int64]]
MAX_ITERATIONS = 20


def is_first_of_group(groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for each row whether no earlier row has its group."""
    is_first = np.zeros(len(groups), dtype=bool)
    is_first[np.unique(groups, return_index=True)[1]] = True
    return is_first


def is_new(
    texts: Sequence[str | None], batch_texts: Sequence[str | None], near_duplicate_groups: NearDuplicateGroups
) -> NDArray[np.bool_]:
    """Return for each text whether it nearly repeats neither the batch so far nor an earlier text.

    Args:
        texts: Candidates, most informative first. A missing or empty text repeats nothing.
        batch_texts: Texts already in the batch.
        near_duplicate_groups: Gives nearly identical texts the same number.
    """
    every = [*batch_texts, *texts]
    with_text = [row for row, text in enumerate(every) if text]
    keep = np.ones(len(every), dtype=bool)
    if with_text:
        groups = np.asarray(near_duplicate_groups([text for text in every if text]))
        keep[with_text] = is_first_of_group(groups)
    return keep[len(batch_texts) :]


def representatives(
    embeddings: NDArray[np.floating], page_ids: Sequence[str], size: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Choose the pages nearest to the centres of ``size`` k-means clusters.

    Representative sampling (Xu et al. 2003, "Representative sampling for text classification using support vector
    machines"), with the nearest real row per centre as in Zhdanov 2019, "Diverse mini-batch active learning".
    Where clusters stay empty, the rows farthest from their centre are added.

    Args:
        embeddings: Shape (N, E), finite; only their direction counts.
        page_ids: The N pages; neither their order nor the number of threads changes the choice.
        size: How many to choose, 1 to N.
        seed: Of the first centres.

    Returns:
        Row numbers, ``size`` of them, largest cluster first, and the share of rows in each one's cluster
        (0 for a row that was added).

    Raises:
        InputError: An embedding is not finite.
    """
    by_id = np.argsort(np.asarray(page_ids, dtype=object), kind="stable")
    unit = unit_rows(np.asarray(embeddings, dtype=np.float64)[by_id], [page_ids[row] for row in by_id])
    cluster, distance = _cluster(unit, size, seed)
    nearest_first = np.lexsort((distance, cluster))
    chosen = nearest_first[is_first_of_group(cluster[nearest_first])]
    share = np.bincount(cluster, minlength=size)[cluster[chosen]] / len(unit)
    farthest_first = np.argsort(-distance, kind="stable")
    added = farthest_first[~np.isin(farthest_first, chosen)][: size - len(chosen)]
    rows, scores = np.concatenate([chosen, added]), np.concatenate([share, np.zeros(len(added))])
    best_first = np.lexsort((rows, -scores))
    return by_id[rows[best_first]].astype(np.int64), scores[best_first]


def list_matrix(column: pa.ChunkedArray, what: str = "Probabilities") -> NDArray[np.float32]:
    """Return a list column without nulls as an (N, length) array.

    Numbers may come as the two bytes of a float16, which is how Spark, that knows none, reads them from a file.

    Raises:
        InputError: The lists differ in length.
    """
    flat = pa.chunked_array([chunk.flatten() for chunk in column.chunks], type=column.type.value_type)
    lengths = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(lengths) > 1:
        raise InputError(
            f"{what} have lengths {sorted(lengths)}, but one model gives one length. Score the cycle anew."
        )
    numbers = flat
    if pa.types.is_binary(flat.type):
        numbers = np.frombuffer(b"".join(flat.to_pylist()), dtype="<f2")
    return np.asarray(numbers, dtype=np.float32).reshape(len(column), *(lengths or [0]))


def unit_rows(embeddings: NDArray[_Float], page_ids: Sequence[str]) -> NDArray[_Float]:
    """Return the rows at length 1; one of zeros stays.

    Raises:
        InputError: An embedding is not finite.
    """
    is_finite = np.isfinite(embeddings).all(axis=1)
    if not is_finite.all():
        raise InputError(
            f"The embedding of page {page_ids[int(np.argmin(is_finite))]!r} is not finite. Score the cycle anew, "
            f"or choose a strategy that compares no pages, such as margin or random."
        )
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return np.divide(embeddings, np.where(norms > 0, norms, 1), dtype=embeddings.dtype)


def _cluster(rows: NDArray[np.float64], size: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    # scikit-learn takes a second to import, and only a cold start clusters.
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    # One thread: scikit-learn adds up the threads' partial sums in the order in which they finish.
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than clusters: rows are added
        kmeans = KMeans(size, n_init=1, max_iter=MAX_ITERATIONS, random_state=seed).fit(rows)
    cluster = kmeans.labels_.astype(np.int64)
    return cluster, np.square(rows - kmeans.cluster_centers_[cluster]).sum(axis=1)
