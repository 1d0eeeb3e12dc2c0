"""What may be set about governance, in ``governance.yml`` of an environment."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class GovernanceOptions(BaseModel):
    """The content of ``governance.yml``.

    Attributes:
        role_prefix: Before the name of every role: names of IAM roles and of Unity Catalog groups.
        kms_key: ARN of the key that objects are encrypted with; None for S3's own.
        abort_uploads_after_days: After how long an upload in parts that nobody completed is given up.
        old_versions_days: How long replaced and deleted versions stay.
        experiments_days: How long results of experiments stay.
        anchor_retention_days: How long an anchor of the audit log can be deleted by nobody.
        external_location: URL below which Unity Catalog's volumes lie; None leaves a variable in the SQL.
        server: ``seaweedfs`` leaves out every statement with a condition that this server cannot evaluate.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    role_prefix: str = Field(default="al-platform-", pattern=r"^[A-Za-z0-9][A-Za-z0-9+=,.@_-]*$")
    kms_key: str | None = Field(default=None, pattern=r"^arn:")
    abort_uploads_after_days: int = Field(default=2, ge=1)
    old_versions_days: int = Field(default=90, ge=1)
    experiments_days: int = Field(default=90, ge=1)
    anchor_retention_days: int = Field(default=400, ge=1)
    external_location: str | None = Field(default=None, pattern=r"^(s3|abfss|gs|r2)://")
    server: Literal["aws", "seaweedfs"] = "aws"
