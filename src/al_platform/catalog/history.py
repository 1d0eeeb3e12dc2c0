"""What earlier cycles left: fixed by the cycle of the run, not by when it runs."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from al_platform.catalog.engines import open_engine
from al_platform.catalog.formats import format_named, schema_named
from al_platform.catalog.outputs import StoreDataset, input_of, read_output
from al_platform.catalog.stored_table import CYCLE, FilesDataset, StoredTable, verified
from al_platform.storage.commit_log import Input, Output, StageKey, committed_cycles, head, history


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

    def empty(self) -> Any:
        """Return what stands for no cycle: an empty table of the schema, or None without one."""
        return self.schema.empty_table() if self.schema is not None else None

    def _committed(self) -> dict[str, Output]:
        """Return the output of every committed cycle before this one, oldest first."""
        manifests = history(self.store, self.family, self.stage, before=self.cycle)
        return {cycle: found.outputs[self.name] for cycle, found in manifests.items() if self.name in found.outputs}

    def _of(self, cycle: str) -> Output | None:
        manifest = head(self.store, StageKey(self.family, cycle, self.stage))
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
        self._or_own = self.reads_own = or_own

    def _load(self) -> Any:
        output = self._newest()
        self.source = input_of(output) if output else input_of()
        return self._read(output) if output else self.empty()

    def current(self) -> Input | None:
        """Return what would be read now."""
        output = self._newest()
        return input_of(output) if output else input_of()

    def _newest(self) -> Output | None:
        if self._or_own and (own := self._of(self.cycle)) is not None:
            return own
        earlier = [cycle for cycle in committed_cycles(self.store, self.family, self.stage) if cycle < self.cycle]
        return self._of(earlier[-1]) if earlier else None


class AllCycles(_History):
    """The tables of all cycles before this one, one after another, with a column ``cycle``, as a ``StoredTable``."""

    def __init__(self, *, engine: Mapping[str, Any] | None = None, **history: Any):
        """Create the dataset.

        Args:
            engine: ``EngineOptions``: where files are joined with the pages that are asked for.
            history: Stage, name, format, schema, root, family and cycle.
        """
        super().__init__(**history)
        self._engine = open_engine(engine)

    def current(self) -> Input | None:
        """Return what would be read now."""
        return input_of(*self._committed().values())

    def _load(self) -> StoredTable:
        outputs = self._committed().values()
        self.source = input_of(*outputs)
        files = {output.path: output.sha256 for output in outputs}
        return StoredTable(
            files, with_cycle(self.schema), lambda path: verified(self.store, path, files[path]), self._engine
        )


class SealedBatches(FilesDataset):
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
            where: Root, family and cycle, where digests are recorded, and the engine.
        """
        super().__init__(**where)
        self._suffix = f"/{stage}/sealed/{name}.parquet"
        self.schema = with_cycle(schema_named(schema))
        self._including_this = including_this

    def _load(self) -> StoredTable:
        sealed = {path.split("/")[1]: path for path in self.store.list(self.family) if path.endswith(self._suffix)}
        paths = [path for cycle, path in sealed.items() if cycle < self.cycle or self._is_own(cycle)]
        return self._table(", ".join(paths), paths, self.schema)

    def _is_own(self, cycle: str) -> bool:
        return self._including_this and cycle == self.cycle


def with_cycle(schema: pa.Schema) -> pa.Schema:
    """Return ``schema`` with a column ``cycle``."""
    return schema.append(pa.field(CYCLE, pa.string(), nullable=False))
