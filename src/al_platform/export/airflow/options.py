"""What is Airflow's own: the block ``airflow`` of ``export.yml``."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Flavour = Literal["workflow", "notebook", "worker"]


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NotebookOptions(_Options):
    """Of the flavour ``notebook``: where the notebooks are, and what they run on.

    Attributes:
        folder: Of the notebooks in the workspace, inside a copy of the project: its configuration is read from there.
        libraries: What each notebook's cluster installs, as the Jobs API takes it: the wheel above all; empty where
            the clusters bring it themselves.
        clusters: By kind of machine, a cluster as the Jobs API takes it (``new_cluster``).
    """

    folder: str = "/Workspace/Shared/al-platform/notebooks"
    libraries: tuple[dict[str, Any], ...] | None = None
    clusters: dict[str, dict[str, Any]] = Field(default_factory=dict)


class WorkerOptions(_Options):
    """Of the flavour ``worker``: where a worker finds the project. Airflow's templates are kept.

    Attributes:
        project: The project's folder.
        python: The interpreter of the project's own environment.
        environment: Variables that are handed on from the worker; no others are.
    """

    project: str = "{{ var.value.al_platform_project }}"
    python: str = "{{ var.value.al_platform_project }}/.venv/bin/python"
    environment: tuple[str, ...] = ("PATH", "HOME", "LANG")


class AirflowOptions(_Options):
    """What the DAGs are made of.

    Attributes:
        flavour: Tasks start Databricks jobs by name (``workflow``), or one notebook each (``notebook``), or run a
            stage on Airflow's own worker (``worker``).
        target: Of the bundle, whose jobs are started.
        is_deferrable: Whether the triggerer waits for Databricks, and no worker.
        databricks_connection: Name of the connection to the workspace.
        smtp_connection: Name of the connection by which e-mails are sent.
        polling_seconds: Between two looks at a run.
        http_retries: Tries of one request to Databricks while it answers 429 or 5xx.
        http_retry_delay_seconds: Before the second of them; doubles each time.
        spare_minutes: Beyond the stages' time-outs, before Airflow gives a run on Databricks up: machines have to
            start, and runs wait in the job's queue. Databricks ends what takes too long earlier.
        own_retries: Further tries of what is Airflow's own: settling the cycle, looking at an outcome.
        retry_delay_minutes: Before a task's second try; doubles each time.
        max_retry_delay_minutes: The longest such wait.
        tags: Of the DAGs, beside ``al-platform``.
        notebook: See ``NotebookOptions``.
        worker: See ``WorkerOptions``.
    """

    flavour: Flavour = "workflow"
    target: str = "prod"
    is_deferrable: bool = False
    databricks_connection: str = "databricks_default"
    smtp_connection: str = "smtp_default"
    polling_seconds: float = Field(default=30, gt=0)
    http_retries: int = Field(default=5, ge=1)
    http_retry_delay_seconds: float = Field(default=2, gt=0)
    spare_minutes: int = Field(default=90, ge=0)
    own_retries: int = Field(default=2, ge=0)
    retry_delay_minutes: float = Field(default=5, gt=0)
    max_retry_delay_minutes: float = Field(default=60, gt=0)
    tags: tuple[str, ...] = ()
    notebook: NotebookOptions = NotebookOptions()
    worker: WorkerOptions = WorkerOptions()
