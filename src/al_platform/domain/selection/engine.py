"""Arrow into and out of an Ibis expression, on whichever engine it stands.

The engines are DuckDB and Spark. Of Spark, Ibis 12 brings results and tables in memory through pandas, where a missing
number becomes NaN and nothing is streamed; here they stay Arrow, and a function over batches runs where the rows are.
"""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import ibis
import ibis.expr.types as ir
import pyarrow as pa

SPARK = "pyspark"
BATCH_ROWS = 65_536

OverBatches = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def to_arrow(expression: ir.Table) -> pa.Table:
    """Return the rows of an expression."""
    return _in_spark(expression).toArrow() if _is_in_spark(expression) else expression.to_pyarrow()


def map_batches(expression: ir.Table, function: OverBatches, schema: pa.Schema) -> pa.Table:
    """Return what a function makes of an expression's rows, which it gets as a stream of batches.

    On Spark each partition is a stream of its own, on a worker, where only what the function makes leaves it: what it
    gathers over batches must be gathered over streams once more. DuckDB has one stream.

    Args:
        expression: On DuckDB or Spark.
        function: Over batches of any size; on Spark it is sent to the workers.
        schema: Of what the function makes. Spark knows no float16.
    """
    if _is_in_spark(expression):
        from pyspark.sql.pandas.types import from_arrow_schema

        return _in_spark(expression).mapInArrow(function, from_arrow_schema(schema)).toArrow().cast(schema)
    batches = expression.to_pyarrow_batches(chunk_size=BATCH_ROWS)
    return pa.Table.from_batches(function(iter(batches)), schema=schema)


def beside(table: ir.Table | pa.Table, other: ir.Table) -> ir.Table:
    """Return a table as an expression on the engine of another, so that they can be joined."""
    if not isinstance(table, pa.Table):
        return table
    if not _is_in_spark(other):
        return ibis.memtable(table)
    name = f"al_{uuid4().hex}"
    _in_spark(other).sparkSession.createDataFrame(table).createOrReplaceTempView(name)
    return other.get_backend().table(name)


def _is_in_spark(expression: ir.Table) -> bool:
    return bool(expression.get_backend().name == SPARK)


def _in_spark(expression: ir.Table) -> Any:
    backend = expression.get_backend()
    return backend.raw_sql(backend.compile(expression))
