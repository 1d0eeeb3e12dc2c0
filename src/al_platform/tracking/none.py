"""No tracker: nothing is sent, nothing is imported."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from al_platform.domain.errors import TrackerError
from al_platform.tracking.tracked_run import FitHeader, TrackedRun
from al_platform.tracking.tracker import Fit, Found


class NoTracker:
    """Implements ``Tracker`` by doing nothing."""

    target = "none"

    def publish(self, runs: Sequence[TrackedRun]) -> Iterator[str]:
        return iter(())

    def send_fit(self, file: Path) -> None:
        raise TrackerError("Nothing can be sent: tracking.backend is none.")

    @contextmanager
    def fit(self, header: FitHeader, folder: Path) -> Iterator[Fit]:
        yield Fit()

    def find(self, filters: Mapping[str, str]) -> list[Found]:
        raise TrackerError("There is no tracker to ask: tracking.backend is none. Leave --from tracker out.")
