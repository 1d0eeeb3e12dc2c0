"""Job clusters: one for each kind of machine; none exists while no task of it runs."""

from typing import Any

from databricks.bundles.core import Variable
from databricks.bundles.jobs import (
    AutoScale,
    AwsAttributes,
    AwsAvailability,
    ClusterSpec,
    DataSecurityMode,
    JobCluster,
)

from al_platform.export.databricks.names import SCHEMA, SECRET_SCOPE, variable
from al_platform.export.databricks.options import Autoscaled, DatabricksOptions
from al_platform.export.options import Compute

TAGS = {"project": "al-platform"}


def job_cluster(compute: Compute, options: DatabricksOptions) -> JobCluster:
    """Return the cluster of a kind of machine, for one run of one job."""
    return JobCluster(job_cluster_key=compute, new_cluster=_spec(compute, options))


def _spec(compute: Compute, options: DatabricksOptions) -> ClusterSpec:
    return ClusterSpec(
        spark_version=variable(f"{compute.partition('_')[0]}_runtime"),
        node_type_id=variable(f"{compute}_node_type"),
        # A volume is reached from a cluster of the ML runtime in this mode alone.
        data_security_mode=DataSecurityMode.SINGLE_USER,
        aws_attributes=AwsAttributes(
            # As configured the driver stays; workers that are taken away come back, on demand if they must.
            availability=AwsAvailability.SPOT_WITH_FALLBACK,
            first_on_demand=getattr(options.clusters, compute).on_demand,
            zone_id="auto",
        ),
        spark_env_vars={**_environment(options)},
        **_size(compute, options),
    )


def _size(compute: Compute, options: DatabricksOptions) -> dict[str, Any]:
    size = getattr(options.clusters, compute)
    if isinstance(size, Autoscaled):
        workers: Variable[int] = Variable(path=f"var.{compute}_max_workers", type=int)
        return {
            "autoscale": AutoScale(min_workers=size.min_workers, max_workers=workers),
            "custom_tags": dict(TAGS),
        }
    if size.workers:
        return {"num_workers": size.workers, "custom_tags": dict(TAGS)}
    return {
        "num_workers": 0,
        "spark_conf": {"spark.databricks.cluster.profile": "singleNode", "spark.master": "local[*]"},
        "custom_tags": {**TAGS, "ResourceClass": "SingleNode"},
    }


def _environment(options: DatabricksOptions) -> dict[str, str]:
    secrets = {name: f"{{{{secrets/{SECRET_SCOPE}/{key}}}}}" for name, key in options.secrets.items()}
    return {
        "AL_UC_CATALOG": variable("catalog"),
        "AL_UC_SCHEMA": SCHEMA,
        "DO_NOT_TRACK": "1",
        "KEDRO_DISABLE_TELEMETRY": "1",
        **secrets,
    }
