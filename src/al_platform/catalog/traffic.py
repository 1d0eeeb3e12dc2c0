"""Production traffic: the pages of a cycle, and the logs of production models of somebody else's."""

from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from al_platform.catalog.engines import DuckDBEngine, Engine, open_engine
from al_platform.catalog.formats import Expression, read_parquet
from al_platform.catalog.outputs import StoreDataset, stored_files
from al_platform.catalog.row_files import RowFiles
from al_platform.domain.errors import NotReadyError, SchemaError
from al_platform.schemas import PAGES, conform
from al_platform.sources import SourceOptions, open_source
from al_platform.storage.commit_log import Input
from al_platform.storage.erasures import ErasedPages
from al_platform.storage.store import Store

IMPORTED = "imported"
SHARED_FAMILY = "all"


class Traffic(StoreDataset):
    """The pages of the cycle, as a ``Pages``. A simulated source writes a cycle's pages at their first use."""

    def __init__(self, *, traffic: Mapping[str, Any], engine: Mapping[str, Any] | None = None, **where: Any):
        """Create the dataset.

        Args:
            traffic: ``source`` and ``options`` of ``globals.yml``.
            engine: ``EngineOptions``: where pages are queried and scored.
            where: Root and cycle.
        """
        super().__init__(family=SHARED_FAMILY, **where)
        self._traffic = traffic
        self._engine = open_engine(engine)

    def _load(self) -> "Pages":
        files = stored_pages(self.store, self.cycle, self._traffic)
        self.source = Input.of_files(f"{self.cycle}/pages", stored_files(self.store, files))
        return Pages([self.store.local(file) for file in files], self._engine, self.source.sha256)


class Pages(RowFiles):
    """The pages of one cycle, in files, read in slices or as an expression.

    Attributes:
        engine: Where they are queried and scored.
        digest: What they hash to; None where that is not known.
    """

    def __init__(self, files: Sequence[Path], engine: Engine | None = None, digest: str | None = None):
        super().__init__(files)
        self.engine = engine or DuckDBEngine()
        self.digest = digest

    def rows(self, start: int, stop: int) -> pa.Table:
        """Return the pages from number ``start`` up to ``stop``, with the columns of ``schemas.PAGES`` first."""
        return conform(super().rows(start, stop), PAGES, "pages")

    def expression(self) -> Expression:
        """Return all pages as an Ibis expression."""
        return self.engine.read_parquet(self.files)


def stored_pages(store: Store, cycle: str, traffic: Mapping[str, Any]) -> list[str]:
    """Return the page files of a cycle; a simulated source writes them first where there are none.

    Raises:
        NotReadyError: No pages have been imported for this cycle.
    """
    folder = f"{cycle}/pages"
    if not store.list(folder):
        if traffic["source"] == IMPORTED:
            raise NotReadyError(
                f"There are no pages for cycle {cycle}. Bring them in with: kedro al import-pages FILE --cycle {cycle}"
            )
        source = open_source(traffic["source"], SourceOptions.model_validate(traffic["options"]))
        add_table(store, folder, without_erased(store, source.pages(cycle)))
    return store.list(folder)


def without_erased(store: Store, pages: pa.Table) -> pa.Table:
    """Return the rows of a simulated source whose page was not erased: the same page may come again every month."""
    erased = ErasedPages.of(store)
    if not erased.digests:
        return pages
    return pages.filter(pa.array([page_id not in erased for page_id in pages["page_id"].to_pylist()], pa.bool_()))


def add_table(store: Store, folder: str, table: pa.Table, digest: str | None = None) -> bool:
    """Store a table after those that are there; return whether it is new.

    Args:
        store: Where.
        folder: The tables' folder.
        table: What to store.
        digest: What decides whether it is there already; by default that of the stored bytes.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", row_group_size=8192)
    data = sink.getvalue().to_pybytes()
    path = _new_file(store, folder, digest or sha256(data).hexdigest()[:32])
    if path is not None:
        store.write(path, data)
    return path is not None


def add_file(store: Store, folder: str, file: Path, digest: str) -> None:
    """Store a Parquet file after the tables that are there, unless one of this digest is."""
    path = _new_file(store, folder, digest)
    if path is not None:
        store.upload(file, path)


def _new_file(store: Store, folder: str, digest: str) -> str | None:
    """Return where the table of this digest is to lie; None where it lies already."""
    stored = store.list(folder)
    if any(path.endswith(f"-{digest}.parquet") for path in stored):
        return None
    return f"{folder}/{len(stored) + 1:04d}-{digest}.parquet"


def has_table(store: Store, folder: str, digest: str) -> bool:
    """Return whether the folder holds the table of this digest."""
    return any(file.endswith(f"-{digest}.parquet") for file in store.list(folder))


class ImportedPredictions(StoreDataset):
    """The imported log of a production model for this cycle, an ``ImportedLog``; None where there is none."""

    def _load(self) -> "ImportedLog | None":
        folder = predictions_folder(self.family, self.cycle)
        files = self.store.list(folder)
        self.source = Input.of_files(folder, stored_files(self.store, files))
        if not files:
            return None
        return ImportedLog([self.store.local(file) for file in files], self.source.sha256)


class ImportedLog(RowFiles):
    """Imported predictions (``schemas.PREDICTIONS``), of which those that come later count.

    Attributes:
        digest: What they hash to.
    """

    def __init__(self, files: Sequence[Path], digest: str | None):
        super().__init__(files)
        self.digest = digest


def predictions_folder(family: str, cycle: str) -> str:
    """Return where the imported predictions of a family and cycle lie below the traffic root."""
    return f"{cycle}/predictions/{family}"


def truth_of(
    store: Store, cycle: str, traffic: Mapping[str, Any], column: str, page_ids: Collection[str]
) -> dict[str, list[str]]:
    """Return the true answers about some pages, by page id: what simulated annotators know.

    Pages that are not among those of the cycle are looked for in the cycles before it, the newest first.

    Raises:
        SchemaError: The pages of the cycle have no such column.
    """
    asked = pa.array(sorted(page_ids), pa.string())
    answers: dict[str, list[str]] = {}
    for month in [cycle, *_cycles_before(store, cycle)]:
        if len(answers) == len(asked):
            break
        found: dict[str, list[str] | None] = {}
        for file in stored_pages(store, month, traffic):
            table = read_parquet(store.local(file))
            if column in table.column_names:
                rows = table.filter(pc.is_in(table["page_id"], value_set=asked))
                found |= dict(zip(rows["page_id"].to_pylist(), rows[column].to_pylist(), strict=True))
            elif month == cycle:
                raise SchemaError(
                    f"Simulated annotators look for the truth in column {column!r}, which the pages of {cycle} lack. "
                    f"Map it when importing (--map {column}=YOUR_COLUMN), or set annotation.backend to 'exchange'."
                )
        answers |= {page: values for page, values in found.items() if values is not None and page not in answers}
    return answers


def _cycles_before(store: Store, cycle: str) -> list[str]:
    """Return the cycles before this one whose pages are stored, the newest first."""
    found = {path.split("/")[0] for path in store.list("") if path.split("/")[1:2] == ["pages"]}
    return sorted((month for month in found if month < cycle), reverse=True)
