"""The best candidates of each label, found in one pass over the probabilities of the whole pool."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from al_platform.domain.selection.diversity import list_matrix
from al_platform.domain.selection.engine import beside, map_batches
from al_platform.domain.selection.label_scores import FIXED_POINT, fixed_point_sum, label_scores
from al_platform.domain.selection.query import LabelScore
from al_platform.domain.taxonomy import Taxonomy

CUT_FACTOR = 4  # a head is cut when it holds this many times what is wanted
_LABEL, _SCORE, _UNITS, _ROWS = "al_label", "al_score", "al_units", "al_rows"
_GATHERED = (
    pa.field(_LABEL, pa.int32()),
    pa.field(_SCORE, pa.float32()),
    pa.field(_UNITS, pa.list_(pa.int64())),
    pa.field(_ROWS, pa.int64()),
)


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
    rows a label. The scores are computed here, so they do not depend on the engine; on Spark each partition gives its
    own heads, of which these are the best.

    Args:
        predictions: ``schemas.PREDICTIONS`` on any Ibis backend.
        unavailable: ``page_id`` of pages that must not be chosen.
        columns: To return, ``page_id`` among them.
        taxonomy: Of the family.
        kind: See ``label_scores``.
        limit: Rows a label.
        thresholds: Multi-label: of each label.
    """
    others = beside(unavailable.select(["page_id"]), predictions)
    candidates = predictions.select(*columns, "probabilities").anti_join(others, "page_id")
    gather = _Gather(tuple(columns), len(taxonomy.labels), kind, taxonomy.is_multi, limit, thresholds)
    schema = candidates.select(*columns).schema().to_pyarrow()
    found = map_batches(candidates, gather, pa.schema([*schema, *_GATHERED]))
    sums = found.filter(pc.field(_ROWS).is_valid())
    n = pc.sum(sums[_ROWS], min_count=0).as_py()
    if not n:
        return LabelHeads([], None)
    units = np.array(sums[_UNITS].to_pylist(), dtype=np.int64).sum(axis=0)
    labels = range(len(taxonomy.labels))
    tables = [_best(found.filter(pc.field(_LABEL) == label), limit).select(columns) for label in labels]
    return LabelHeads(tables, tuple((units / FIXED_POINT / n).tolist()))


@dataclass(frozen=True)
class _Gather:
    """Makes the heads of a stream of candidates, and as the last row what its probabilities sum up to."""

    columns: tuple[str, ...]
    n_labels: int
    kind: LabelScore
    is_multi: bool
    limit: int
    thresholds: tuple[float, ...] | None

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        heads = [_Head(self.limit) for _ in range(self.n_labels)]
        units, n = np.zeros(self.n_labels, dtype=np.int64), 0
        for batch in batches:
            known = pa.Table.from_batches([batch])
            if known["probabilities"].null_count:
                known = known.filter(known["probabilities"].is_valid())
            if not known.num_rows:
                continue
            matrix = list_matrix(known["probabilities"])
            units, n = units + fixed_point_sum(matrix), n + len(matrix)
            scores = label_scores(matrix, self.kind, is_multi=self.is_multi, thresholds=self.thresholds)
            rows = known.select(self.columns)
            for head, column in zip(heads, scores.T, strict=True):
                head.add(rows, column)
        if n:
            for label, head in enumerate(heads):
                best = head.best()
                labels = pa.array(np.full(best.num_rows, label), pa.int32())
                yield from _gathered(best.select(self.columns), **{_LABEL: labels, _SCORE: best[_SCORE]})
            sums = {_UNITS: pa.array([units], pa.list_(pa.int64())), _ROWS: pa.array([n])}
            yield from _gathered(pa.table({name: pa.nulls(1, rows[name].type) for name in self.columns}), **sums)


def _gathered(rows: pa.Table, **values: pa.Array) -> list[pa.RecordBatch]:
    """Return rows with the columns of ``_GATHERED``, those without values as nulls, in one batch."""
    for field in _GATHERED:
        rows = rows.append_column(field, values.get(field.name, pa.nulls(rows.num_rows, field.type)))
    batches: list[pa.RecordBatch] = rows.combine_chunks().to_batches()
    return batches


def _best(rows: pa.Table, limit: int) -> pa.Table:
    return rows.sort_by([(_SCORE, "descending"), ("page_id", "ascending")])[:limit]


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
        close = np.flatnonzero(scores >= self._least)
        if not len(close):
            return
        self._parts.append(rows.take(pa.array(close)).append_column(_SCORE, pa.array(scores[close])))
        self._n += len(close)
        if self._n > CUT_FACTOR * self._limit:
            self._parts = [self.best()]
            self._n = self._limit
            self._least = self._parts[0][_SCORE][-1].as_py()

    def best(self) -> pa.Table:
        return _best(pa.concat_tables(self._parts), self._limit)
