"""What a user may set about training."""

from pydantic import BaseModel, ConfigDict, Field

from al_platform.models.options import FitOptions


class TrainingOptions(BaseModel):
    """How a challenger is trained.

    Attributes:
        seed: Of initial weights and the order of rows.
        fit: Epochs, step size and the like.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=0, ge=0, lt=2**32)
    fit: FitOptions = FitOptions()
