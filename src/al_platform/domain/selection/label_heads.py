"""The best candidates of each label, found in one pass over the probabilities of the whole pool."""

from collections.abc import Sequence
from typing import NamedTuple

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from al_platform.domain.selection.diversity import list_matrix
from al_platform.domain.selection.label_scores import FIXED_POINT, fixed_point_sum, label_scores
from al_platform.domain.selection.query import LabelScore
from al_platform.domain.taxonomy import Taxonomy

BATCH_ROWS = 65_536
CUT_FACTOR = 4  # a head is cut when it holds this many times what is wanted
SCORE = "label_score"


class LabelHeads(NamedTuple):
    """The best candidates of each label, best first, and the share of the pool that each is expected to have.

    Attributes:
        tables: One a label, with the columns asked for.
        shares: Mean probability of each label over the candidates; none where no candidate has probabilities.
    """

    tables: list[pa.Table]
    shares: tuple[float, ...] | None


def label_heads(
    predictions: ir.Table,
    unavailable: pa.Table,
    columns: Sequence[str],
    taxonomy: Taxonomy,
    kind: LabelScore,
    *,
    limit: int,
    thresholds: tuple[float, ...] | None = None,
) -> LabelHeads:
    """Return the ``limit`` best candidates of each label; ties go by page_id.

    Streams Arrow batches, because list columns are slow to sort in an engine, and holds at most a few times ``limit``
    rows a label. The scores are computed here, so they do not depend on the engine.

    Args:
        predictions: ``schemas.PREDICTIONS`` on any Ibis backend.
        unavailable: ``page_id`` of pages that must not be chosen.
        columns: To return, ``page_id`` among them.
        taxonomy: Of the family.
        kind: See ``label_scores``.
        limit: Rows a label.
        thresholds: Multi-label: of each label.
    """
    others = ibis.memtable(unavailable.select(["page_id"]))
    candidates = predictions.select(*columns, "probabilities").anti_join(others, "page_id")
    heads = [_Head(limit) for _ in taxonomy.labels]
    total, n = np.zeros(len(heads), dtype=np.int64), 0
    for batch in candidates.to_pyarrow_batches(chunk_size=BATCH_ROWS):
        rows = pa.Table.from_batches([batch])
        known = rows.filter(rows["probabilities"].is_valid())
        if known.num_rows:
            matrix = list_matrix(known["probabilities"])
            scores = label_scores(matrix, kind, is_multi=taxonomy.is_multi, thresholds=thresholds)
            total, n = total + fixed_point_sum(matrix), n + len(matrix)
            for head, column in zip(heads, scores.T, strict=True):
                head.add(known.select(columns), column)
    shares = tuple((total / FIXED_POINT / n).tolist()) if n else None
    return LabelHeads([head.best().select(columns) for head in heads if n], shares)


class _Head:
    """The best rows so far, in little more memory than they take."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[pa.Table] = []
        self._n = 0
        self._least = -np.inf

    def add(self, rows: pa.Table, scores: NDArray[np.float32]) -> None:
        if len(scores) > self._limit:
            # What is not among the best of its own batch is not copied.
            self._least = max(self._least, float(np.partition(scores, -self._limit)[-self._limit]))
        is_close = scores >= self._least
        if not is_close.any():
            return
        chosen = rows.filter(pa.array(is_close))
        self._parts.append(chosen.append_column(SCORE, pa.array(scores[is_close])))
        self._n += chosen.num_rows
        if self._n > CUT_FACTOR * self._limit:
            self._parts = [self.best()]
            self._n = self._limit
            self._least = self._parts[0][SCORE][-1].as_py()

    def best(self) -> pa.Table:
        rows = pa.concat_tables(self._parts)
        return rows.sort_by([(SCORE, "descending"), ("page_id", "ascending")])[: self._limit]
