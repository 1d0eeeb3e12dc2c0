"""The annotation platform as a catalog entry."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from al_platform.annotation import PlatformConnection
from al_platform.catalog.formats import format_named
from al_platform.catalog.labels import imported_truth
from al_platform.catalog.outputs import StoreDataset, input_of, read_output
from al_platform.catalog.traffic import truth_of
from al_platform.schemas import ANNOTATIONS, PULLED_PAGES, QUARANTINE
from al_platform.storage.commit_log import Output, StageKey, committed_cycles, head
from al_platform.storage.store import Root, open_store


class Platform(StoreDataset):
    """Loads a ``PlatformConnection``: where batches go and answers come from. Which kind it is, the family says."""

    def __init__(
        self,
        *,
        traffic_root: Root,
        traffic: Mapping[str, Any],
        credentials: Mapping[str, str] | None = None,
        **where: Any,
    ):
        """Create the dataset.

        Args:
            traffic_root: Where the pages lie, for simulated annotators.
            traffic: ``source`` and ``options`` of ``globals.yml``, for simulated annotators.
            credentials: ``url`` and ``token`` of a platform that is a server.
            where: Root, family and cycle.
        """
        super().__init__(**where)
        self._credentials = credentials or {}
        self._traffic_root = traffic_root
        self._traffic = traffic

    def _load(self) -> PlatformConnection:
        return PlatformConnection(
            store=self.store,
            prefix=f"{self.family}/platform",
            family=self.family,
            truth=self._truth,
            credentials=self._credentials,
        )

    def _truth(self, column: str, page_ids: Collection[str]) -> dict[str, list[str]]:
        traffic = open_store(self._traffic_root)
        known = truth_of(traffic, self.cycle, self._traffic, column, page_ids)
        if missing := {*page_ids} - known.keys():
            # Pages that are asked about again may have come with a label, which is all that is known of them.
            known |= imported_truth(self.store, self.family, missing)
        return known


@dataclass(frozen=True)
class Partition:
    """What this cycle's ingest has taken so far.

    Attributes:
        annotations: See ``schemas.ANNOTATIONS``.
        quarantine: See ``schemas.QUARANTINE``.
        pulled: See ``schemas.PULLED_PAGES``.
        is_sealed: Whether a later cycle has ingested: then nothing is added.
    """

    annotations: pa.Table
    quarantine: pa.Table
    pulled: pa.Table
    is_sealed: bool


class LedgerPartition(StoreDataset):
    """This cycle's committed partition of the annotation ledger, as a ``Partition``."""

    reads_own = True

    def __init__(self, *, stage: str, **where: Any):
        """Create the dataset.

        Args:
            stage: The stage that commits the ledger.
            where: Root, family and cycle.
        """
        super().__init__(**where)
        self._stage = stage

    def _load(self) -> Partition:
        later = [cycle for cycle in committed_cycles(self.store, self.family, self._stage) if cycle > self.cycle]
        manifest = head(self.store, StageKey(self.family, self.cycle, self._stage))
        outputs = manifest.outputs if manifest else {}
        self.source = input_of(*(outputs[name] for name in _PARTS if name in outputs))
        return Partition(
            annotations=self._read(outputs, "annotations"),
            quarantine=self._read(outputs, "annotation_quarantine"),
            pulled=self._read(outputs, "pulled_pages"),
            is_sealed=bool(later),
        )

    def _read(self, outputs: Mapping[str, Output], name: str) -> pa.Table:
        if name not in outputs:
            return _PARTS[name].empty_table()
        table: pa.Table = read_output(self.store, outputs[name], format_named("parquet"))
        return table


_PARTS = {"annotations": ANNOTATIONS, "annotation_quarantine": QUARANTINE, "pulled_pages": PULLED_PAGES}
