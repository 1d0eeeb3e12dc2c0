"""A table in several files of the store, of which nothing is read before it is asked for.

The rows of some pages are found by a join where the engine is; they come in the order in which they are stored.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from al_platform.catalog.engines import NUMBER, DuckDBEngine, Engine, open_engine
from al_platform.catalog.formats import AS_FILE, Expression
from al_platform.catalog.outputs import StoreDataset, read_output, stored_files
from al_platform.domain.errors import SchemaError
from al_platform.schemas import conform
from al_platform.storage.commit_log import File, Input, Output, StageKey, committed_cycles, file_sha256, head
from al_platform.storage.store import Root, Store, open_store

CYCLE = "cycle"


class StoredTable:
    """Rows in files, one file after another: read by column, by page and by file.

    A schema with a column ``cycle`` takes it from the path of the file, ``<family>/<cycle>/...``.
    """

    def __init__(
        self,
        files: Mapping[str, str],
        schema: pa.Schema,
        find: Callable[[str], Path],
        engine: Engine | None = None,
    ):
        """Create the table.

        Args:
            files: What each path in the store hashes to, in the order of their rows.
            schema: Of every file; columns that may be null may be missing.
            find: Returns the local file of a path; asked once a file, when something of it is read.
            engine: Joins files with the pages that are asked for; by default DuckDB.
        """
        self.files = tuple(files)
        self.digests: Mapping[str, str] = dict(files)
        self.schema = schema
        self._find = find
        self._engine = engine or DuckDBEngine()
        self._found: dict[str, Path] = {}

    def read(
        self,
        columns: Sequence[str],
        page_ids: pa.Array | pa.ChunkedArray | None = None,
        files: Sequence[str] | None = None,
    ) -> pa.Table:
        """Return columns of the rows of some pages in some files; by default of all.

        Raises:
            SchemaError: A file is no Parquet, or does not fit the schema.
            StoreError: A file is missing or was changed.
        """
        schema = pa.schema([self.schema.field(name) for name in columns])
        tables = [self._rows(file, schema, page_ids) for file in (self.files if files is None else files)]
        return pa.concat_tables([schema.empty_table(), *tables])

    def select(self, columns: Sequence[str]) -> pa.Table:
        """Return columns of all rows."""
        return self.read(columns)

    def filter(self, expression: pc.Expression) -> pa.Table:
        """Return the rows, with all columns, for which a pyarrow expression holds."""
        return self.read(self.schema.names).filter(expression)

    def __getitem__(self, column: str) -> pa.ChunkedArray:
        """Return one column of all rows."""
        return self.read([column])[column]

    @property
    def num_rows(self) -> int:
        """The number of rows."""
        return sum(pq.read_metadata(self._local(file)).num_rows for file in self.files)

    def _rows(self, file: str, schema: pa.Schema, page_ids: pa.Array | pa.ChunkedArray | None) -> pa.Table:
        table = _read(self._local(file), file, schema.names, page_ids, self._engine)
        if CYCLE in schema.names:
            kept = [name for name in table.column_names if name != CYCLE]
            cycle = pa.array([file.split("/")[1]] * table.num_rows, pa.string())
            table = table.select(kept).append_column(CYCLE, cycle)
        return conform(table, schema, file).select(schema.names)

    def _local(self, file: str) -> Path:
        if file not in self._found:
            self._found[file] = self._find(file)
        return self._found[file]


def _read(
    local: Path, what: str, columns: Sequence[str], page_ids: pa.Array | pa.ChunkedArray | None, engine: Engine
) -> pa.Table:
    try:
        stored = pq.read_schema(local)
        # Without a column there is nothing to count rows by.
        present = [name for name in stored.names if name in columns or name == "page_id"]
        if page_ids is None:
            return pq.read_table(local, columns=present)
    except (pa.ArrowInvalid, OSError) as error:
        raise SchemaError(f"{what} is no readable Parquet file: {error}. Export it again.") from error
    if not len(page_ids):
        return pa.schema([stored.field(name) for name in present]).empty_table()
    return _of_pages(engine.numbered(local, present), page_ids)


def _of_pages(rows: Expression, page_ids: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Return the rows of some pages, in the order in which they are stored."""
    from al_platform.domain.selection.engine import beside, to_arrow

    asked = beside(pa.table({"page_id": pc.unique(page_ids)}), rows)
    return to_arrow(rows.semi_join(asked, "page_id")).sort_by(NUMBER).drop_columns([NUMBER])


class FilesDataset(StoreDataset):
    """A dataset in files that are written once, loaded as a ``StoredTable``.

    All of its files are inputs of the stage that loads it, whether they are opened or not: what is not read again was
    read by an earlier cycle, on which this one builds. Their digests are those which that one recorded. A file is
    compared with its digest when it is opened.
    """

    def __init__(self, *, recorded_at: Root, recorded_by: str, engine: Mapping[str, Any] | None = None, **where: Any):
        """Create the dataset.

        Args:
            recorded_at: Root at which the stage commits whose manifests tell the digests.
            recorded_by: That stage.
            engine: ``EngineOptions``: where files are joined with the pages that are asked for.
            where: Root, family and cycle.
        """
        super().__init__(**where)
        self._recorded_at = open_store(recorded_at)
        self._recorded_by = recorded_by
        self._engine = open_engine(engine)

    def current(self) -> Input | None:
        """Return what would be read now: loading opens no file whose digest is recorded."""
        self.load()
        return self.source

    def _table(self, place: str, paths: Sequence[str], schema: pa.Schema) -> StoredTable:
        recorded = self._recorded() if paths else {}
        fresh = {file.path: file for file in stored_files(self.store, [path for path in paths if path not in recorded])}
        files = {path: recorded.get(path) or fresh[path] for path in paths}
        self.source = Input.of_files(place, list(files.values()))
        digests = {path: file.sha256 for path, file in files.items()}
        return StoredTable(digests, schema, lambda path: self._found(files[path], is_fresh=path in fresh), self._engine)

    def _found(self, file: File, *, is_fresh: bool) -> Path:
        return self.store.local(file.path) if is_fresh else verified(self.store, file.path, file.sha256)

    def _recorded(self) -> dict[str, File]:
        """Return the files that the newest earlier commit has read, by path."""
        store, stage = self._recorded_at, self._recorded_by
        earlier = [cycle for cycle in committed_cycles(store, self.family, stage) if cycle < self.cycle]
        manifest = head(store, StageKey(self.family, earlier[-1], stage)) if earlier else None
        inputs = manifest.inputs.values() if manifest else ()
        return {file.path: file for read in inputs for file in read.files}


def verified(store: Store, path: str, sha256: str) -> Path:
    """Return the local file of a path; StoreError if it is missing or was changed by anything but an erasure."""
    file: Path = read_output(store, Output(path=path, sha256=sha256, size=0), AS_FILE)
    return file


def table_of_files(files: Mapping[str, Path], schema: pa.Schema) -> StoredTable:
    """Return the table in these local files, by their paths in the store."""
    return StoredTable({path: file_sha256(file) for path, file in files.items()}, schema, files.__getitem__)
