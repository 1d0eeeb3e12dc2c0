"""Makes the dashboard of an environment and puts it into its store."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from al_platform.config import FamilyConfigLoader
from al_platform.dashboard.evidence import FamilyEvidence, read_family, rows_by_family
from al_platform.dashboard.job_runs import JobRun, newest_runs
from al_platform.dashboard.links import Links
from al_platform.dashboard.options import DashboardOptions
from al_platform.dashboard.page import Source, build_dashboard
from al_platform.dashboard.render import render_dashboard
from al_platform.records.query import Wanted, find_runs
from al_platform.records.run_index import RunIndex, index_folder
from al_platform.records.shares import shares_folder
from al_platform.status import next_command, read_status
from al_platform.stores import Stores

FOLDER, NAME = "dashboard", "index.html"


class Gathered(NamedTuple):
    """All that the page says, wherever it will lie."""

    families: Sequence[FamilyEvidence]
    runs: Sequence[JobRun]
    source: Source
    options: DashboardOptions

    def page(self, links: Links) -> str:
        """Return the page with links that work from where it will lie."""
        source = replace(self.source, links=links)
        return render_dashboard(build_dashboard(self.families, self.runs, source, self.options))


def gather(loader: FamilyConfigLoader, now: datetime) -> Gathered:
    """Read what the dashboard of the loader's environment, or of one of its experiments, says.

    Args:
        loader: Of the environment.
        now: UTC.
    """
    options, settings = loader.options("dashboard", DashboardOptions), loader.validated_globals
    stores = Stores.of_environment(loader)
    logs = stores.by_class["logs"]
    rows = find_runs(RunIndex(stores, index_folder()).refresh(), Wanted())
    source = Source(
        environment=loader.env or "local",
        experiment=settings.experiment,
        currency=settings.costs.currency,
        # What reads every family's status only helps who has none.
        next_command=None if rows else next_command(read_status(loader)),
        # An experiment's report may be its own or production's: only a path says which.
        models_root=stores.by_class["models"].root if settings.experiment is None else None,
        logs_root=logs.root,
        links=Links(None),
        now=now,
    )
    families = [
        read_family(name, found, stores, settings.costs, options, shares_folder())
        for name, found in rows_by_family(rows, loader.families).items()
    ]
    return Gathered(families, newest_runs(logs, timedelta(hours=options.lost_after_hours)), source, options)


def publish(loader: FamilyConfigLoader, copy_to: Path | None = None) -> list[str]:
    """Write the dashboard into the store of the logs, and return where it lies.

    Args:
        loader: Of the environment, or of one of its experiments.
        copy_to: Folder of a copy. Its links reach what lies on this machine; of the rest it shows the path.
    """
    logs = Stores.of_environment(loader).by_class["logs"]
    found, folder = gather(loader, datetime.now(UTC)), f"{logs.root}/{FOLDER}"
    logs.write(f"{FOLDER}/{NAME}", found.page(Links(folder)).encode())
    if copy_to is None:
        return [f"{folder}/{NAME}"]
    copy_to.mkdir(parents=True, exist_ok=True)
    (copy_to / NAME).write_bytes(found.page(Links(None)).encode())
    return [f"{folder}/{NAME}", str(copy_to / NAME)]
