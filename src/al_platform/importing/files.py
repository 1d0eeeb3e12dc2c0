"""Files from outside: read, renamed, given page ids; and what was taken of them, stored."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from al_platform.catalog.formats import read_parquet
from al_platform.catalog.traffic import add_file, add_table
from al_platform.domain.errors import SchemaError, known_names
from al_platform.importing.checks import Imported
from al_platform.importing.logs import ImportedFile
from al_platform.storage.commit_log import file_sha256
from al_platform.storage.store import Store

ID_LENGTH = 32
BLOCK_BYTES = 64 << 20
BATCH_ROWS = 65_536
TEXT_COLUMNS = frozenset({"page_id", "url", "domain", "title", "text", "language", "values"})
_JSON_BLOCKS = pa_json.ReadOptions(block_size=BLOCK_BYTES)
_Reader = TypeVar("_Reader")


def read_file(path: Path, mapping: Mapping[str, str], id_rule: str = "page_id") -> pa.Table:
    """Return the table in a CSV, JSONL or Parquet file, its columns renamed.

    In a CSV file, ids, texts and labels stay as they are written: 007 is no number and "true" no truth value.

    Args:
        path: The file; its ending tells the format.
        mapping: Our column name to the file's.
        id_rule: The column that ids come from.

    Raises:
        SchemaError: The ending is unknown, the file is damaged, or a mapped column is missing.
    """
    readers: dict[str, Callable[[], pa.Table]] = {
        ".csv": lambda: _read_csv(path, mapping, id_rule),
        ".jsonl": lambda: _read_jsonl(path),
        ".ndjson": lambda: _read_jsonl(path),
        ".parquet": lambda: read_parquet(path),
    }
    return _renamed(_of_format(readers, path)(), mapping, path)


def read_batches(path: Path, mapping: Mapping[str, str], id_rule: str = "page_id") -> Iterator[pa.Table]:
    """Yield the rows of a file as ``read_file`` returns them, some 64 MB of text or ``BATCH_ROWS`` at a time.

    Raises:
        SchemaError: As ``read_file``; also in the middle, where a later batch has other types than the first.
    """
    readers: dict[str, Callable[[], Iterator[pa.RecordBatch]]] = {
        ".csv": lambda: _csv_batches(path, mapping, id_rule),
        ".jsonl": lambda: _jsonl_batches(path),
        ".ndjson": lambda: _jsonl_batches(path),
        ".parquet": lambda: _parquet_batches(path),
    }
    for batch in _of_format(readers, path)():
        yield _renamed(pa.Table.from_batches([batch]), mapping, path)


def _of_format(readers: Mapping[str, _Reader], path: Path) -> _Reader:
    if path.suffix not in readers:
        raise SchemaError(f"Asked to read {path.name}. Known endings: {', '.join(readers)}.")
    return readers[path.suffix]


def _renamed(table: pa.Table, mapping: Mapping[str, str], path: Path) -> pa.Table:
    for ours, theirs in mapping.items():
        if theirs not in table.column_names:
            raise SchemaError(
                f"Asked to take {ours!r} from column {theirs!r} of {path.name}. "
                f"{known_names(theirs, table.column_names)}"
            )
        column = table.column(theirs)
        table = table.drop_columns([ours]) if ours in table.column_names else table
        table = table.append_column(ours, column)
    return table


def with_page_ids(table: pa.Table, rule: str) -> pa.Table:
    """Return ``table`` with a column ``page_id``.

    Args:
        table: As read.
        rule: ``page_id`` to keep the file's own; the name of another column, for instance ``url`` or ``text``, to
            take the hash of its value, so that the same page has the same id in every file.

    Raises:
        SchemaError: There is no such column.
    """
    if rule not in table.column_names:
        raise SchemaError(
            f"Page ids should come from column {rule!r}. {known_names(rule, table.column_names)} "
            f"Choose one with --id, for instance --id text."
        )
    if rule == "page_id":
        return table.set_column(table.column_names.index(rule), rule, table.column(rule).cast(pa.string()))
    ids = [None if value is None or value == "" else _hash(str(value)) for value in table.column(rule).to_pylist()]
    table = table.drop_columns(["page_id"]) if "page_id" in table.column_names else table
    return table.append_column("page_id", pa.array(ids, pa.string()))


def table_digest(table: pa.Table, *options: object) -> str:
    """Return a digest of a table's content and the options it is read with: the same import twice has the same."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sha256(repr(options).encode() + sink.getvalue().to_pybytes()).hexdigest()[:ID_LENGTH]


def file_digest(path: Path, *options: object) -> str:
    """Return a digest of a file's bytes and the options it is read with."""
    return sha256(repr(options).encode() + file_sha256(path).encode()).hexdigest()[:ID_LENGTH]


def store_imported(store: Store, folder: str, imported: Imported | ImportedFile, digest: str) -> str | None:
    """Store the rows taken, and those set aside; return the quarantine's path, None where it is empty."""
    quarantine = f"{folder.rpartition('/')[0]}/quarantine"
    if imported.quarantine.num_rows:
        add_table(store, quarantine, imported.quarantine, digest)
    # Last: what is there counts as imported, and its quarantine must not be missing then.
    if isinstance(imported, ImportedFile):
        add_file(store, folder, imported.file, digest)
    else:
        add_table(store, folder, imported.table, digest)
    return f"{store.root}/{quarantine}" if imported.quarantine.num_rows else None


def _read_csv(path: Path, mapping: Mapping[str, str], id_rule: str) -> pa.Table:
    with _names_file(path, "CSV"):
        return pa_csv.read_csv(path, **_csv_options(path, mapping, id_rule))


def _csv_batches(path: Path, mapping: Mapping[str, str], id_rule: str) -> Iterator[pa.RecordBatch]:
    with _names_file(path, "CSV"), pa_csv.open_csv(path, **_csv_options(path, mapping, id_rule)) as reader:
        yield from reader


def _csv_options(path: Path, mapping: Mapping[str, str], id_rule: str) -> dict[str, Any]:
    # Hostile texts are long and hold line breaks; the default block of 1 MB cannot hold one row of 5 MB.
    read = pa_csv.ReadOptions(block_size=BLOCK_BYTES)
    parse = pa_csv.ParseOptions(newlines_in_values=True)
    with pa_csv.open_csv(path, read_options=read, parse_options=parse) as reader:
        header = reader.schema.names
    ours = {theirs: name for name, theirs in mapping.items()}
    texts = {name for name in header if name == id_rule or _is_text(ours.get(name, name))}
    convert = pa_csv.ConvertOptions(column_types=dict.fromkeys(texts, pa.string()))
    return {"read_options": read, "parse_options": parse, "convert_options": convert}


def _read_jsonl(path: Path) -> pa.Table:
    with _names_file(path, "JSON Lines"):
        return pa_json.read_json(path, read_options=_JSON_BLOCKS)


def _jsonl_batches(path: Path) -> Iterator[pa.RecordBatch]:
    with _names_file(path, "JSON Lines"):
        yield from pa_json.open_json(path, read_options=_JSON_BLOCKS)


def _parquet_batches(path: Path) -> Iterator[pa.RecordBatch]:
    with _names_file(path, "Parquet"), pq.ParquetFile(path) as parquet:
        yield from parquet.iter_batches(BATCH_ROWS)


@contextmanager
def _names_file(path: Path, what: str) -> Iterator[None]:
    """Say which file it was that cannot be read."""
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        raise SchemaError(f"{path.name} is no readable {what} file: {error}") from error


def _is_text(name: str) -> bool:
    return name in TEXT_COLUMNS or name.startswith("truth_")


def _hash(value: str) -> str:
    return sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:ID_LENGTH]
