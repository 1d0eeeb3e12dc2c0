"""The tracker as a training meets it: a catalog entry, so that no node knows one."""

import os
from hashlib import sha256
from pathlib import Path
from typing import Any

from al_platform.catalog.outputs import StoreDataset
from al_platform.tracking.fits import FollowedFits, NothingFollows, TrackedFits
from al_platform.tracking.options import TrackingOptions
from al_platform.tracking.registry import open_tracker
from al_platform.tracking.tracked_run import FitHeader, group_name, tracker_id

FIT = "fit"


class TrainingLogger(StoreDataset):
    """What follows a training while it runs."""

    def __init__(self, *, tracking: dict[str, Any], project: str, experiment: str | None = None, **where: Any):
        """Create the dataset.

        Args:
            tracking: See ``TrackingOptions``.
            project: The project's folder.
            experiment: Name of the experiment that runs, if any.
            where: Root of logs, family and cycle.
        """
        super().__init__(**where)
        self._options = TrackingOptions.model_validate(tracking)
        self._project = Path(project)
        self._experiment = experiment

    def _load(self) -> FollowedFits:
        if self.run is None or self._options.backend == "none":
            return NothingFollows()
        folder = unsent_fits(self.store.root) / self.run.run_id / self.family
        tracker = open_tracker(self._options, self._project)
        return TrackedFits(tracker, self._header(self.run.run_id), folder, self._keep)

    def _header(self, run_id: str) -> FitHeader:
        known = {"family": self.family, "cycle": self.cycle, "stage": FIT, "run_id": run_id}
        return FitHeader(
            id=tracker_id(self.family, self.cycle, FIT, run_id),
            name=f"{self.family} {self.cycle} {FIT}",
            group=group_name(self.family, self.cycle, self._experiment),
            tags=tuple(tag for tag in (self.family, self.cycle, self._experiment) if tag),
            config=known,
        )

    def _keep(self, file: Path) -> None:
        assert self.run is not None
        self.store.upload(file, f"runs/{self.run.run_id}/{FIT}/{file.name}")


def unsent_fits(logs_root: str) -> Path:
    """Return the folder of this machine where trainings leave what the store did not take, by run and family."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return cache / "al-platform" / "tracking" / sha256(logs_root.encode()).hexdigest()[:16]
