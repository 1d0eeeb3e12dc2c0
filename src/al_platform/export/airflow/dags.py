"""What each DAG holds, for the template: read off the stage list and ``export.yml``."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from al_platform.config import FamilyConfigLoader
from al_platform.domain.errors import ConfigError, known_names
from al_platform.export.options import ExportOptions, export_options
from al_platform.export.outcome import CONDITIONS
from al_platform.export.stage_list import StageTask, stage_list

JOBS_OF: Mapping[str, tuple[str, ...]] = {
    "monthly": ("select", "ingest"),
    "ingest": ("ingest",),
    "quarterly": ("train",),
}
"""The jobs in each DAG, one after the other; also the names of Kedro's pipelines that the DAGs are made from."""

_TITLES: Mapping[str, str] = {
    "monthly": "Score and select the pages of last month, then ingest the answers that are there and prepare them.",
    "ingest": "Ingest answers that came between two months; end early where there are none.",
    "quarterly": "Train a challenger of each family, evaluate it, and promote it if the gate says so.",
}


@dataclass(frozen=True)
class Task:
    """One task of each family in a DAG.

    Attributes:
        name: Of the job or the stage.
        needs: Tasks that come before it.
        retries: Further tries after a failure.
        timeout_minutes: Of one try.
        condition: The task whose outcome decides whether this one runs, and the key in it.
        cluster: What a notebook runs on.
    """

    name: str
    needs: tuple[str, ...]
    retries: int
    timeout_minutes: int
    condition: tuple[str, str] | None = None
    cluster: Mapping[str, Any] | None = None


def dags(loader: FamilyConfigLoader) -> dict[str, Any]:
    """Return what the template needs: the settings of all DAGs, and of each DAG by the name of its pipeline.

    Raises:
        ConfigError: ``export.yml`` cannot be used, or names no cluster for what a notebook runs on.
    """
    options = export_options(loader)
    stages = stage_list(loader, options)
    return {
        "orchestrator": options.orchestrator,
        "time_zone": options.schedules.time_zone,
        "families": loader.families,
        "job_prefix": options.databricks.targets[options.airflow.target].prefix,
        "libraries": _libraries(options),
        "notifications": options.notifications.model_dump(mode="json"),
        "airflow": options.airflow.model_dump(mode="json"),
        "dags": {name: _dag(name, options, stages) for name in JOBS_OF},
    }


def _dag(name: str, options: ExportOptions, stages: Sequence[StageTask]) -> dict[str, Any]:
    return {
        "title": _TITLES[name],
        "schedule": getattr(options.schedules, name),
        "deadline_hours": getattr(options.deadlines_hours, name),
        "tasks": [asdict(task) for task in _tasks(name, options, stages)],
    }


def _tasks(name: str, options: ExportOptions, stages: Sequence[StageTask]) -> tuple[Task, ...]:
    # Every family has the same stages, with the same settings.
    of_one = [stage for stage in stages if stage.family == stages[0].family]
    jobs = [[stage for stage in of_one if stage.job == job] for job in JOBS_OF[name]]
    if options.airflow.flavour == "workflow":
        return _job_tasks(jobs, options)
    return tuple(_stage_tasks(jobs, options))


def _job_tasks(jobs: Sequence[Sequence[StageTask]], options: ExportOptions) -> tuple[Task, ...]:
    """Return a task for each job: its stages run one after another, and all of them again in another try."""
    names = [stages[0].job for stages in jobs]
    return tuple(
        Task(
            name=stages[0].job,
            needs=tuple(names[max(index - 1, 0) : index]),
            retries=max(stage.retries for stage in stages),
            timeout_minutes=options.airflow.spare_minutes + sum(stage.timeout_minutes for stage in stages),
        )
        for index, stages in enumerate(jobs)
    )


def _stage_tasks(jobs: Sequence[Sequence[StageTask]], options: ExportOptions) -> Iterable[Task]:
    is_on_worker = options.airflow.flavour == "worker"
    earlier: tuple[str, ...] = ()
    for stages in jobs:
        for stage in stages:
            yield Task(
                name=stage.stage,
                needs=stage.needs or earlier,
                retries=stage.retries,
                timeout_minutes=stage.timeout_minutes + (0 if is_on_worker else options.airflow.spare_minutes),
                condition=_condition(stage, stages) if is_on_worker else None,
                cluster=None if is_on_worker else _cluster(stage, options),
            )
        earlier = _last(stages)


def _condition(stage: StageTask, stages: Sequence[StageTask]) -> tuple[str, str] | None:
    """Return the stage whose outcome decides whether this one has anything to do, and what of it.

    Only where stages run on the worker: in a workflow the job has these conditions, and a notebook that runs on its own
    hands nothing on.
    """
    here = {other.stage for other in stages}
    return next(((name, CONDITIONS[name]) for name in stage.needs if name in CONDITIONS and name in here), None)


def _last(stages: Sequence[StageTask]) -> tuple[str, ...]:
    needed = {name for stage in stages for name in stage.needs}
    return tuple(stage.stage for stage in stages if stage.stage not in needed)


def _libraries(options: ExportOptions) -> list[dict[str, Any]]:
    libraries = options.airflow.notebook.libraries
    if libraries is None and options.airflow.flavour == "notebook":
        raise ConfigError(
            "Notebooks import this package, but airflow.notebook.libraries of export.yml does not say where their "
            "clusters get it. Give its wheel, [{whl: /Volumes/...}], or [] where the clusters bring it themselves."
        )
    return list(libraries or ())


def _cluster(stage: StageTask, options: ExportOptions) -> dict[str, Any]:
    clusters = options.airflow.notebook.clusters
    if stage.compute not in clusters:
        raise ConfigError(
            f"The notebook of {stage.stage} runs on {stage.compute!r}, which airflow.notebook.clusters of export.yml "
            f"does not describe. {known_names(stage.compute, clusters)}"
        )
    return clusters[stage.compute]
