"""The tracker that the configuration names. Its library is imported when it is first needed."""

from pathlib import Path

from al_platform.domain.errors import ConfigError
from al_platform.tracking.none import NoTracker
from al_platform.tracking.options import TrackingOptions
from al_platform.tracking.tracker import Tracker


def open_tracker(options: TrackingOptions, project: Path, into: Path | None = None) -> Tracker:
    """Return the tracker.

    Args:
        options: Which, and how.
        project: The project's folder, for a tracker that lies in it.
        into: Folder for the tracker's own offline files, instead of sending anything; W&B's alone.
    """
    if into is not None and options.backend != "wandb":
        raise ConfigError(f"Only W&B writes files to be carried elsewhere, and tracking.backend is {options.backend}.")
    match options.backend:
        case "wandb":
            from al_platform.tracking.wandb_tracker import WandbTracker

            return WandbTracker(options, into)
        case "mlflow":
            from al_platform.tracking.mlflow_tracker import MlflowTracker

            return MlflowTracker(options, project)
        case "none":
            return NoTracker()
