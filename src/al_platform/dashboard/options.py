"""What may be set about the dashboard, in ``dashboard.yml`` of an environment."""

from pydantic import BaseModel, ConfigDict, Field

from al_platform.stages import Cadence


class FreshnessDays(BaseModel):
    """Days from the end of the newest month that a stage has done until it is late."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    monthly: float = Field(default=35, gt=0)
    quarterly: float = Field(default=100, gt=0)

    def of(self, cadence: Cadence) -> float:
        """Return the limit of stages that are due this often."""
        return self.monthly if cadence == "monthly" else self.quarterly


class DashboardOptions(BaseModel):
    """The content of ``dashboard.yml``.

    Attributes:
        freshness_days: When a stage is late.
        lost_after_hours: For how long after its last sign of life a run is taken to be at work that cannot be looked
            at from here.
        drift_limit: Largest distance of a class's share of the predictions from its share of the training pages.
        agreement_floor: Krippendorff's alpha below which answers are not to be relied on.
        max_predictions_mb: A month's predictions that are larger are not read, and it shows no drift.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    freshness_days: FreshnessDays = FreshnessDays()
    lost_after_hours: float = Field(default=24, gt=0)
    drift_limit: float = Field(default=0.15, gt=0, le=1)
    agreement_floor: float = Field(default=0.667, ge=-1, le=1)
    max_predictions_mb: float = Field(default=256, ge=0)
