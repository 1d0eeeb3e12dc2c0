"""What may be set about ``kedro al selfcheck``, in ``selfcheck.yml`` of an environment."""

from datetime import date

from pydantic import BaseModel, ConfigDict, Field


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ByHand(_Options):
    """A check that people make by hand: a document that says how and what came of it, and when that was."""

    document: str = Field(min_length=1)
    on: date


class SelfcheckOptions(_Options):
    """The content of ``selfcheck.yml``.

    Attributes:
        by_hand: By check, what was done by hand and written down; half a point.
        valid_days: For so long what was done by hand, and a report on tests, counts.
        test_reports: JUnit files that ``make test`` writes, or those of your CI.
        reviewed_branch: What is on this Git branch was reviewed.
        slower_by: How many times as long as before a page may take to score.
    """

    by_hand: dict[str, ByHand] = {}
    valid_days: int = Field(default=100, gt=0)
    test_reports: tuple[str, ...] = ("build/tests.xml",)
    reviewed_branch: str = "origin/main"
    slower_by: float = Field(default=2.0, gt=1)
