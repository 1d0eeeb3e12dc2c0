"""What may be set about the Databricks bundle, under ``databricks`` in ``export.yml``."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from al_platform.export.databricks.names import PREFIX

Level = Literal["CAN_VIEW", "CAN_MANAGE_RUN", "CAN_MANAGE"]
VariableName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Cluster(_Options):
    node_type: str
    on_demand: int = Field(default=1, ge=0)


class Autoscaled(_Cluster):
    """A cluster that grows and shrinks with its Spark work.

    Attributes:
        node_type: Default of the bundle's variable.
        on_demand: How many machines are not on spot, the driver first.
        min_workers: Kept while a task runs.
        max_workers: Default of the bundle's variable.
    """

    min_workers: int = Field(default=1, ge=1)
    max_workers: int = Field(default=4, ge=1)

    @model_validator(mode="after")
    def _in_order(self) -> "Autoscaled":
        if self.max_workers < self.min_workers:
            raise ValueError(f"max_workers {self.max_workers} is below min_workers {self.min_workers}")
        return self


class Fixed(_Cluster):
    """A cluster whose size stays: the processes of a distributed training must not come and go.

    Attributes:
        node_type: Default of the bundle's variable.
        on_demand: How many machines are not on spot, the driver first; with 0 a single node is on spot itself.
        workers: Beside the driver; 0 is a single node, however many GPUs it has.
    """

    workers: int = Field(default=0, ge=0)


class Clusters(_Options):
    """The kinds of machines; each exists only while a task of it runs."""

    cpu: Autoscaled = Autoscaled(node_type="m5d.xlarge")
    cpu_single: Fixed = Fixed(node_type="m5d.xlarge")
    gpu_scoring: Autoscaled = Autoscaled(node_type="g5.xlarge")
    gpu_training: Fixed = Fixed(node_type="g5.12xlarge")


class Runtimes(_Options):
    """Databricks runtimes for machine learning; defaults of the bundle's variables."""

    cpu: str = "17.3.x-cpu-ml-scala2.13"
    gpu: str = "17.3.x-gpu-ml-scala2.13"


class Target(_Options):
    """One place the bundle is deployed to.

    Attributes:
        mode: ``development`` gives each user resources of his own, and schedules that do not run.
        catalog: Unity Catalog catalog that holds the schema.
        schema_name: Schema of the volumes.
        env: Kedro configuration environment of the jobs.
        source: Where notebooks come from: files deployed with the bundle, or the Git commit it was deployed from.
        has_external_volumes: Volumes lie below the variable ``storage_root``, for instance in an S3 bucket.
        is_paused: Schedules are deployed, and do not run.
        prefix: Names of jobs begin with it; targets that share a workspace need different ones.
    """

    mode: Literal["development", "production"] = "production"
    catalog: str
    schema_name: str = "al_platform"
    env: str = "databricks"
    source: Literal["workspace", "git"] = "workspace"
    has_external_volumes: bool = True
    is_paused: bool = False
    prefix: str = Field(default=PREFIX, min_length=1)


def _targets() -> dict[str, Target]:
    return {
        "dev": Target(mode="development", catalog="al_dev", has_external_volumes=False),
        "staging": Target(catalog="al_staging", is_paused=True, prefix="al-platform-staging"),
        "prod": Target(catalog="al_prod"),
    }


class DatabricksOptions(_Options):
    """What is Databricks' own.

    Attributes:
        targets: By name; ``dev`` is what ``databricks bundle`` takes where none is named.
        runtimes: What machines start with.
        clusters: What machines there are.
        extras: Of the package, installed beside the wheel.
        secrets: Key in the secret scope by the environment variable in which a task finds the secret.
        retry_wait_minutes: Between two tries of a task.
        permissions: On jobs, by role of ``kedro al governance``.
    """

    targets: dict[str, Target] = Field(default_factory=_targets)
    runtimes: Runtimes = Field(default_factory=Runtimes)
    clusters: Clusters = Field(default_factory=Clusters)
    extras: tuple[str, ...] = ("databricks", "transformer")
    secrets: dict[VariableName, str] = Field(default_factory=dict)
    retry_wait_minutes: int = Field(default=5, ge=0)
    permissions: dict[str, Level] = {"operator": "CAN_MANAGE_RUN", "reader": "CAN_VIEW"}

    @model_validator(mode="after")
    def _one_development_target(self) -> "DatabricksOptions":
        if "dev" not in self.targets or self.targets["dev"].mode != "development":
            raise ValueError("targets needs 'dev' of mode development: it is what a deployment takes by default")
        return self
