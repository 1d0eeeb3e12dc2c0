"""What may be set about monitoring, in ``monitoring.yml`` of an environment."""

from pydantic import BaseModel, ConfigDict, Field


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SmtpOptions(_Options):
    """The server that takes e-mail; a user's password is the environment variable ``AL_SMTP_PASSWORD``."""

    host: str = "localhost"
    port: int = Field(default=25, gt=0)
    sender: str = "al-platform@localhost"
    user: str | None = None
    starttls: bool = False


class AlertOptions(_Options):
    """Who is told of a proposal, besides the log."""

    emails: tuple[str, ...] = ()
    webhooks: tuple[str, ...] = ()
    smtp: SmtpOptions = SmtpOptions()


class MonitoringOptions(_Options):
    """The content of ``monitoring.yml``.

    Attributes:
        psi_limit: Population stability index above which a feature may have drifted.
        alpha: Of the two-sample tests, after Holm's correction.
        sample_pages: How many pages of either side are read for features of the text.
        min_pages: Fewer on either side tell nothing.
        accuracy_loss: How far a month's accuracy may fall below what the gate found.
        cooldown_months: For so long after a quarterly or a proposal none is proposed.
        alerts: Who is told.
    """

    psi_limit: float = Field(default=0.25, gt=0)
    alpha: float = Field(default=0.01, gt=0, lt=1)
    sample_pages: int = Field(default=5_000, ge=1)
    min_pages: int = Field(default=100, ge=1)
    accuracy_loss: float = Field(default=0.05, ge=0, lt=1)
    cooldown_months: int = Field(default=2, ge=0)
    alerts: AlertOptions = AlertOptions()
