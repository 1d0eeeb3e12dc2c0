"""Texts to numbers: hashed word and character n-grams, their TF-IDF, and a random projection of them.

No bucket and no embedding depends on the process or the platform, and none is learnt.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import scipy  # its submodules are loaded when they are used
from numpy.typing import NDArray

from al_platform.models.kept_counts import counts_in_use
from al_platform.models.options import NgramOptions

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import HashingVectorizer

CHUNK_TEXTS = 512
PROJECTION_SEED = 0x5EED_0F_7E47
PROJECTION_SLOTS = 4
WORD = r"(?u)\b\w+\b"  # one-letter words too: "I" tells a review from a report

# SplitMix64 (Steele et al. 2014): a counter in, 64 random bits out, so that no table of buckets has to be kept.
GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
MIX = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
LAST_SHIFT = np.uint64(31)
SIGN_BIT = np.uint64(63)
LOW_BITS = np.uint64(0xFFFF_FFFF)


def chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield ``texts`` in pieces small enough for their n-grams to fit into memory."""
    for start in range(0, len(texts), CHUNK_TEXTS):
        yield texts[start : start + CHUNK_TEXTS]


def count_ngrams(texts: Sequence[str], options: NgramOptions) -> "scipy.sparse.csr_matrix":
    """Return how often each n-gram bucket occurs, float32 of shape (N, 2 * n_features): words, then characters."""
    counted = [_count_chunk(chunk, options) for chunk in chunks(texts)]
    if not counted:
        return scipy.sparse.csr_matrix((0, 2 * options.n_features), dtype=np.float32)
    return scipy.sparse.vstack(counted, format="csr")


def feature_table(
    counts: "scipy.sparse.csr_matrix", max_features: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the buckets to keep, ascending, and their inverse document frequency, both of shape (F,).

    The buckets in most texts are kept; of equally frequent ones those with the lower number.

    Args:
        counts: What ``count_ngrams`` returned for the training texts.
        max_features: How many to keep at most.
    """
    frequency = np.bincount(counts.indices, minlength=counts.shape[1])
    seen = np.flatnonzero(frequency)
    kept = np.sort(seen[np.argsort(-frequency[seen], kind="stable")[:max_features]])
    idf = np.log((1 + counts.shape[0]) / (1 + frequency[kept])) + 1
    return kept.astype(np.int64), idf.astype(np.float32)


def tfidf(
    counts: "scipy.sparse.csr_matrix", feature_ids: NDArray[np.int64], idf: NDArray[np.float32]
) -> "scipy.sparse.csr_matrix":
    """Return (1 + log count) * idf of the kept buckets, each row of length 1: float32 of shape (N, F)."""
    column = np.full(counts.shape[1], -1, dtype=np.int32)
    column[feature_ids] = np.arange(len(feature_ids), dtype=np.int32)
    columns = column[counts.indices]
    is_kept = columns >= 0
    indptr = np.concatenate([[0], np.cumsum(is_kept, dtype=np.int64)])[counts.indptr]
    columns = columns[is_kept]
    weights = (1 + np.log(counts.data[is_kept])) * idf[columns]
    rows = np.repeat(np.arange(counts.shape[0]), np.diff(indptr))
    lengths = np.sqrt(np.bincount(rows, weights**2, minlength=counts.shape[0]))
    shape = (counts.shape[0], len(feature_ids))
    return scipy.sparse.csr_matrix(((weights / lengths[rows]).astype(np.float32), columns, indptr), shape=shape)


def projection(feature_ids: NDArray[np.int64], embedding_dim: int) -> "scipy.sparse.csr_matrix":
    """Return the sparse sign projection of the buckets, float32 of shape (F, embedding_dim).

    Each bucket adds +1 or -1 to ``PROJECTION_SLOTS`` coordinates (Achlioptas 2003; Li et al. 2006).
    """
    slots = np.arange(PROJECTION_SLOTS, dtype=np.uint64)
    bits = _random_bits(feature_ids.astype(np.uint64)[:, None] * np.uint64(PROJECTION_SLOTS) + slots)  # (F, slots)
    coordinates = (bits & LOW_BITS) % np.uint64(embedding_dim)
    signs = np.where(bits >> SIGN_BIT, np.float32(1), np.float32(-1))
    indptr = np.arange(len(feature_ids) + 1) * PROJECTION_SLOTS
    shape = (len(feature_ids), embedding_dim)
    return scipy.sparse.csr_matrix((signs.ravel(), coordinates.ravel().astype(np.int32), indptr), shape=shape)


def project(features: "scipy.sparse.csr_matrix", matrix: "scipy.sparse.csr_matrix") -> NDArray[np.float16]:
    """Return ``features @ matrix`` with rows of length 1 (zeros where a text has no feature): (N, E)."""
    projected = (features @ matrix).toarray()
    lengths = np.linalg.norm(projected, axis=1, keepdims=True)
    return np.asarray(projected / np.where(lengths > 0, lengths, 1), dtype=np.float16)


def embed_texts(texts: Sequence[str], options: NgramOptions) -> NDArray[np.float16]:
    """Return embeddings that need no model, rows of length 1: shape (N, embedding_dim).

    Equal texts have equal embeddings in each process; a text without a word has zeros.
    """
    embedded = [_embed_chunk(chunk, options) for chunk in chunks(texts)]
    return np.concatenate([np.zeros((0, options.embedding_dim), dtype=np.float16), *embedded])


def _embed_chunk(texts: Sequence[str], options: NgramOptions) -> NDArray[np.float16]:
    counts = _count_chunk(texts, options)
    feature_ids = np.unique(counts.indices).astype(np.int64)
    features = tfidf(counts, feature_ids, np.ones(len(feature_ids), dtype=np.float32))
    return project(features, projection(feature_ids, options.embedding_dim))


def _count_chunk(texts: Sequence[str], options: NgramOptions) -> "scipy.sparse.csr_matrix":
    kept = counts_in_use()
    if kept is None:
        return _count(texts, options)
    return kept.counts(texts, _what_counts(options), 2 * options.n_features, lambda new: _count(new, options))


def _what_counts(options: NgramOptions) -> tuple[object, ...]:
    return options.word_ngrams, options.char_ngrams, options.n_features, options.max_chars


def _count(texts: Sequence[str], options: NgramOptions) -> "scipy.sparse.csr_matrix":
    readable = [_readable(text, options.max_chars) for text in texts]
    words = _hasher("word", options.word_ngrams, options.n_features).transform(readable)
    counts = scipy.sparse.hstack([words, _count_characters(readable, options)], format="csr", dtype=np.float32)
    counts.sort_indices()
    return counts


def _readable(text: str, max_chars: int) -> str:
    """Return the start of ``text`` in lower case; a lone surrogate, which no hash function takes, becomes a ``?``."""
    return text[:max_chars].lower().encode("utf-8", "replace").decode("utf-8")


def _count_characters(texts: Sequence[str], options: NgramOptions) -> "scipy.sparse.csr_matrix":
    """Count the character n-grams inside words, shape (N, n_features).

    Those of each distinct word are found once and multiplied by the word's count: five times faster than reading
    each text, with the same result.
    """
    column: dict[str, int] = {}
    columns = [[column.setdefault(word, len(column)) for word in text.split()] for text in texts]
    indptr = np.cumsum([0, *map(len, columns)])
    indices = np.fromiter((index for row in columns for index in row), dtype=np.int32, count=int(indptr[-1]))
    ones = np.ones(len(indices), dtype=np.float32)
    words = scipy.sparse.csr_matrix((ones, indices, indptr), shape=(len(texts), len(column)))  # (N, distinct words)
    if not column:
        return scipy.sparse.csr_matrix((len(texts), options.n_features), dtype=np.float32)
    return words @ _hasher("char_wb", options.char_ngrams, options.n_features).transform(list(column))


def _hasher(analyzer: str, ngrams: tuple[int, int], n_features: int) -> "HashingVectorizer":
    # scikit-learn takes a second to import, and commands like "kedro registry list" read no text.
    from sklearn.feature_extraction.text import HashingVectorizer

    return HashingVectorizer(
        analyzer=analyzer,
        ngram_range=ngrams,
        token_pattern=WORD,
        n_features=n_features,
        alternate_sign=False,
        norm=None,
        lowercase=False,
        dtype=np.float32,
    )


def _random_bits(counters: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = (counters + np.uint64(PROJECTION_SEED)) * GOLDEN_GAMMA
    for shift, factor in MIX:
        bits = (bits ^ (bits >> shift)) * factor
    return bits ^ (bits >> LAST_SHIFT)
