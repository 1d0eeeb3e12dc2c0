"""What every tracker can do."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from al_platform.tracking.tracked_run import FitHeader, TrackedRun

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger


@dataclass(frozen=True)
class Found:
    """A run as the tracker itself tells of it.

    Attributes:
        id: ``TrackedRun.id``.
        config: As published.
        summary: As published; a tracker may have added its own.
        url: Where to look at it, if anywhere.
    """

    id: str
    config: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    url: str | None = None


class Tracker(Protocol):
    """Where runs are looked at.

    What may hang or fail, ``publish``, ``send_fit`` and ``find``, runs in a process of its own that is ended when its
    time is over; see ``tracking.sender``. Publishing again what is there already changes nothing.
    """

    @property
    def target(self) -> str:
        """Names the place that runs go to, such as a server and project: what was sent there is remembered by it."""
        ...

    def publish(self, runs: Sequence[TrackedRun]) -> Iterator[str]:
        """Publish runs of which none needs another one, and yield the id of each that is safely there.

        Raises:
            TrackerError: One did not arrive; those that were not yielded are to be published again.
        """
        ...

    def send_fit(self, file: Path) -> None:
        """Send what a training left behind, as ``fit`` wrote it.

        Raises:
            TrackerError: It did not arrive.
        """
        ...

    def fit(self, header: FitHeader, folder: Path) -> "AbstractContextManager[Fit]":
        """Follow a training.

        Args:
            header: What it says of itself.
            folder: On this machine, for what is to be sent later.
        """
        ...

    def find(self, filters: Mapping[str, str]) -> list[Found]:
        """Return the runs whose config has these values.

        Raises:
            TrackerError: The tracker does not answer, or cannot be asked.
        """
        ...


@dataclass
class Fit:
    """A training that is being followed.

    Attributes:
        logger: For the Lightning trainer; None where nothing follows it.
        left_behind: When it is over: the file that is to be sent, if any.
    """

    logger: "Logger | None" = None
    left_behind: Path | None = None
