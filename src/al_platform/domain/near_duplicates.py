"""Which texts are near-copies of one another: the same page with some words edited, cut or added.

Similarity is the Jaccard index of the sets of words and of neighbouring word pairs. It depends on the two texts alone,
not on the rest of the collection, so that an answer once written down stays true when pages are added. Candidates come
from MinHash signatures of the word pairs in bands (Broder 1997; Leskovec et al., "Mining of Massive Datasets", ch. 3)
with fixed hash functions; an exact comparison decides.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from al_platform.domain.text import words

# 40 bands of 3 rows compare 98 % of the texts whose word pairs have a Jaccard index of 0.45 (a 15 % edit leaves 0.6),
# and 0.5 % of those at 0.05, which is what unrelated texts of one topic have.
BANDS = 40
ROWS = 3
# A phrase that thousands of pages share fills a bucket. Copies meet in many others, so the rest of it can be left out.
MAX_BUCKET = 64
MAX_COMPARISONS = 32
BLOCK_CHARS = 2_000_000

_HALF = np.uint64(32)
_PAIR_LEFT, _PAIR_RIGHT = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
# Odd multipliers permute the 32-bit numbers; MT19937's raw stream is the same in every NumPy release.
_PERMUTATIONS = np.random.MT19937(20_240_229).random_raw((BANDS * ROWS, 2)).astype(np.uint32) | np.uint32(1)


class NearDuplicateOptions(BaseModel):
    """When two texts count as copies.

    Attributes:
        threshold: Least similarity, 1 for equal sets of words and word pairs. Most copies with 15 % of their words
            edited have more than 0.62; two reports of one event mostly have less than 0.5.
        min_words: A text with fewer words is a copy only of a text with the same words: in "one of the best films of
            the year" a single word is the whole message.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: float = Field(default=0.6, ge=0.5, le=1)
    min_words: int = Field(default=10, ge=1)


class SimilarPairs(NamedTuple):
    """Verified pairs: positions of ``text`` and ``reference``, sorted by both, and their exact ``similarity``."""

    text: NDArray[np.int64]
    reference: NDArray[np.int64]
    similarity: NDArray[np.float64]


def near_duplicate_groups(texts: Sequence[str], options: NearDuplicateOptions) -> NDArray[np.int64]:
    """Return a group number per text: the position of the text that represents its group.

    From the longest text down, each joins the most similar representative so far or becomes one itself. All members of
    a group are therefore copies of its representative, and no chain of small edits links unlike texts. Which texts
    share a group does not depend on their order.
    """
    fingerprints = _fingerprints(texts, options)
    shared = _occurs_twice(fingerprints.keys)
    index = _Index(options.threshold)
    groups = np.arange(len(texts), dtype=np.int64)
    for position in _longest_first(texts):
        keys = fingerprints.keys[position][shared[position]].tolist()
        matches = index.matches(keys, fingerprints.shingles[position])
        if matches:
            groups[position] = max(matches, key=itemgetter(1))[0]
        else:
            index.add(position, keys, fingerprints.shingles[position])
    return groups


def similar_pairs(texts: Sequence[str], reference: Sequence[str], options: NearDuplicateOptions) -> SimilarPairs:
    """Return which texts are copies of which reference texts.

    ``reference`` may be ``texts``: then each text is also paired with the first of its equals, mostly itself.
    Of equal reference texts only the first counts, and a text has at most ``MAX_COMPARISONS`` pairs, so that a page
    published a thousand times does not give a million pairs.
    """
    queries, indexed = _fingerprints(texts, options), _fingerprints(reference, options)
    index = _Index(options.threshold)
    known = np.isin(indexed.keys, queries.keys)
    first = {text: position for position, text in reversed(list(enumerate(reference)))}
    for position in _longest_first(reference):
        if first[reference[position]] == position and known[position].any():
            index.add(position, indexed.keys[position][known[position]].tolist(), indexed.shingles[position])
    known = np.isin(queries.keys, indexed.keys)
    found: list[tuple[int, int, float]] = []
    for position in np.flatnonzero(known.any(axis=1)).tolist():
        keys = queries.keys[position][known[position]].tolist()
        found.extend((position, *match) for match in index.matches(keys, queries.shingles[position]))
    return _as_pairs(sorted(found))


def similar_to(texts: Sequence[str], reference: Sequence[str], options: NearDuplicateOptions) -> NDArray[np.bool_]:
    """Return for each text whether it is a copy of any reference text."""
    is_similar = np.zeros(len(texts), dtype=bool)
    is_similar[similar_pairs(texts, reference, options).text] = True
    return is_similar


def _as_pairs(found: Sequence[tuple[int, int, float]]) -> SimilarPairs:
    text, reference, similarity = zip(*found, strict=True) if found else ((), (), ())
    return SimilarPairs(
        np.array(text, dtype=np.int64), np.array(reference, dtype=np.int64), np.array(similarity, dtype=np.float64)
    )


def _longest_first(texts: Sequence[str]) -> list[int]:
    return sorted(range(len(texts)), key=lambda position: (-len(texts[position]), texts[position], position))


def _occurs_twice(keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return (counts > 1)[inverse].reshape(keys.shape)


class _Index:
    """Texts to find copies among, in buckets by the keys of their bands."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._buckets: defaultdict[int, list[int]] = defaultdict(list)
        self._shingles: dict[int, NDArray[np.uint32]] = {}
        self._rank: dict[int, int] = {}

    def add(self, position: int, keys: Sequence[int], shingles: NDArray[np.uint32]) -> None:
        """Add a text; the order of adding decides who is left out of a full bucket."""
        for key in keys:
            if len(bucket := self._buckets[key]) < MAX_BUCKET:
                bucket.append(position)
        self._rank[position] = len(self._rank)
        self._shingles[position] = shingles

    def matches(self, keys: Sequence[int], shingles: NDArray[np.uint32]) -> list[tuple[int, float]]:
        """Return position and similarity of each indexed copy, those added first at the front."""
        compared = ((other, _jaccard(shingles, self._shingles[other])) for other in self._candidates(keys))
        return [(other, similarity) for other, similarity in compared if similarity >= self._threshold]

    def _candidates(self, keys: Sequence[int]) -> list[int]:
        shared_bands = Counter(chain.from_iterable(self._buckets.get(key, ()) for key in keys))
        if len(shared_bands) > MAX_COMPARISONS:
            closest = sorted(shared_bands, key=lambda other: (-shared_bands[other], self._rank[other]))
            return sorted(closest[:MAX_COMPARISONS], key=self._rank.__getitem__)
        return sorted(shared_bands, key=self._rank.__getitem__)


def _jaccard(left: NDArray[np.uint32], right: NDArray[np.uint32]) -> float:
    both = np.concatenate([left, right])
    if not len(both):
        return 1.0
    both.sort()
    n_common = np.count_nonzero(both[1:] == both[:-1])
    return float(n_common / (len(both) - n_common))


@dataclass(frozen=True)
class _Fingerprints:
    """Keys of the bands, shape (N, BANDS), and the sorted distinct shingles of each text."""

    keys: NDArray[np.uint64]
    shingles: list[NDArray[np.uint32]]


class _WordHashes(dict[str, int]):
    """64-bit hashes of words, the same in every process, unlike ``hash``."""

    def __missing__(self, word: str) -> int:
        self[word] = value = _hash(word)
        return value


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def _fingerprints(texts: Sequence[str], options: NearDuplicateOptions) -> _Fingerprints:
    hashes = _WordHashes()
    keys = [np.zeros((0, BANDS), dtype=np.uint64)]
    shingles: list[NDArray[np.uint32]] = []
    for block in _blocks(texts):
        block_words = [words(text) for text in block]
        block_keys, block_shingles = _fingerprint_block(block_words, hashes)
        for row, found in enumerate(block_words):
            if len(found) < options.min_words:
                block_keys[row] = _hash(" ".join(found))
        keys.append(block_keys)
        shingles.extend(block_shingles)
    return _Fingerprints(np.concatenate(keys), shingles)


def _blocks(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield ``texts`` in blocks of at most ``BLOCK_CHARS``, a longer text alone: bounds the working memory."""
    block: list[str] = []
    n_chars = 0
    for text in texts:
        if block and n_chars + len(text) > BLOCK_CHARS:
            yield block
            block, n_chars = [], 0
        block.append(text)
        n_chars += len(text)
    if block:
        yield block


def _fingerprint_block(
    texts: Sequence[Sequence[str]], hashes: _WordHashes
) -> tuple[NDArray[np.uint64], list[NDArray[np.uint32]]]:
    lengths = np.array([len(text) for text in texts])
    hashed = np.fromiter(map(hashes.__getitem__, chain.from_iterable(texts)), np.uint64, lengths.sum())
    rows = np.repeat(np.arange(len(texts), dtype=np.uint64), lengths)
    pairs = (hashed[:-1] * _PAIR_LEFT + hashed[1:]) * _PAIR_RIGHT
    is_pair = rows[:-1] == rows[1:]
    pair_rows, pair_shingles = _distinct(rows[:-1][is_pair], pairs[is_pair])
    keys = _band_keys(pair_rows, pair_shingles, len(texts))
    all_rows, all_shingles = _distinct(
        np.concatenate([rows, rows[:-1][is_pair]]), np.concatenate([hashed, pairs[is_pair]])
    )
    return keys, np.split(all_shingles, np.searchsorted(all_rows, np.arange(1, len(texts), dtype=np.uint64)))


def _distinct(rows: NDArray[np.uint64], hashes: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Return the distinct (row, upper 32 bits of the hash), sorted."""
    combined = (rows << _HALF) | (hashes >> _HALF)
    combined.sort()  # four times as fast as np.unique, which hashes
    is_new = np.ones(len(combined), dtype=bool)
    np.not_equal(combined[1:], combined[:-1], out=is_new[1:])
    distinct = combined[is_new]
    return distinct >> _HALF, distinct.astype(np.uint32)


def _band_keys(rows: NDArray[np.uint64], shingles: NDArray[np.uint32], n: int) -> NDArray[np.uint64]:
    """Return a key per text and band, shape (n, BANDS): equal where the least shingles under ROWS permutations are.

    A text without shingles gets the key of the largest value there is.
    """
    present, starts = np.unique(rows, return_index=True)
    least = np.full(n, np.iinfo(np.uint32).max, dtype=np.uint64)
    keys = np.zeros((n, BANDS), dtype=np.uint64)
    for permutation, (multiplier, offset) in enumerate(_PERMUTATIONS):
        if len(starts):
            least[present] = np.minimum.reduceat(shingles * multiplier + offset, starts)
        band = permutation // ROWS
        keys[:, band] = (keys[:, band] + least + np.uint64(band)) * _PAIR_RIGHT
        keys[:, band] ^= keys[:, band] >> _HALF
    return keys
