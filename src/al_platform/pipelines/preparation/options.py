"""What a user may set about preparation."""

from pydantic import BaseModel, ConfigDict

from al_platform.domain.splits import SplitOptions
from al_platform.domain.text import CleaningOptions


class PreparationOptions(BaseModel):
    """How labels become a data set.

    Attributes:
        cleaning: Which texts are worth keeping.
        splits: Sizes and rules of the sets.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cleaning: CleaningOptions = CleaningOptions()
    splits: SplitOptions = SplitOptions()
