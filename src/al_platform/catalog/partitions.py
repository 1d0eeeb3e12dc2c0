"""A table in parts: each is kept as soon as it is made, and a run after a kill goes on with those that are lacking."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from al_platform.catalog.engines import Engine, OnSlice, Slice, open_engine
from al_platform.catalog.formats import AS_FILE, Expression
from al_platform.catalog.outputs import StageOutput, input_of, read_output
from al_platform.domain.errors import StoreError
from al_platform.progress import progress
from al_platform.storage.commit_log import Output, file_sha256, parts_of, to_json
from al_platform.storage.scratch import temporary_folder

LOG = logging.getLogger("al_platform")
ROW_GROUP = 122_880  # DuckDB's own: each is read by one thread


@dataclass(frozen=True)
class TableInParts:
    """A table that is made slice by slice of numbered rows.

    Attributes:
        on_slice: Makes the rows that come of a slice; the same for the same slice.
        rows: Numbered rows in all.
        part_rows: Of them in each part, but the last.
        slice_rows: Of them made at once.
        schema: Of the table.
        engine: Where slices are made.
        basis: What the table rests on beside the code: parts are used again only where it is the same.
        what: What is being done, for the progress: "scoring pages".
        sorted_by: Columns by which the rows of a part are sorted, smallest first, nulls last. Who asks for a range of
            the first then reads little of the rest.
    """

    on_slice: OnSlice
    rows: int
    part_rows: int
    slice_rows: int
    schema: pa.Schema
    engine: Engine
    basis: Mapping[str, Any]
    what: str
    sorted_by: tuple[str, ...] = ()

    @property
    def parts(self) -> list[Slice]:
        """The rows of each part; there is at least one."""
        return _cut((0, self.rows), self.part_rows) or [(0, 0)]

    def made(self, parts: Sequence[Slice]) -> Iterator[pa.Table]:
        """Yield the table of each of these parts."""
        slices = [_cut(part, self.slice_rows) for part in parts]
        total = sum(stop - start for start, stop in parts)
        tables = self.engine.each(self.on_slice, [each for part in slices for each in part])
        shown = iter(progress(tables, total=total, what=self.what))
        for part in slices:
            table = pa.concat_tables([self.schema.empty_table(), *(next(shown) for _ in part)])
            if self.sorted_by:
                table = table.sort_by([(column, "ascending") for column in self.sorted_by])
            yield table.combine_chunks()


class PartitionedOutput(StageOutput):
    """One output of a stage in as many files as it has parts, read as one expression.

    A part lies below its attempt where it is the only one. Of several, each lies in a folder that is named after what
    they rest on, under its own digest, with a receipt: there, a run that is repeated finds them. In the manifest they
    are ``name``, ``name.00001`` and so on.
    """

    def __init__(self, *, engine: Mapping[str, Any] | None = None, **output: Any):
        """Create the dataset; see ``StageOutput``.

        Args:
            engine: ``EngineOptions``: where the table is queried.
            output: Stage, name, root, family and cycle.
        """
        super().__init__(**output)
        self._engine = open_engine(engine)

    def _save(self, data: TableInParts) -> None:
        if self.run is None or len(data.parts) == 1:
            (table,) = data.made(data.parts)
            super()._save(table)
            return
        folder = self.key.parts(self._digest(data))
        kept = {number: output for number in range(len(data.parts)) if (output := self._kept(folder, number))}
        lacking = [number for number in range(len(data.parts)) if number not in kept]
        if kept:
            LOG.info("%s: %s of %s parts are there already", data.what, len(kept), len(data.parts))
        made = data.made([data.parts[number] for number in lacking])
        for number, table in zip(lacking, made, strict=True):
            kept[number] = self._keep(folder, number, table)
        outputs = self.run.attempt(self.key, self.store).outputs
        outputs.update({_part_name(self.name, number): kept[number] for number in sorted(kept)})

    def _load(self) -> Expression:
        outputs = parts_of(self._outputs(), self.name)
        if not outputs:
            raise self._not_ready()
        self.source = input_of(*outputs)
        return self._engine.read_parquet([read_output(self.store, output, AS_FILE) for output in outputs])

    def _outputs(self) -> Mapping[str, Output]:
        staged = self.run.staged_outputs(self.key) if self.run else {}
        return staged if self.name in staged else self._committed_outputs()

    def _digest(self, data: TableInParts) -> str:
        code = {"revision": self.run.code_revision, "environment": self.run.environment} if self.run else {}
        shape = {"part_rows": data.part_rows, "slice_rows": data.slice_rows, "rows": data.rows, "order": data.sorted_by}
        return sha256(to_json({**data.basis, **shape, **code})).hexdigest()[:16]

    def _kept(self, folder: str, number: int) -> Output | None:
        """Return a part that is there as its receipt says, or None."""
        receipt = f"{folder}/{self.name}.{number:05d}.json"
        if not self.store.exists(receipt):
            return None
        output = Output.model_validate_json(self.store.read(receipt))
        try:
            read_output(self.store, output, AS_FILE)
        except StoreError as error:
            LOG.warning("Part %s is made again: %s", number, error)
            return None
        return output

    def _keep(self, folder: str, number: int, table: pa.Table) -> Output:
        with temporary_folder() as name:
            file = Path(name) / "part.parquet"
            pq.write_table(table, file, compression="zstd", row_group_size=ROW_GROUP)
            digest = file_sha256(file)
            path = f"{folder}/{self.name}.{number:05d}-{digest[:12]}{self.format.suffix}"
            output = Output(path=path, sha256=digest, size=file.stat().st_size)
            self.store.upload(file, path)
        # The receipt comes last: with it the part is whole.
        self.store.write(f"{folder}/{self.name}.{number:05d}.json", to_json(output))
        return output


def _part_name(name: str, number: int) -> str:
    return f"{name}.{number:05d}" if number else name


def _cut(rows: Slice, size: int) -> list[Slice]:
    start, stop = rows
    return [(begin, min(stop, begin + size)) for begin in range(start, stop, size)]
