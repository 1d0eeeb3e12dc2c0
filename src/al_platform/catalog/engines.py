"""Where tables are queried and joined and pages are scored: in this process with DuckDB, or on Spark."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from al_platform.catalog.formats import Expression
from al_platform.domain.engine_options import EngineOptions
from al_platform.domain.errors import ConfigError

NUMBER = "al_number"
"""Column of a row's number in its file, counted from 0."""
Slice: TypeAlias = tuple[int, int]
"""Rows by their number: the first, and the one after the last."""
OnSlice: TypeAlias = Callable[[int, int], pa.Table]
"""What becomes of the rows of a slice. Spark's workers get it pickled."""

# What a wave of slices sends to Spark's driver at once: 768 bytes of embedding and 120 of probabilities a page stay
# below the gigabyte that spark.driver.maxResultSize allows.
WAVE_ROWS = 800_000
_SETTINGS = {
    "spark.master": "local[*]",
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.shuffle.partitions": "8",
}


class Engine(Protocol):
    """Reads Parquet files as one table, and does the same to many slices of rows."""

    def read_parquet(self, files: Sequence[Path]) -> Expression:
        """Return the rows of all files as an Ibis expression; nothing is read yet."""
        ...

    def numbered(self, file: Path, columns: Sequence[str]) -> Expression:
        """Return columns of a file's rows, with ``NUMBER``, as an Ibis expression."""
        ...

    def each(self, on_slice: OnSlice, slices: Sequence[Slice]) -> Iterator[pa.Table]:
        """Yield what becomes of each slice, in their order."""
        ...


def open_engine(options: EngineOptions | Mapping[str, Any] | None = None) -> Engine:
    """Return the engine; nothing is started before it is used."""
    options = EngineOptions.model_validate(options or {})
    return SparkEngine(options.spark) if options.name == "spark" else DuckDBEngine()


class DuckDBEngine:
    """DuckDB, and one slice after another."""

    def read_parquet(self, files: Sequence[Path]) -> Expression:
        import ibis

        return ibis.duckdb.connect().read_parquet([str(file) for file in files])

    def numbered(self, file: Path, columns: Sequence[str]) -> Expression:
        import ibis

        rows = ibis.duckdb.connect().read_parquet(str(file), file_row_number=True)
        return rows.select(*columns, **{NUMBER: rows["file_row_number"]})

    def each(self, on_slice: OnSlice, slices: Sequence[Slice]) -> Iterator[pa.Table]:
        return (on_slice(*rows) for rows in slices)


class SparkEngine:
    """Spark: files and models must lie where its workers see them, on a shared disk or a volume."""

    def __init__(self, settings: Mapping[str, str]):
        """Prepare; the session begins with the first question.

        Args:
            settings: Of a session that is started here.
        """
        self._settings = {**_SETTINGS, **settings}

    def read_parquet(self, files: Sequence[Path]) -> Expression:
        session = self._session()
        schema = _readable(pq.read_schema(files[0]))
        return _expression(session, session.read.schema(schema).parquet(*map(_place, files)))

    def numbered(self, file: Path, columns: Sequence[str]) -> Expression:
        session = self._session()
        stored = pq.read_schema(file)
        schema = _readable(pa.schema([stored.field(name) for name in columns]))
        rows = session.read.schema(schema).parquet(_place(file))
        return _expression(session, rows.selectExpr("*", f"_metadata.row_index AS {NUMBER}"))

    def each(self, on_slice: OnSlice, slices: Sequence[Slice]) -> Iterator[pa.Table]:
        session = self._session()
        for wave in _waves(slices):
            tasks = session.range(0, len(wave), 1, len(wave))
            made = tasks.mapInArrow(_over(on_slice, wave), "task long, made binary").toArrow().sort_by("task")
            for stream in made["made"]:
                yield pa.ipc.open_stream(stream.as_buffer()).read_all()

    def _session(self) -> Any:
        try:
            from pyspark.errors import PySparkRuntimeError
            from pyspark.sql import SparkSession
        except ModuleNotFoundError as error:
            raise ConfigError(
                "The engine is spark, but there is no PySpark here. Run 'make spark' (or install the package's extra "
                "'spark'), run on a cluster that brings it, or set engine.name to duckdb in globals.yml."
            ) from error
        session = SparkSession.getActiveSession()
        if session is None:
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
            builder = SparkSession.builder.appName("al-platform")
            try:
                session = builder.config(map=self._settings).getOrCreate()
            except PySparkRuntimeError as error:
                raise ConfigError(
                    f"Spark does not start: {error}. It needs Java 17 on the path or in JAVA_HOME, and its settings "
                    f"are those of engine.spark in globals.yml: {self._settings}."
                ) from error
        session.conf.set("spark.sql.session.timeZone", "UTC")
        return session


def _place(file: Path) -> str:
    # Without the scheme Databricks looks for a path in DBFS, unless it is that of a volume.
    return str(file) if file.is_relative_to("/Volumes") else f"file://{file.absolute()}"


def _expression(session: Any, rows: Any) -> Expression:
    import ibis

    name = f"al_{uuid4().hex}"
    rows.createOrReplaceTempView(name)
    return ibis.pyspark.connect(session).table(name)


def _over(on_slice: OnSlice, wave: Sequence[Slice]) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def made(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for task in batch.column(0).to_pylist():
                # As bytes, since Spark has no type for all that a table may hold: it knows no float16.
                sink = pa.BufferOutputStream()
                table = on_slice(*wave[task])
                with pa.ipc.new_stream(sink, table.schema) as stream:
                    stream.write_table(table)
                columns = {"task": pa.array([task]), "made": pa.array([sink.getvalue().to_pybytes()], pa.binary())}
                yield pa.RecordBatch.from_pydict(columns)

    return made


def _waves(slices: Sequence[Slice]) -> Iterator[Sequence[Slice]]:
    wave: list[Slice] = []
    rows = 0
    for start, stop in slices:
        if wave and rows + stop - start > WAVE_ROWS:
            yield wave
            wave, rows = [], 0
        wave.append((start, stop))
        rows += stop - start
    if wave:
        yield wave


def _readable(schema: pa.Schema) -> Any:
    """Return a file's schema for Spark, which takes no float16: it sees the two bytes of each."""
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(pa.schema([pa.field(field.name, _without_float16(field.type)) for field in schema]))


def _without_float16(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_float16(kind):
        return pa.binary()
    if pa.types.is_list(kind):
        return pa.list_(_without_float16(kind.value_type))
    return kind
