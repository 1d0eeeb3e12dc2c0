"""What a user may set about training."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from al_platform.models.options import FitOptions
from al_platform.models.transformer.options import TransformerFitOptions


class TrainingOptions(BaseModel):
    """How a challenger is trained.

    Attributes:
        seed: Of initial weights and the order of rows.
        fit: Epochs, step size and the like of the n-gram model.
        transformer: The same of the transformer, and where it starts from.
        require_clean_tree: Refuse to train with uncommitted changes in the code: nobody could train that model again.
        unseen_labels: Whether a label without a training page is written into the report (``report``) or refused
            (``refuse``).
        price_per_hour: Of a device, by a part of its name such as ``cpu`` or ``A10G``; the longest that fits counts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=0, ge=0, lt=2**32)
    fit: FitOptions = FitOptions()
    transformer: TransformerFitOptions = TransformerFitOptions()
    require_clean_tree: bool = False
    unseen_labels: Literal["report", "refuse"] = "report"
    price_per_hour: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
