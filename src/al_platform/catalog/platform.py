"""The annotation platform as a catalog entry."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from al_platform.annotation import PlatformConnection
from al_platform.catalog.formats import format_named
from al_platform.catalog.outputs import StoreDataset, input_of, read_output
from al_platform.catalog.traffic import truth_of
from al_platform.schemas import ANNOTATIONS, QUARANTINE
from al_platform.storage.commit_log import StageKey, committed_cycles, head
from al_platform.storage.store import Root


class Platform(StoreDataset):
    """Loads a ``PlatformConnection``: where batches go and answers come from. Which kind it is, the family says."""

    def __init__(self, *, traffic_root: Root, traffic: Mapping[str, Any], **where: Any):
        """Create the dataset.

        Args:
            traffic_root: Where the pages lie, for simulated annotators.
            traffic: ``source`` and ``options`` of ``globals.yml``, for simulated annotators.
            where: Root, family and cycle.
        """
        super().__init__(**where)
        self._traffic_root = traffic_root
        self._traffic = traffic

    def _load(self) -> PlatformConnection:
        return PlatformConnection(
            store=self.store,
            prefix=f"{self.family}/platform",
            family=self.family,
            truth=lambda column: truth_of(self._traffic_root, self.cycle, self._traffic, column),
        )


@dataclass(frozen=True)
class Partition:
    """What this cycle's ingest has taken so far.

    Attributes:
        annotations: See ``schemas.ANNOTATIONS``.
        quarantine: See ``schemas.QUARANTINE``.
        is_sealed: Whether a later cycle has ingested: then nothing is added.
    """

    annotations: pa.Table
    quarantine: pa.Table
    is_sealed: bool


class LedgerPartition(StoreDataset):
    """This cycle's committed partition of the annotation ledger, as a ``Partition``."""

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
        if manifest is None:
            self.source = input_of()
            return Partition(ANNOTATIONS.empty_table(), QUARANTINE.empty_table(), bool(later))
        taken = [manifest.outputs[name] for name in ("annotations", "annotation_quarantine")]
        self.source = input_of(*taken)
        annotations, quarantine = (read_output(self.store, output, format_named("parquet")) for output in taken)
        return Partition(annotations, quarantine, bool(later))
