"""Rows in Parquet files, found by their number: a row group at a time is in memory."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from al_platform.catalog.formats import Expression
from al_platform.domain.errors import SchemaError
from al_platform.storage.scratch import scratch_folder

_NUMBER = "al_number"
_BATCH_ROWS = 65_536
_MEMORY = "1GB"  # of what is sorted and joined; beyond it DuckDB goes on on the disk


class RowFiles:
    """The rows of files, one file after another, counted from 0. May be pickled."""

    def __init__(self, files: Sequence[Path]):
        """Read the sizes of the files' row groups.

        Raises:
            SchemaError: A file is truncated or no Parquet.
        """
        self.files = tuple(files)
        self._groups = tuple(group for file in self.files for group in _groups(file))
        self._starts = (0, *accumulate(rows for _, _, rows in self._groups))
        self._last: tuple[int, pa.Table] | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._starts[-1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}

    def rows(self, start: int, stop: int) -> pa.Table:
        """Return the rows from number ``start`` up to ``stop``; a column that only some files have holds nulls."""
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        last = int(np.searchsorted(self._starts, stop, side="left"))
        parts = [
            self._group(group)[max(0, start - self._starts[group]) : stop - self._starts[group]]
            for group in range(first, last)
        ]
        return pa.concat_tables(parts, promote_options="default")

    def repeats(self, column: str) -> NDArray[np.int64]:
        """Return the numbers, rising, of the rows whose value in ``column`` an earlier row has."""
        import ibis

        if not len(self):
            return np.empty(0, dtype=np.int64)
        rows = _table(_sorter(), "rows", self._numbered([column]))
        nth = ibis.row_number().over(group_by=column, order_by=_NUMBER)
        later = rows.mutate(nth=nth).filter(ibis._.nth > 0).select(_NUMBER).to_pyarrow()
        return np.sort(later[_NUMBER].to_numpy())

    def aligned_with(self, others: "RowFiles", column: str, columns: Sequence[str]) -> "RowFiles":
        """Return rows in the order of others with the same value in ``column``; nulls where there is none.

        Of several with the same value the last counts. They lie in a file on this machine that ends with the process.

        Args:
            others: Rows of which each gets one.
            column: What both have.
            columns: Of these rows, ``column`` among them, those that they have.
        """
        import ibis

        sorter = _sorter()
        nth = ibis.row_number().over(group_by=column, order_by=ibis.desc(_NUMBER))
        own = (
            _table(sorter, "own", self._numbered(columns)).mutate(nth=nth).filter(ibis._.nth == 0).drop(_NUMBER, "nth")
        )
        wanted = _table(sorter, "wanted", others._numbered([column]))
        file = scratch_folder("aligned") / "rows.parquet"
        found = wanted.left_join(own, column).order_by(_NUMBER)
        found.drop(_NUMBER, f"{column}_right").to_parquet(file)
        return RowFiles([file])

    def _group(self, group: int) -> pa.Table:
        # Slices are smaller than row groups, so that the next one is often of the same.
        if self._last is None or self._last[0] != group:
            file, number, _ = self._groups[group]
            with pq.ParquetFile(file) as parquet:
                self._last = (group, parquet.read_row_group(number))
        return self._last[1]

    def _numbered(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield all rows with their numbers, of these columns; at least one batch, maybe without rows."""
        own = set(pq.read_schema(self.files[0]).names)
        columns = [name for name in columns if name in own]
        begin = 0
        for file in self.files:
            with pq.ParquetFile(file) as parquet:
                for batch in parquet.iter_batches(_BATCH_ROWS, columns=columns):
                    numbers = pa.array(np.arange(begin, begin + batch.num_rows))
                    yield _without_float16(batch.append_column(_NUMBER, numbers))
                    begin += batch.num_rows
                if not begin and file == self.files[-1]:
                    yield _without_float16(_empty(parquet.schema_arrow, columns))


def _groups(file: Path) -> list[tuple[Path, int, int]]:
    """Return file, number and rows of each row group."""
    try:
        found = pq.read_metadata(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise SchemaError(f"{file.name} is no readable Parquet file: {error}. Import it again.") from error
    rows = [found.row_group(number).num_rows for number in range(found.num_row_groups)]
    return [(file, number, n) for number, n in enumerate(rows) if n]


def _empty(schema: pa.Schema, columns: Sequence[str]) -> pa.RecordBatch:
    fields = [*(schema.field(name) for name in columns), pa.field(_NUMBER, pa.int64())]
    return pa.RecordBatch.from_pylist([], pa.schema(fields))


def _sorter() -> Any:
    import ibis

    return ibis.duckdb.connect(memory_limit=_MEMORY, temp_directory=str(scratch_folder("sorting")))


def _table(connection: Any, name: str, batches: Iterator[pa.RecordBatch]) -> Expression:
    first = next(batches)

    def every() -> Iterator[pa.RecordBatch]:
        yield first
        yield from batches

    connection.con.register(name, pa.RecordBatchReader.from_batches(first.schema, every()))
    return connection.table(name)


def _without_float16(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch that DuckDB takes from memory."""
    schema = pa.schema([(field.name, _widened(field.type)) for field in batch.schema])
    return batch.cast(schema) if schema != batch.schema.remove_metadata() else batch


def _widened(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(_widened(kind.value_type))
    return pa.float32() if pa.types.is_float16(kind) else kind
