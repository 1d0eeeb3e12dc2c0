"""The random draws of a month: the audit, and exploration.

They come first, from the whole month's scored frame: after exclusions, duplicates and caps a draw no longer stands for
the traffic.
"""

from collections.abc import Iterator
from hashlib import sha256
from heapq import heapify, heapreplace
from typing import NamedTuple

import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from al_platform.domain.errors import InputError
from al_platform.domain.selection.engine import BATCH_ROWS, map_batches
from al_platform.domain.selection.options import SelectionOptions
from al_platform.domain.selection.random_order import random_order
from al_platform.domain.selection.reasons import AUDIT, EXPLORATION
from al_platform.domain.taxonomy import Taxonomy

UNKNOWN = "unknown"
POOLED = "other"

FRAME = pa.schema(
    [
        pa.field("page_id", pa.string(), nullable=False),
        pa.field("predicted", pa.string()),
        pa.field("top1", pa.float32()),
    ]
)


class Strata(NamedTuple):
    """Stratum of each page of a frame: ``codes`` (N,) into ``names``, and the ``sizes`` of the strata."""

    codes: NDArray[np.int64]
    names: list[str]
    sizes: NDArray[np.int64]


def read_frame(predictions: ir.Table, taxonomy: Taxonomy) -> pa.Table:
    """Return every page of the month with its predicted label and top probability, streamed from the engine.

    Args:
        predictions: ``schemas.PREDICTIONS``.
        taxonomy: Of the family; its labels name the columns of ``probabilities``.

    Returns:
        ``page_id``, ``predicted`` and ``top1``; where ``probabilities`` is null, so is ``predicted``, and ``top1`` is
        the stored one.

    Raises:
        InputError: A prediction has more or fewer probabilities than the taxonomy has labels.
    """
    labels = taxonomy.labels

    def predicted(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return (_predicted(batch, labels) for batch in batches)

    return map_batches(predictions.select("page_id", "top1", "probabilities"), predicted, FRAME)


def draw_audit(
    frame: pa.Table,
    size: int,
    cycle: str,
    seed: int,
    *,
    bands: tuple[float, ...] = (0.1, 0.5),
    floor: int = 2,
    power: float = 0.5,
) -> pa.Table:
    """Draw pages at random with known inclusion probabilities, ordered by md5(page_id | cycle | seed).

    Strata are predicted label x band of its probability; without predictions there is one, and the draw is uniform.
    Sample sizes go with (stratum size) ** power (Bankier 1988, "Power allocations: determining sample sizes for
    subnational areas"), at least ``floor`` each. If the draw is too small for that, the smallest strata are pooled.

    Args:
        frame: The whole month; see ``read_frame``.
        size: Pages to draw; the whole frame if it is smaller.
        cycle: ``YYYY-MM``.
        seed: Of the draw.
        bands: Probabilities at which strata are cut. Below the first, labels share a stratum.
        floor: Smallest sample of a stratum.
        power: 1 is proportional, 0 the same for all.

    Returns:
        ``page_id``, ``stratum``, ``inclusion_probability`` (> 0 for every page of the frame if ``size`` is).
    """
    strata = stratify(frame, bands, max_strata=max(1, size // floor))
    counts = allocate(strata.sizes, size, floor, power)
    rows = _draw(frame["page_id"], strata, counts, f"{cycle}|{seed}")
    return pa.table(
        {
            "page_id": frame["page_id"].take(pa.array(rows)),
            "stratum": _names(strata, rows),
            "inclusion_probability": (counts / strata.sizes)[strata.codes[rows]],
        }
    )


def draw_random_pages(frame: pa.Table, cycle: str, options: SelectionOptions) -> pa.Table:
    """Draw the audit and, independently and uniformly, exploration.

    A page in both draws counts as audit. Estimates use both draws, so the inclusion probability of each row is that of
    being in either: 1 - (1 - p_audit) (1 - p_exploration).

    Args:
        frame: The whole month; see ``read_frame``.
        cycle: ``YYYY-MM``.
        options: Sizes, strata and seed.

    Returns:
        ``page_id``, ``reason``, ``stratum``, ``inclusion_probability``, ``frame_size``, ``frame_digest``.

    Raises:
        InputError: The frame holds a page twice.
    """
    digest, n_pages, page_ids = frame_digest(frame["page_id"]), frame.num_rows, frame["page_id"]
    salt = f"{cycle}|{options.seed}"
    strata = stratify(frame, options.audit_bands, max_strata=max(1, options.audit_size // options.audit_floor))
    counts = allocate(strata.sizes, options.audit_size, options.audit_floor, options.audit_power)
    audit = _draw(page_ids, strata, counts, salt)
    uniform = random_order(page_ids, f"{salt}|{EXPLORATION}")[: options.exploration_size]
    exploration = uniform[~np.isin(uniform, audit)]
    rows = np.concatenate([audit, exploration])
    in_neither = (1 - (counts / strata.sizes)[strata.codes[rows]]) * (1 - len(uniform) / max(1, n_pages))
    return pa.table(
        {
            "page_id": page_ids.take(pa.array(rows)),
            "reason": [AUDIT] * len(audit) + [EXPLORATION] * len(exploration),
            "stratum": _names(strata, rows),
            "inclusion_probability": 1 - in_neither,
            "frame_size": pa.array([n_pages] * len(rows), type=pa.int64()),
            "frame_digest": pa.array([digest] * len(rows), type=pa.string()),
        }
    )


def frame_digest(page_ids: pa.ChunkedArray) -> str:
    """Return the sha256 of the sorted page ids, one a line.

    Raises:
        InputError: A page occurs twice.
    """
    ordered = page_ids.take(pc.sort_indices(page_ids))
    is_repeated = pc.equal(ordered[1:], ordered[:-1])
    if pc.any(is_repeated).as_py():
        raise InputError(
            f"Page {ordered[1:].filter(is_repeated)[0].as_py()!r} is scored more than once. Keep one row a page."
        )
    digest = sha256()
    for start in range(0, len(ordered), BATCH_ROWS):  # as Python strings, a month would take three times the memory
        some = ordered[start : start + BATCH_ROWS].to_pylist()
        digest.update("".join(f"{page_id}\n" for page_id in some).encode())
    return digest.hexdigest()


def stratify(frame: pa.Table, bands: tuple[float, ...], max_strata: int) -> Strata:
    """Return the stratum of each page: predicted label x band of its top probability.

    Where there are more than ``max_strata``, the smallest are pooled into one.
    """
    top1 = frame["top1"].cast(pa.float64()).to_numpy()
    band = np.searchsorted(bands, top1, side="right")
    labels = pc.dictionary_encode(frame["predicted"].fill_null(UNKNOWN)).combine_chunks()
    label, label_names = labels.indices.to_numpy().astype(np.int64), labels.dictionary.to_pylist()
    band[np.isnan(top1)] = len(bands) + 1
    label[band == 0] = -1
    keys, codes, sizes = np.unique(label * (len(bands) + 2) + band, return_inverse=True, return_counts=True)
    names = np.array([_stratum_name(key, label_names, bands) for key in keys.tolist()], dtype=object)
    by_name = np.argsort(names)  # the order of a dictionary is that of the rows
    sorted_codes = np.argsort(by_name)[codes]
    return _pool_smallest(Strata(sorted_codes, names[by_name].tolist(), sizes[by_name]), max_strata)


def allocate(sizes: NDArray[np.int64], total: int, floor: int, power: float) -> NDArray[np.int64]:
    """Return the sample size of each stratum: by highest averages of size ** power, from a floor up to all of it."""
    counts = np.minimum(sizes, min(floor, total // max(1, len(sizes))))
    weights = sizes.astype(np.float64) ** power
    open_strata = [(-weights[h] / (counts[h] + 1), h) for h in range(len(sizes)) if counts[h] < sizes[h]]
    heapify(open_strata)
    for _ in range(min(total, int(sizes.sum())) - int(counts.sum())):
        h = open_strata[0][1]
        counts[h] += 1
        following = -weights[h] / (counts[h] + 1) if counts[h] < sizes[h] else np.inf
        heapreplace(open_strata, (following, h))
    return counts


def _draw(page_ids: pa.ChunkedArray, strata: Strata, counts: NDArray[np.int64], salt: str) -> NDArray[np.int64]:
    """Return the first rows of each stratum in random order, in random order."""
    order = random_order(page_ids, salt)
    codes = strata.codes[order]
    by_stratum = np.argsort(codes, kind="stable")
    starts = np.cumsum(strata.sizes) - strata.sizes
    position = np.empty(len(order), dtype=np.int64)
    position[by_stratum] = np.arange(len(order)) - np.repeat(starts, strata.sizes)
    return order[position < counts[codes]]


def _pool_smallest(strata: Strata, max_strata: int) -> Strata:
    if len(strata.names) <= max_strata:
        return strata
    largest_first = sorted(range(len(strata.names)), key=lambda h: (-strata.sizes[h], strata.names[h]))
    kept = largest_first[: max_strata - 1]
    pooled_code = np.full(len(strata.names), len(kept))
    pooled_code[kept] = np.arange(len(kept))
    codes = pooled_code[strata.codes]
    names = [*(strata.names[h] for h in kept), POOLED]
    return Strata(codes, names, np.bincount(codes, minlength=len(names)))


def _stratum_name(key: int, labels: list[str], bands: tuple[float, ...]) -> str:
    label, band = divmod(key, len(bands) + 2)
    if label < 0:
        return f"p<{bands[0]}"
    if band > len(bands):
        return labels[label]
    upper = bands[band] if band < len(bands) else 1
    return f"{labels[label]}|{bands[band - 1] if band else 0}<=p<{upper}"


def _names(strata: Strata, rows: NDArray[np.int64]) -> pa.Array:
    return pa.array([strata.names[code] for code in strata.codes[rows]], type=pa.string())


def _predicted(batch: pa.RecordBatch, labels: tuple[str, ...]) -> pa.RecordBatch:
    lists = batch["probabilities"]
    is_scored = pc.is_valid(lists).to_numpy(zero_copy_only=False)
    n_found = pc.unique(pc.list_value_length(lists.drop_null())).to_pylist()
    if n_found not in ([], [len(labels)]):
        raise InputError(
            f"Predictions hold {', '.join(map(str, sorted(n_found)))} probabilities a page, but the taxonomy has "
            f"{len(labels)} labels. Score with a model of this taxonomy."
        )
    matrix = lists.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, len(labels))
    top1 = batch["top1"].to_numpy(zero_copy_only=False).astype(np.float32)
    top1[is_scored] = matrix.max(axis=1, initial=0)
    best = np.zeros(batch.num_rows, dtype=np.int64)
    best[is_scored] = matrix.argmax(axis=1)
    predicted = pc.take(pa.array(labels, type=pa.string()), pa.array(best, mask=~is_scored))
    columns = [batch["page_id"].cast(pa.string()), predicted, pa.array(top1, from_pandas=True)]
    return pa.RecordBatch.from_arrays(columns, schema=FRAME)
