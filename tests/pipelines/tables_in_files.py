"""Tables in files that are no files: what is read of them is written down."""

import pyarrow as pa
import pyarrow.compute as pc

from al_platform.schemas import conform


class TablesInMemory:
    """Stands for a ``StoredTable``; ``reads`` holds (file, columns) of every read."""

    def __init__(self, tables, schema, digests=None):
        self._tables = {file: conform(table, schema, file).select(schema.names) for file, table in tables.items()}
        self.files = tuple(tables)
        self.digests = digests or dict.fromkeys(tables, "0")
        self.schema = schema
        self.reads = []

    def read(self, columns, page_ids=None, files=None):
        parts = [pa.schema([self.schema.field(name) for name in columns]).empty_table()]
        for file in self.files if files is None else files:
            self.reads.append((file, tuple(columns)))
            table = self._tables[file].select(columns)
            parts.append(table if page_ids is None else table.filter(pc.is_in(table["page_id"], value_set=page_ids)))
        return pa.concat_tables(parts)

    def __getitem__(self, column):
        return self.read([column])[column]
