"""What W&B's server is asked through W&B's public API: which runs it has, and which artifacts one of them read."""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from al_platform.domain.errors import TrackerError
from al_platform.storage.redaction import redact
from al_platform.tracking.options import TrackingOptions
from al_platform.tracking.tracked_run import Cell, TrackedArtifact, TrackedRun
from al_platform.tracking.tracker import Found

LOG = logging.getLogger("al_platform")
_DIGEST_CHARS = 12
_PAGE = 500  # runs a request
_ENDED = ("finished", "failed")
_NO_PROJECT = "Could not find project"


def wandb_library() -> Any:
    """Return the module ``wandb``, told to report no errors of its own."""
    # Read when it is imported.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    return wandb


def has_account() -> bool:
    """Return whether W&B would find credentials without asking a person."""
    named = os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE")
    return bool(named) or Path(os.environ.get("NETRC", "~/.netrc")).expanduser().exists()


def require_account() -> None:
    """Refuse early and without a question what W&B would ask a person at a terminal."""
    if not has_account():
        raise TrackerError(
            "W&B needs an account to send anything to. Set WANDB_API_KEY (from the settings of your account), or write "
            "files to carry to where there is one: kedro al sync --to FOLDER."
        )


def version_alias(artifact: TrackedArtifact) -> str:
    """Return the alias that names a version by its digest."""
    return f"sha-{artifact.sha256[:_DIGEST_CHARS]}"


@dataclass(frozen=True)
class Arrived:
    """How many lines of a run's history are there, and whether its end is."""

    lines: int = 0
    is_whole: bool = False


class WandbServer:
    """Asks one project. Everything raises TrackerError where the server does not answer."""

    def __init__(self, options: TrackingOptions):
        """Prepare; nothing is asked yet."""
        self._options = options
        self._place = f"{options.entity}/{options.project}" if options.entity else options.project

    def find(self, filters: Mapping[str, str]) -> list[Found]:
        """Return the runs whose config has these values, oldest first."""
        asked = {f"config.{name}.value": value for name, value in filters.items()}
        with self._errors(f"W&B does not answer for {self._place}"):
            # Not lazy: configs and summaries come with the list, not with a request a run.
            found = self._runs(asked, is_lazy=False)
            return [Found(run.id, dict(run.config), dict(_figures(run.summary)), run.url) for run in found]

    def arrived(self, ids: Iterable[str]) -> dict[str, Arrived]:
        """Return what it has of the runs of these ids; one request."""
        with self._errors(f"W&B does not tell what it has of {self._place}"):
            found = self._runs({"name": {"$in": list(ids)}}, is_lazy=True)
            return {run.id: Arrived(run.historyLineCount or 0, run.state in _ENDED) for run in found}

    def link(self, run: TrackedRun) -> None:
        """Tell it what a run that is there read: only a server knows the artifacts of other runs."""
        what = f"W&B took {run.name}, but not what it read"
        todo = " For a server that knows no artifacts set lineage to false in tracking.yml."
        with self._errors(what, todo):
            api = self._api()
            place = f"{self._options.entity or api.default_entity}/{self._options.project}"
            names = {f"{place}/{each.name}:{version_alias(each)}": each.kind for each in run.uses}
            known = [name for name, kind in names.items() if api.artifact_exists(name, type=kind)]
            if unknown := sorted(names.keys() - set(known)):
                LOG.info("%s reads what W&B does not know, so that no line leads to it: %s", run.name, unknown)
            if known:
                # Without opening the run again: that takes seconds, and starts its clock anew.
                told = api.run(f"{place}/{run.id}")
                for name in known:
                    told.use_artifact(api.artifact(name))

    def _runs(self, filters: Mapping[str, Any], *, is_lazy: bool) -> list[Any]:
        try:
            found = self._api().runs(self._place, dict(filters), order="+created_at", per_page=_PAGE, lazy=is_lazy)
            return list(found)
        except ValueError as error:
            if _NO_PROJECT in str(error):  # it comes with its first run
                return []
            raise

    def _api(self) -> Any:
        server = {"base_url": self._options.server} if self._options.server else {}
        return wandb_library().Api(overrides=server, timeout=int(self._options.timeout_s))

    @contextmanager
    def _errors(self, what: str, todo: str = "") -> Iterator[None]:
        require_account()
        wandb = wandb_library()
        from wandb.apis.public.service_api import WandbApiFailedError

        try:
            yield
        except (wandb.Error, WandbApiFailedError, OSError, ValueError) as error:
            raise TrackerError(f"{what}: {redact(str(error))}.{todo}") from error


def _figures(summary: Mapping[str, Any]) -> Iterator[tuple[str, Cell]]:
    """Yield what was published: W&B adds its own, and what stands for tables and drawings."""
    for name, value in summary.items():
        if not name.startswith("_") and isinstance(value, str | int | float):
            yield name, value
