"""What a user may set about scoring."""

from pydantic import BaseModel, ConfigDict, Field


class ScoringOptions(BaseModel):
    """How pages are scored.

    Attributes:
        batch_pages: Pages scored at a time; bounds the memory, 2,000 pages of 5,000 characters are 10 MB of text. On
            Spark also the size of a task.
        part_pages: Pages in a file of predictions, and at risk when a run is killed: 50,000 are about 45 MB.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_pages: int = Field(default=2_000, ge=1)
    part_pages: int = Field(default=50_000, ge=1)
