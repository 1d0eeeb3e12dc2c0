"""What a scheduler is told: the content of ``export.yml``."""

from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from al_platform.config import FamilyConfigLoader, validate
from al_platform.domain.errors import known_names
from al_platform.export.airflow.options import AirflowOptions
from al_platform.export.databricks.options import DatabricksOptions
from al_platform.stages import STAGES

Compute = Literal["cpu", "cpu_single", "gpu_scoring", "gpu_training"]
Orchestrator = Literal["airflow", "databricks"]
Cron = Annotated[str, Field(pattern=r"^\S+( \S+){4}$")]


_DAY = 2  # among the fields of a cron expression


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Schedules(_Options):
    """When runs begin, as cron expressions of five fields.

    Attributes:
        time_zone: In which they are meant, an IANA name.
        monthly: Of select, then ingest.
        ingest: Of ingest alone, between months.
        quarterly: Of train.
    """

    time_zone: str
    monthly: Cron
    ingest: Cron
    quarterly: Cron

    @field_validator("time_zone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            return ZoneInfo(name).key
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{name!r} is no IANA time zone, such as Europe/Vienna") from error


class Deadlines(_Options):
    """Hours after which an unfinished run is reported as late."""

    monthly: float = Field(gt=0)
    ingest: float = Field(gt=0)
    quarterly: float = Field(gt=0)


class StageOptions(_Options):
    """Where a stage runs, and how often it is tried.

    Attributes:
        compute: Kind of machine.
        retries: Further tries after a failure; a stage that ran before is not run again.
        timeout_minutes: Of one try.
    """

    compute: Compute = "cpu"
    retries: int = Field(default=2, ge=0)
    timeout_minutes: int = Field(default=120, gt=0)


class Notifications(_Options):
    """Who is told of failures: e-mail addresses, and the names or addresses of webhooks."""

    emails: tuple[str, ...] = ()
    webhooks: tuple[str, ...] = ()


class ExportOptions(_Options):
    """The content of ``export.yml``.

    Attributes:
        orchestrator: The one scheduler; the other side's schedules, retries and alerts are off.
        schedules: When runs begin.
        deadlines_hours: When they are late.
        stages: By stage; every stage has an entry.
        notifications: Who is told of failures.
        airflow: What is Airflow's own.
        databricks: What is Databricks' own.
    """

    orchestrator: Orchestrator
    schedules: Schedules
    deadlines_hours: Deadlines
    stages: dict[str, StageOptions]
    notifications: Notifications = Field(default_factory=Notifications)
    airflow: AirflowOptions = Field(default_factory=AirflowOptions)
    databricks: DatabricksOptions = Field(default_factory=DatabricksOptions)

    @field_validator("schedules")
    @classmethod
    def _not_on_the_first(cls, schedules: Schedules) -> Schedules:
        # Where a day begins before UTC's, the first of a month is still the month before.
        if schedules.time_zone != "UTC":
            for name in ("monthly", "quarterly"):
                days = getattr(schedules, name).split()[_DAY]
                if "1" in days.split(",") or not days[:1].isdigit():
                    raise ValueError(
                        f"{name} is due on the first of a month in {schedules.time_zone} ({days!r}), when the month "
                        f"before may not be over in UTC, which cycles follow. Take a day from the second on"
                    )
        return schedules

    @field_validator("stages")
    @classmethod
    def _every_stage(cls, stages: dict[str, StageOptions]) -> dict[str, StageOptions]:
        names = [stage.name for stage in STAGES]
        for name in stages.keys() - {*names}:
            raise ValueError(f"{name!r} is no stage. {known_names(name, names)}")
        if missing := [name for name in names if name not in stages]:
            raise ValueError(
                f"there is no entry for {', '.join(missing)}; give each a compute, or {{}} for the default"
            )
        return stages

    @model_validator(mode="after")
    def _a_target_that_jobs_are_found_in(self) -> "ExportOptions":
        targets, name = self.databricks.targets, self.airflow.target
        if name not in targets:
            raise ValueError(f"airflow.target names {name!r}. {known_names(name, targets)}")
        if targets[name].mode == "development":
            raise ValueError(
                f"airflow.target names {name!r}, whose jobs carry their user's name, by which no DAG finds them. "
                f"Name a target of mode production"
            )
        return self


def export_options(loader: FamilyConfigLoader) -> ExportOptions:
    """Return the content of ``export.yml`` of the loader's environment.

    Raises:
        ConfigError: It holds a key that is not known or a value that does not fit.
    """
    return validate(ExportOptions, loader["export"], "export.yml")
