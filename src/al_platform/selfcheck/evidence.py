"""What lies in the stores, read anew each time: an index would remember what was deleted since."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from typing import Any

import pyarrow as pa

from al_platform.catalog.champion import ChampionEntry, champion_log
from al_platform.catalog.formats import format_named
from al_platform.catalog.outputs import read_output
from al_platform.config import FamilyConfigLoader
from al_platform.dashboard.options import DashboardOptions
from al_platform.domain.errors import AlPlatformError
from al_platform.health.audit import verify_environment
from al_platform.health.erasing import StoredTombstone, find_damaged, find_unfinished, read_tombstones
from al_platform.health.problem import Problem
from al_platform.health.stores import TendedStores
from al_platform.monitoring.findings import Findings
from al_platform.reports.figures import CheckFigures, SetFigures, VerdictFigures, set_figures
from al_platform.selfcheck.options import SelfcheckOptions
from al_platform.stages import STAGE
from al_platform.storage.audit_check import Verification
from al_platform.storage.commit_log import Manifest, StageKey, committed_cycles, head
from al_platform.stores import Stores


class NoEvidenceError(AlPlatformError):
    """There is no evidence for a check: what was looked for, and what to do."""

    def __init__(self, seen: str, todo: str):
        super().__init__(seen)
        self.seen = seen
        self.todo = todo


@dataclass(frozen=True)
class PlatformEvidence:
    """What all families share.

    Attributes:
        loader: Of the environment.
        options: Of the checks.
        limits: The dashboard's: when a stage is late, and a run lost.
        now: UTC.
    """

    loader: FamilyConfigLoader
    options: SelfcheckOptions
    limits: DashboardOptions
    now: datetime

    @classmethod
    def of(cls, loader: FamilyConfigLoader, now: datetime) -> "PlatformEvidence":
        """Return the evidence of an environment; nothing is read yet."""
        return cls(
            loader, loader.options("selfcheck", SelfcheckOptions), loader.options("dashboard", DashboardOptions), now
        )

    # Each is asked for once a family; the objects live as long as one command.
    @cached_property
    def stores(self) -> TendedStores:
        """The stores; ConfigError in an experiment."""
        return TendedStores.of(self.loader)

    @cached_property
    def audit(self) -> Verification:
        """What a check of the audit log finds."""
        return verify_environment(self.loader)

    @cached_property
    def tombstones(self) -> list[StoredTombstone]:
        """What privacy erasures left."""
        return read_tombstones(self.stores)

    @property
    def unfinished_erasures(self) -> list[Problem]:
        """What erasures announced and did not do."""
        return [*find_damaged(self.tombstones), *find_unfinished(self.stores, self.tombstones, quick=False)]

    @cached_property
    def families(self) -> "tuple[FamilyEvidence, ...]":
        """What each family has of its own."""
        return tuple(FamilyEvidence(name, self) for name in self.loader.families)


class FamilyEvidence:
    """What one family committed, and what monitoring found of it."""

    def __init__(self, name: str, platform: PlatformEvidence):
        """Prepare; nothing is read yet."""
        self.name = name
        self.platform = platform
        self.stores: Stores = platform.stores
        # A method's cache would keep the object alive; these go with it.
        self.cycles = cache(self._cycles)
        self.commit = cache(self._commit)

    def newest(self, stage: str) -> Manifest:
        """Return the newest commit of a stage; NoEvidenceError before the first."""
        cycles = self.cycles(stage)
        if not cycles:
            raise NoEvidenceError(f"{stage} was never committed", f"Run: kedro run --pipelines={STAGE[stage].cadence}")
        return self.commit(stage, cycles[-1])

    def all(self, stage: str) -> list[Manifest]:
        """Return the head of every cycle of a stage, oldest first."""
        return [self.commit(stage, cycle) for cycle in self.cycles(stage)]

    def json(self, manifest: Manifest, name: str) -> dict[str, Any]:
        """Return a JSON output, which must still be what was committed; StoreError otherwise."""
        found: dict[str, Any] = self._read(manifest, name, "json")
        return found

    def table(self, manifest: Manifest, name: str) -> pa.Table:
        """Return a Parquet output, all its parts; StoreError where one is not what was committed."""
        names = [part for part in manifest.outputs if part == name or part.startswith(f"{name}.")]
        return pa.concat_tables([self._read(manifest, part, "parquet") for part in sorted(names) or [name]])

    @property
    def verdict(self) -> VerdictFigures:
        """What the gate decided last."""
        return VerdictFigures.model_validate(self.json(self.newest("evaluation"), "verdict"))

    def check(self, name: str) -> CheckFigures | None:
        """Return a check of the newest verdict; None where the gate did not make it."""
        return next((check for check in self.verdict.checks if check.name == name), None)

    @property
    def figures(self) -> dict[str, SetFigures]:
        """What evaluation measured last."""
        return set_figures(self.json(self.newest("evaluation"), "evaluation"))

    @cached_property
    def champions(self) -> list[ChampionEntry]:
        """The champion log; NoEvidenceError before the first."""
        found = list(champion_log(self.stores.by_class["champion"], self.name))
        if not found:
            raise NoEvidenceError("there is no champion yet", "Run: kedro run --pipelines=quarterly")
        return found

    @cached_property
    def findings(self) -> list[Findings]:
        """What monitoring kept, oldest month first; NoEvidenceError where it never looked."""
        logs = self.stores.by_class["logs"]
        found = [Findings.model_validate_json(logs.read(path)) for path in logs.list(f"monitoring/{self.name}")]
        if not found:
            raise NoEvidenceError("monitoring never looked", "Run kedro al monitor after each month.")
        return sorted(found, key=lambda each: each.cycle)

    def _cycles(self, stage: str) -> list[str]:
        return committed_cycles(self.stores.of_stage(stage), self.name, stage)

    def _commit(self, stage: str, cycle: str) -> Manifest:
        manifest = head(self.stores.of_stage(stage), StageKey(self.name, cycle, stage))
        assert manifest is not None, "its log has an entry"
        return manifest

    def _read(self, manifest: Manifest, name: str, file_format: str) -> Any:
        output = manifest.outputs.get(name)
        if output is None:
            raise NoEvidenceError(
                f"{manifest.stage} of {manifest.cycle} wrote no {name}", f"Run {manifest.stage} again."
            )
        return read_output(self.stores.of_stage(manifest.stage), output, format_named(file_format))
