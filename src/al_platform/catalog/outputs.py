"""Outputs of stages: staged by a run, committed by the stage's report, read from the commit log."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
from kedro.io import AbstractDataset, DatasetError

from al_platform.catalog.formats import Format, format_named
from al_platform.catalog.previews import (
    PLOTS,
    ROWS,
    TABLES,
    JSONPreview,
    PlotlyPreview,
    TablePreview,
    json_preview,
    records_preview,
    table_preview,
)
from al_platform.domain.cycles import parse_cycle
from al_platform.domain.errors import ConfigError, NotReadyError, StoreError, known_names
from al_platform.storage.commit_log import File, Input, Output, StageKey, file_sha256, head
from al_platform.storage.erasures import accepts
from al_platform.storage.run import Run
from al_platform.storage.scratch import temporary_folder
from al_platform.storage.store import Root, Store, open_store


class StoreDataset(AbstractDataset[Any, Any]):
    """A dataset that belongs to a stage of a family and cycle, and takes part in a run.

    Attributes:
        reads_own: Whether it holds what its own stage has committed for this cycle: a later run builds on that.
    """

    reads_own = False

    def __init__(self, *, root: Root, family: str, cycle: str, metadata: dict[str, Any] | None = None):
        """Create the dataset.

        Args:
            root: Root of this class of data.
            family: The model family.
            cycle: The cycle of the run.
            metadata: For Kedro-Viz.

        Raises:
            ConfigError: The root or the cycle cannot be used.
        """
        self.store: Store = open_store(root)
        self.family = family
        self.cycle = parse_cycle(cycle)
        self.metadata = metadata
        self.run: Run | None = None
        self.source: Input | None = None

    def bind(self, run: Run) -> None:
        """Take part in ``run``: what it staged is read, and what is saved is staged in it."""
        self.run = run

    def current(self) -> Input | None:
        """Return what would be read now, at little cost; None where that cannot be told."""
        return None

    def _save(self, data: Any) -> None:
        raise DatasetError(f"{self.family} {type(self).__name__} is read only; see 'kedro al --help' to bring data in.")

    def _describe(self) -> dict[str, Any]:
        return {"root": self.store.root, "family": self.family, "cycle": self.cycle}


class StageOutput(StoreDataset):
    """One output of a stage of one cycle."""

    def __init__(
        self,
        *,
        stage: str,
        name: str,
        format: str = "parquet",
        optional: bool = False,
        shown_as: str | None = None,
        **where: Any,
    ):
        """Create the dataset; see ``StoreDataset`` for ``where``.

        Args:
            stage: The stage that writes it.
            name: Its name, without the family.
            format: ``parquet``, ``json`` or ``html``.
            optional: Load None, instead of failing, where nothing was written.
            shown_as: How Kedro-Viz previews JSON: a plot or table of ``previews``; by default as it is.
            where: Root, family and cycle.
        """
        super().__init__(**where)
        self.key = StageKey(self.family, self.cycle, stage)
        self.name = name
        self.optional = optional
        self.format: Format = format_named(format)
        # Kedro-Viz previews what has ``preview``: a report is opened in a browser instead.
        self._shown_as = shown_as or ""
        if format != "html":
            self.preview = self._previewer(shown_as)

    def _save(self, data: Any) -> None:
        if self.run is None:
            raise ConfigError(f"{self.name} of {self.key.stage} is written by a run of its stage only.")
        target = f"{self.key.attempt(self.run.run_id)}/{self.name}{self.format.suffix}"
        with temporary_folder() as folder:
            file = Path(folder) / f"{self.name}{self.format.suffix}"
            self.format.dump(data, file)
            self.store.upload(file, target)
            self._stage(Output(path=target, sha256=file_sha256(file), size=file.stat().st_size))

    def _stage(self, output: Output) -> None:
        if self.run is not None:
            self.run.attempt(self.key, self.store).outputs[self.name] = output

    def _load(self) -> Any:
        output = self._staged() or self._committed()
        if output is None and self.optional:
            self.source = None
            return None
        if output is None:
            raise self._not_ready()
        self.source = input_of(output)
        return read_output(self.store, output, self.format)

    def current(self) -> Input | None:
        """Return what would be read now."""
        output = self._staged() or self._committed()
        return input_of(output) if output else None

    def _exists(self) -> bool:
        return self._committed() is not None

    def _previewer(self, shown_as: str | None) -> Callable[[], Any]:
        if shown_as is None:
            return self._preview_json if self.format.suffix == ".json" else self._preview_table
        if shown_as not in {*PLOTS, *TABLES}:
            known = known_names(shown_as, [*PLOTS, *TABLES])
            raise ConfigError(f"{self.name} cannot be shown as {shown_as!r}. {known}")
        return self._preview_plot if shown_as in PLOTS else self._preview_rows

    def _preview_table(self) -> TablePreview:
        data = self._load()
        return table_preview(data if isinstance(data, pa.Table) else _first_rows(data))

    def _preview_json(self) -> JSONPreview:
        return json_preview(StageOutput._load(self))

    def _preview_plot(self) -> PlotlyPreview:
        return PLOTS[self._shown_as](StageOutput._load(self))

    def _preview_rows(self) -> TablePreview:
        return records_preview(TABLES[self._shown_as](StageOutput._load(self)))

    def _staged(self) -> Output | None:
        return self.run.staged(self.key, self.name) if self.run else None

    def _committed(self) -> Output | None:
        return self._committed_outputs().get(self.name)

    def _committed_outputs(self) -> Mapping[str, Output]:
        manifest = head(self.store, self.key)
        return manifest.outputs if manifest else {}

    def _not_ready(self) -> NotReadyError:
        return NotReadyError(
            f"Asked for {self.name} of {self.family} {self.cycle}, but {self.key.stage} has not been committed "
            f"for that cycle. Run: kedro run --pipeline={self.key.stage} --params cycle={self.cycle}"
        )

    def _describe(self) -> dict[str, Any]:
        return {**super()._describe(), "stage": self.key.stage, "name": self.name}


class SealedOutput(StageOutput):
    """An output that can be written once: the first save of a cycle stands, and later saves keep it.

    What people are asked to label must not change under them, nor depend on whether a run was killed between
    asking and committing.
    """

    def __init__(self, **output: Any):
        """Create the dataset; see ``StageOutput``."""
        super().__init__(**output)
        self._path = f"{self.key.prefix}/sealed/{self.name}{self.format.suffix}"

    def _save(self, data: Any) -> None:
        with temporary_folder() as folder:
            file = Path(folder) / self.name
            self.format.dump(data, file)
            with suppress(FileExistsError):
                self.store.create(self._path, file.read_bytes())
        self._stage(self._sealed())

    def _load(self) -> Any:
        if self.optional and not self.store.exists(self._path):
            self.source = None
            return None
        sealed = self._sealed()
        self.source = input_of(sealed)
        return read_output(self.store, sealed, self.format)

    def _sealed(self) -> Output:
        if not self.store.exists(self._path):
            raise NotReadyError(f"Nothing is sealed for {self.family} {self.cycle}: run {self.key.stage} first.")
        data = self.store.read(self._path)
        return Output(path=self._path, sha256=sha256(data).hexdigest(), size=len(data))


def _first_rows(expression: Any) -> pa.Table:
    from al_platform.domain.selection.engine import to_arrow  # Ibis takes a third of a second to import

    return to_arrow(expression.limit(ROWS))


def input_of(*outputs: Output) -> Input:
    """Return a stage's outputs as an input of another stage."""
    files = [File(path=output.path, sha256=output.sha256) for output in outputs]
    return Input.of_files(", ".join(output.path for output in outputs), files)


def stored_files(store: Store, paths: list[str]) -> list[File]:
    """Return files of the store with what their bytes hash to."""
    return [File(path=path, sha256=file_sha256(store.local(path))) for path in paths]


def read_output(store: Store, output: Output, file_format: Format) -> Any:
    """Return the object in a stage's output file.

    Raises:
        StoreError: The file is missing, or was changed after it was written by anything but an erasure.
    """
    file = store.local(output.path)
    if not file.exists():
        raise StoreError(f"The log points to {output.path}, which is missing from {store.root}.")
    found = file_sha256(file)
    if found != output.sha256 and not accepts(store, output.path, output.sha256, found):
        raise StoreError(
            f"{output.path} in {store.root} was changed after it was written: its SHA-256 is {found[:12]}, "
            f"the manifest says {output.sha256[:12]}. Restore the file."
        )
    return file_format.load(file)
