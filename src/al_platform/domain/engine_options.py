"""Which engine tables are queried on."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class EngineOptions(BaseModel):
    """Which engine, and how it is set up.

    Attributes:
        name: ``duckdb``: on this machine, in this process. ``spark``: for those who outgrow a machine.
        spark: Settings of a Spark session that is started here; one that is there, as on Databricks, stays as it is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["duckdb", "spark"] = "duckdb"
    spark: dict[str, str] = Field(default_factory=dict)
