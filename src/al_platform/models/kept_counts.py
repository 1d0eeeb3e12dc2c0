"""N-gram counts that are kept while several models read the same pages, as in a replay."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy  # its submodules are loaded when they are used
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix as Counts


class _Row(NamedTuple):
    """The buckets of one text, rising, and how often each occurs."""

    indices: NDArray[np.int32]
    data: NDArray[np.float32]

    @property
    def n_bytes(self) -> int:
        return self.indices.nbytes + self.data.nbytes


class KeptCounts:
    """The counts of texts that were read, those read longest ago dropped when they are too many."""

    def __init__(self, max_bytes: int):
        """Keep nothing yet.

        Args:
            max_bytes: Of all counts together.
        """
        self._max_bytes = max_bytes
        self._n_bytes = 0
        self._rows: OrderedDict[tuple[Hashable, bytes], _Row] = OrderedDict()

    def counts(
        self, texts: Sequence[str], options: Hashable, n_columns: int, count: "Callable[[list[str]], Counts]"
    ) -> "Counts":
        """Return the counts of ``texts``, shape (N, n_columns), of which ``count`` is asked for those not kept.

        Args:
            texts: N of them.
            options: What counts depend on beside the text.
            n_columns: Buckets.
            count: Returns the counts of texts, float32, buckets rising in each row. Those of a text must not depend on
                the others.
        """
        keys = [
            (options, hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()) for text in texts
        ]
        lacking = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._rows}
        found = {key: self._rows[key] for key in keys if key in self._rows}
        if lacking:
            found |= zip(lacking, _rows(count(list(lacking.values()))), strict=True)
        for key, row in found.items():
            self._keep(key, row)
        return _matrix([found[key] for key in keys], n_columns)

    def _keep(self, key: tuple[Hashable, bytes], row: _Row) -> None:
        if key not in self._rows:
            self._rows[key] = row
            self._n_bytes += row.n_bytes
        self._rows.move_to_end(key)
        while self._n_bytes > self._max_bytes:
            self._n_bytes -= self._rows.popitem(last=False)[1].n_bytes


_IN_USE: ContextVar[KeptCounts | None] = ContextVar("kept_counts", default=None)


def counts_in_use() -> KeptCounts | None:
    """Return the counts that are kept here; None where each text is counted anew."""
    return _IN_USE.get()


@contextmanager
def kept_counts(max_bytes: int) -> Iterator[KeptCounts]:
    """Keep the counts of texts while this is open."""
    kept = KeptCounts(max_bytes)
    token = _IN_USE.set(kept)
    try:
        yield kept
    finally:
        _IN_USE.reset(token)


def _rows(counts: "Counts") -> list[_Row]:
    # Copies: a view would hold the counts of all other texts as well.
    bounds = zip(counts.indptr[:-1], counts.indptr[1:], strict=True)
    return [
        _Row(counts.indices[start:stop].astype(np.int32), counts.data[start:stop].astype(np.float32))
        for start, stop in bounds
    ]


def _matrix(rows: Sequence[_Row], n_columns: int) -> "Counts":
    indptr = np.cumsum([0, *(len(row.indices) for row in rows)])
    indices = np.concatenate([np.zeros(0, dtype=np.int32), *(row.indices for row in rows)])
    data = np.concatenate([np.zeros(0, dtype=np.float32), *(row.data for row in rows)])
    return scipy.sparse.csr_matrix((data, indices, indptr), shape=(len(rows), n_columns))
