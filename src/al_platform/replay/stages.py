"""The real stages of one family and month: a Kedro session of the project each, in a store that the run names."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.session import KedroSession

from al_platform.config import FamilyConfigLoader
from al_platform.runner import FamilyRunner


class TimedRunner(FamilyRunner):
    """The project's runner, which knows how long the nodes took, with what they load, save and commit.

    Attributes:
        cpu_s: Processor seconds of this process.
        wall_s: Seconds.
    """

    cpu_s = 0.0
    wall_s = 0.0

    def _run(self, *args: Any, **kwargs: Any) -> None:
        began, cpu = time.monotonic(), time.process_time()
        try:
            super()._run(*args, **kwargs)
        finally:
            self.cpu_s += time.process_time() - cpu
            self.wall_s += time.monotonic() - began


class _Session(KedroSession):
    """A session with one context: reading the configuration anew would take a tenth of a small month."""

    _context: KedroContext | None = None

    def load_context(self) -> KedroContext:
        if self._context is None:
            self._context = super().load_context()
        return self._context


@dataclass(frozen=True)
class Loop:
    """A place where months and quarters run.

    Attributes:
        project: The project's folder.
        env: Kedro configuration environment.
        parameters: Runtime parameters beside the cycle.
    """

    project: Path
    env: str | None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def run(self, pipeline: str, cycle: str, runner: FamilyRunner | None = None) -> FamilyConfigLoader:
        """Run what has not been committed of a pipeline, and return the configuration it ran with.

        The project is the one that Kedro was told of: ``bootstrap_project`` takes longer than a small month.
        """
        parameters = {"cycle": cycle, **self.parameters}
        with _Session.create(self.project, env=self.env, runtime_params=parameters) as session:
            assert isinstance(session, _Session)
            session.run(
                pipeline_names=[pipeline],
                namespaces=self.parameters.get("families"),
                runner=runner or FamilyRunner(),
                only_missing_outputs=True,
            )
            loader = session.load_context().config_loader
            assert isinstance(loader, FamilyConfigLoader)
            return loader
