"""What a notebook or a worker calls: one stage of one family and cycle, in a process of its own.

On a laptop ``python -m al_platform.export.entry stage=scoring family=topics cycle=2026-10 env=test`` does the same as
``kedro run --pipelines=scoring --namespaces=topics.scoring --env=test --params=cycle=2026-10``.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from kedro.framework.project import configure_project
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.utils import find_kedro_project

from al_platform.config import FamilyConfigLoader, default_cycle
from al_platform.domain.cycles import last_complete_month, parse_cycle
from al_platform.domain.errors import AlPlatformError, ConfigError, known_names
from al_platform.export.outcome import stage_outcome
from al_platform.runner import FamilyRunner
from al_platform.stages import STAGE
from al_platform.storage.redaction import redact

_PACKAGE = "al_platform"


@dataclass(frozen=True)
class StageRun:
    """What is asked for.

    Attributes:
        stage: Name of the stage.
        family: Name of the family.
        cycle: Month, YYYY-MM; empty for the last complete month before ``triggered``.
        env: Kedro configuration environment; empty for the default.
        triggered: Day the run was due, YYYY-MM-DD, UTC; empty for today.
        conf_source: Configuration folder or archive; empty for the project's.
    """

    stage: str
    family: str
    cycle: str = ""
    env: str = ""
    triggered: str = ""
    conf_source: str = ""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Self:
        """Return what parameters ask for; ConfigError where one is unknown, or stage or family is missing."""
        names = [field.name for field in fields(cls)]
        for name in given.keys() - {*names}:
            raise ConfigError(f"Parameter {name!r} is not known. {known_names(name, names)}")
        if missing := [name for name in ("stage", "family") if not given.get(name)]:
            raise ConfigError(f"The parameter {missing[0]} is missing or empty. Give {missing[0]}=NAME.")
        if given["stage"] not in STAGE:
            raise ConfigError(f"There is no stage {given['stage']!r}. {known_names(given['stage'], STAGE)}")
        return cls(**given)

    @property
    def month(self) -> str:
        """The cycle; ConfigError where it or ``triggered`` is none."""
        if self.cycle:
            return parse_cycle(self.cycle)
        if not self.triggered:
            return default_cycle()
        try:
            return last_complete_month(datetime.fromisoformat(self.triggered).replace(tzinfo=UTC))
        except ValueError as error:
            raise ConfigError(
                f"Asked for the last complete month before {self.triggered!r}, which is no day. Give it as YYYY-MM-DD, "
                f"or a cycle as YYYY-MM."
            ) from error


def run_notebook(stage: str, dbutils: Any) -> None:
    """Run a stage as the notebook's widgets say, and leave its outcome for the tasks after it.

    Args:
        stage: The notebook's stage.
        dbutils: Databricks' own; None elsewhere: then ``NAME=VALUE`` arguments say what to run.
    """
    given = arguments(sys.argv[1:]) if dbutils is None else dict(dbutils.widgets.getAll())
    for name, value in run_stage(StageRun.of({**given, "stage": stage})).items():
        if dbutils is not None:
            dbutils.jobs.taskValues.set(key=name, value=value)
        print(f"{name}={value}")  # noqa: T201 - what a notebook shows


def run_stage(asked: StageRun) -> dict[str, str]:
    """Run one stage of one family, and return its outcome; see ``stage_outcome``.

    Raises:
        AlPlatformError: The stage failed; secrets are taken out of the message.
    """
    try:
        return _run(asked, _project(asked))
    except AlPlatformError as error:
        # The chain below would show what was taken out.
        raise type(error)(redact(str(error))) from None


def arguments(words: Sequence[str]) -> dict[str, str]:
    """Return ``NAME=VALUE`` words as a dictionary; ConfigError where one is of another form."""
    for word in words:
        if "=" not in word.lstrip("="):
            raise ConfigError(f"The argument {word!r} is not of the form NAME=VALUE, for instance family=topics.")
    return dict(word.split("=", 1) for word in words)


def _project(asked: StageRun) -> Path:
    """Return the project to run in, ready for Kedro: the nearest one upwards, or the installed package alone."""
    found = find_kedro_project(Path.cwd())
    if found is not None:
        bootstrap_project(found)
        return Path(found)
    if not asked.conf_source:
        raise ConfigError(
            f"There is no project in {Path.cwd()} nor above it. Call this in one, or give the configuration archive "
            f"that kedro package makes as conf_source."
        )
    configure_project(_PACKAGE)
    return Path.cwd()


def _run(asked: StageRun, project: Path) -> dict[str, str]:
    parameters = {"cycle": asked.month}
    with KedroSession.create(
        project, env=asked.env or None, conf_source=asked.conf_source or None, runtime_params=parameters
    ) as session:
        assert isinstance(session, KedroSession)
        loader = session.load_context().config_loader
        assert isinstance(loader, FamilyConfigLoader)
        if asked.family not in loader.families:
            raise ConfigError(f"There is no family {asked.family!r}. {known_names(asked.family, loader.families)}")
        session.run(pipeline_names=[asked.stage], namespaces=[f"{asked.family}.{asked.stage}"], runner=FamilyRunner())
        return stage_outcome(loader, asked.family, asked.stage)


if __name__ == "__main__":
    for _name, _value in run_stage(StageRun.of(arguments(sys.argv[1:]))).items():
        print(f"{_name}={_value}")  # noqa: T201 - read by whatever called it
