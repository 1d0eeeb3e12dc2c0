"""What earlier cycles left: fixed by the cycle of the run, not by when it runs."""

from hashlib import sha256
from typing import Any

import pyarrow as pa

from al_platform.catalog.formats import format_named, schema_named
from al_platform.catalog.outputs import StoreDataset, read_output
from al_platform.storage.commit_log import Input, Output, StageKey, history


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

    def _read(self, output: Output) -> Any:
        return read_output(self.store, output, self.format)

    def _describe(self) -> dict[str, Any]:
        return {**super()._describe(), "stage": self.stage, "name": self.name}


class NewestBefore(_History):
    """The output of the newest cycle before this one; an empty table, or None, where there is none."""

    def _load(self) -> Any:
        outputs = self._committed()
        if not outputs:
            self.source = Input(place="none", sha256=None)
            return self._empty()
        output = outputs[max(outputs)]
        self.source = Input(place=output.path, sha256=output.sha256)
        return self._read(output)


class AllCycles(_History):
    """The tables of all cycles before this one, one after another, with a column ``cycle``.

    With ``including_this`` this cycle's is the last, as this run staged it or as it was committed.
    """

    def __init__(self, *, schema: str, including_this: bool = False, **history: Any):
        """Create the dataset.

        Args:
            schema: The tables' schema, in ``al_platform.schemas``.
            including_this: Whether this cycle's table is among them.
            history: Stage, name, format, root, family and cycle.
        """
        super().__init__(schema=schema, **history)
        self.including_this = including_this

    def _load(self) -> pa.Table:
        outputs = self._committed()
        if self.including_this and (own := self._own()) is not None:
            outputs[self.cycle] = own
        digests = ",".join(f"{cycle}:{output.sha256}" for cycle, output in outputs.items())
        self.source = Input(place=",".join(outputs) or "none", sha256=sha256(digests.encode()).hexdigest())
        tables = [_with_cycle(self._read(output), cycle) for cycle, output in outputs.items()]
        return pa.concat_tables([_with_cycle(self._empty(), ""), *tables], promote_options="default")

    def _own(self) -> Output | None:
        key = StageKey(self.family, self.cycle, self.stage)
        if self.run and (staged := self.run.staged(key, self.name)):
            return staged
        manifest = history(self.store, self.family, self.stage).get(self.cycle)
        return manifest.outputs.get(self.name) if manifest else None


def _with_cycle(table: pa.Table, cycle: str) -> pa.Table:
    if "cycle" in table.column_names:
        return table
    return table.append_column("cycle", pa.array([cycle] * table.num_rows, pa.string()))
