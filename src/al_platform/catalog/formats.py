"""How a stage's output becomes a file, and a file an object again. Equal objects give equal bytes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from al_platform import schemas
from al_platform.domain.errors import ConfigError, SchemaError, known_names
from al_platform.storage.commit_log import to_json

Expression: TypeAlias = Any
"""An ``ibis.Table``. Ibis is imported where it is used: it takes a third of a second, which every command would pay."""


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        suffix: File name ending, with the dot.
        dump: Writes an object to a local file.
        load: Reads a local file.
    """

    suffix: str
    dump: Callable[[Any, Path], None]
    load: Callable[[Path], Any]


def read_parquet(path: Path) -> pa.Table:
    """Return the table in a Parquet file.

    Raises:
        SchemaError: The file is truncated or no Parquet.
    """
    try:
        return pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise SchemaError(f"{path.name} is no readable Parquet file: {error}. Export it again.") from error


def _dump_parquet(table: pa.Table | pa.RecordBatchReader, path: Path) -> None:
    # How a table happens to be chunked must not show in the file: equal tables give equal bytes.
    batches = table.combine_chunks().to_batches() if isinstance(table, pa.Table) else table
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)


def _dump_json(value: BaseModel | dict[str, Any], path: Path) -> None:
    path.write_bytes(to_json(value))


def _load_json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _dump_html(document: str, path: Path) -> None:
    path.write_bytes(document.encode())


def _load_html(path: Path) -> str:
    return path.read_bytes().decode()


def _no_dump(value: Any, path: Path) -> None:
    raise AssertionError(f"{path} is only read.")


AS_FILE = Format(".parquet", _no_dump, lambda path: path)
"""A file that is checked, and not read."""

_FORMATS = {
    "parquet": Format(".parquet", _dump_parquet, read_parquet),
    "json": Format(".json", _dump_json, _load_json),
    "html": Format(".html", _dump_html, _load_html),
}


def format_named(name: str) -> Format:
    """Return the format of this name.

    Raises:
        ConfigError: There is none.
    """
    if name not in _FORMATS:
        raise ConfigError(f"Asked for format {name!r}. {known_names(name, _FORMATS)}")
    return _FORMATS[name]


def schema_named(name: str) -> pa.Schema:
    """Return the schema of this name in ``al_platform.schemas``, in lower case there or here."""
    schema = getattr(schemas, name.upper(), None)
    if not isinstance(schema, pa.Schema):
        known = [key.lower() for key, value in vars(schemas).items() if isinstance(value, pa.Schema)]
        raise ConfigError(f"Asked for schema {name!r}. {known_names(name, known)}")
    return schema
