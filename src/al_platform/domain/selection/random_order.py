"""A random order of pages that is the same on every engine, machine and number of threads.

Engines disagree about hashes and random numbers, so the hash is computed here.
"""

from collections.abc import Iterable
from hashlib import md5

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def random_keys(page_ids: Iterable[str], salt: str) -> NDArray[np.int64]:
    """Return the first 63 bits of ``md5(page_id|salt)`` for each page."""
    suffix = f"|{salt}".encode()
    digests = b"".join(md5(page_id.encode() + suffix, usedforsecurity=False).digest() for page_id in page_ids)
    return (np.frombuffer(digests, dtype=">u8")[::2] >> np.uint64(1)).astype(np.int64)


def random_order(page_ids: pa.ChunkedArray, salt: str) -> NDArray[np.int64]:
    """Return the row numbers of the pages ordered by their random key, ties by page_id."""
    keys = [random_keys(chunk.to_pylist(), salt) for chunk in page_ids.chunks]
    table = pa.table({"key": np.concatenate([np.empty(0, dtype=np.int64), *keys]), "page_id": page_ids})
    order = pc.sort_indices(table, sort_keys=[("key", "ascending"), ("page_id", "ascending")])
    return np.asarray(order, dtype=np.int64)
