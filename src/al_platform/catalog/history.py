"""What earlier cycles left: fixed by the cycle of the run, not by when it runs."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import pyarrow as pa

from al_platform.catalog.formats import format_named, read_parquet, schema_named
from al_platform.catalog.outputs import StoreDataset, read_output
from al_platform.storage.commit_log import Input, Output, StageKey, head, history


class _History(StoreDataset):
    def __init__(
        self,
        *,
        stage: str,
        name: str,
        format: str = "parquet",
        schema: str | None = None,
        **where: Any,
    ):
        super().__init__(**where)
        self.stage = stage
        self.name = name
        self.format = format_named(format)
        self.schema = schema_named(schema) if schema else None

    def _empty(self) -> Any:
        return self.schema.empty_table() if self.schema is not None else None

    def _committed(self) -> dict[str, Output]:
        """Return the output of every committed cycle before this one, oldest first."""
        manifests = history(self.store, self.family, self.stage)
        return {
            cycle: manifest.outputs[self.name]
            for cycle, manifest in manifests.items()
            if cycle < self.cycle and self.name in manifest.outputs
        }

    def _own(self) -> Output | None:
        manifest = head(self.store, StageKey(self.family, self.cycle, self.stage))
        return manifest.outputs.get(self.name) if manifest else None

    def _read(self, output: Output) -> Any:
        return read_output(self.store, output, self.format)

    def _describe(self) -> dict[str, Any]:
        return {**super()._describe(), "stage": self.stage, "name": self.name}


class NewestBefore(_History):
    """The output of the newest cycle before this one; an empty table, or None, where there is none.

    With ``or_own``, what this cycle has committed already comes first: a run that is repeated builds on it.
    """

    def __init__(self, *, or_own: bool = False, **history: Any):
        """Create the dataset.

        Args:
            or_own: Whether this cycle's own commit comes first.
            history: Stage, name, format, schema, root, family and cycle.
        """
        super().__init__(**history)
        self._or_own = or_own

    def _load(self) -> Any:
        if self._or_own and (own := self._own()) is not None:
            # No input of the manifest: it is this stage's own output.
            self.source = None
            return self._read(own)
        outputs = self._committed()
        if not outputs:
            self.source = Input(place="none", sha256=None)
            return self._empty()
        output = outputs[max(outputs)]
        self.source = Input(place=output.path, sha256=output.sha256)
        return self._read(output)


class AllCycles(_History):
    """The tables of all cycles before this one, one after another, with a column ``cycle``."""

    def _load(self) -> pa.Table:
        outputs = self._committed()
        digests = ",".join(f"{cycle}:{output.sha256}" for cycle, output in outputs.items())
        self.source = Input(place=",".join(outputs) or "none", sha256=sha256(digests.encode()).hexdigest())
        return _one_after_another({cycle: self._read(output) for cycle, output in outputs.items()}, self._empty())


class SealedBatches(StoreDataset):
    """Every batch that was sealed before this cycle, with a column ``cycle``; whether its stage was committed or not.

    A batch is sealed before it is sent, so that none that people may be working on is missing here.
    """

    def __init__(self, *, stage: str, name: str, schema: str, including_this: bool = False, **where: Any):
        """Create the dataset.

        Args:
            stage: The stage that seals.
            name: The sealed output.
            schema: Its schema, in ``al_platform.schemas``.
            including_this: Whether this cycle's is among them.
            where: Root, family and cycle.
        """
        super().__init__(**where)
        self._suffix = f"/{stage}/sealed/{name}.parquet"
        self._schema = schema_named(schema)
        self._including_this = including_this

    def _load(self) -> pa.Table:
        sealed = {path.split("/")[1]: path for path in self.store.list(self.family) if path.endswith(self._suffix)}
        paths = {cycle: path for cycle, path in sealed.items() if cycle < self.cycle or self._is_own(cycle)}
        digests = ",".join(sha256(self.store.read(path)).hexdigest() for path in paths.values())
        self.source = Input(place=",".join(paths) or "none", sha256=sha256(digests.encode()).hexdigest())
        tables = {cycle: read_parquet(self.store.local(path)) for cycle, path in paths.items()}
        return _one_after_another(tables, self._schema.empty_table())

    def _is_own(self, cycle: str) -> bool:
        return self._including_this and cycle == self.cycle


def _one_after_another(tables: Mapping[str, pa.Table], empty: pa.Table) -> pa.Table:
    names = [name for name in empty.column_names if name != "cycle"]
    parts = [_with_cycle(table.select(names), cycle) for cycle, table in tables.items()]
    return pa.concat_tables([_with_cycle(empty.select(names), ""), *parts], promote_options="default")


def _with_cycle(table: pa.Table, cycle: str) -> pa.Table:
    return table.append_column("cycle", pa.array([cycle] * table.num_rows, pa.string()))
