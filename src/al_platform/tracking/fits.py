"""How a training is followed: what its node is handed, so that the node itself knows no tracker."""

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from al_platform.storage.redaction import redact, redacted
from al_platform.tracking.tracked_run import FitHeader
from al_platform.tracking.tracker import Tracker

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

LOG = logging.getLogger("al_platform")


class FollowedFits(Protocol):
    """Follows trainings."""

    def follow(self, config: Mapping[str, Any]) -> AbstractContextManager["Logger | None"]:
        """Give a training its logger, None where nothing follows it; nothing of it is lost or stopped by a tracker.

        Args:
            config: What the training says of itself.
        """
        ...


class NothingFollows:
    """Implements ``FollowedFits`` where no tracker is asked for, and for rebuilds."""

    @contextmanager
    def follow(self, config: Mapping[str, Any]) -> Iterator[None]:
        yield None


class TrackedFits:
    """Implements ``FollowedFits`` with a tracker."""

    def __init__(self, tracker: Tracker, header: FitHeader, folder: Path, keep: Callable[[Path], None]):
        """Prepare; nothing is imported or written yet.

        Args:
            tracker: Where curves go.
            header: Of the tracker's run.
            folder: On this machine, for what is to be sent later.
            keep: Copies what is to be sent to where it outlives this machine; raises OSError or StoreError.
        """
        self._tracker = tracker
        self._header = header
        self._folder = folder
        self._keep = keep

    @contextmanager
    def follow(self, config: Mapping[str, Any]) -> Iterator["Logger | None"]:
        header = self._header.model_copy(update={"config": redacted({**self._header.config, **config})})
        guarded = _Guarded()
        fit = guarded.enter(lambda: self._tracker.fit(header, self._folder))
        try:
            yield fit.logger if fit else None
        except BaseException as error:
            guarded.leave(error)
            raise
        else:
            guarded.leave(None)
        finally:
            self._put_by(fit.left_behind if fit else None)

    def _put_by(self, file: Path | None) -> None:
        try:
            if file:
                self._keep(file)
        except Exception as error:  # noqa: BLE001 - the training is over and good, whatever became of its curves
            LOG.warning("The curves of %s stay on this machine until 'kedro al sync': %s", self._header.name, error)
        else:
            shutil.rmtree(self._folder, ignore_errors=True)
            with suppress(OSError):  # other families of the run may be at work
                self._folder.parent.rmdir()


class _Guarded:
    """Enters and leaves a tracker's context; what that raises is logged, and nothing else happens."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def enter(self, begin: Callable[[], AbstractContextManager[Any]]) -> Any:
        try:
            return self._stack.enter_context(begin())
        except Exception as error:  # noqa: BLE001 - whatever the tracker's library raises, the training goes on
            LOG.warning("No tracker follows this training, which goes on: %s", redact(str(error)))
            return None

    def leave(self, error: BaseException | None) -> None:
        try:
            self._stack.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)
        except Exception as problem:  # noqa: BLE001 - as above
            if problem is not error:
                LOG.warning("The tracker did not take the end of this training: %s", redact(str(problem)))
