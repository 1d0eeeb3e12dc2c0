"""What a user may set about scoring."""

from pydantic import BaseModel, ConfigDict, Field


class ScoringOptions(BaseModel):
    """How pages are scored.

    Attributes:
        batch_pages: Pages scored at a time; bounds the memory, 2,000 pages of 5,000 characters are 10 MB of text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_pages: int = Field(default=2_000, ge=1)
