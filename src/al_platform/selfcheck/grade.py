"""Points, sections and the score: Breck et al. 2017, "The ML Test Score", section VI and table VI."""

from collections.abc import Mapping
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Section = Literal["data", "model", "infrastructure", "monitoring"]
SECTIONS: tuple[Section, ...] = get_args(Section)
NOTHING, BY_HAND, AUTOMATED = 0.0, 0.5, 1.0

# From above this score on.
_BANDS = (
    (5, "exceptional levels of automated testing and monitoring"),
    (3, "strong levels of automated testing and monitoring, appropriate for mission-critical systems"),
    (2, "reasonably tested, but it is possible that more of those tests and procedures may be automated"),
    (1, "there has been a first pass at basic productionization, but additional investment may be needed"),
    (0, "not totally untested, but it is worth considering the possibility of serious holes in reliability"),
)
_LOWEST = "more of a research project than a productionized system"


class Grade(BaseModel):
    """What a check came to.

    Attributes:
        points: 1 where it is made by the loop itself, again and again; 0.5 where people made it and wrote it down, or
            where it is made in part; 0 without evidence.
        seen: The evidence.
        todo: What to do for the rest; empty at 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    points: float = Field(ge=0, le=1, multiple_of=0.5)
    seen: str
    todo: str = ""


class GradedCheck(BaseModel):
    """A check with its grade."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    section: Section
    title: str
    grade: Grade


class Score(BaseModel):
    """All checks, and what they come to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checks: tuple[GradedCheck, ...]

    @property
    def sections(self) -> Mapping[Section, float]:
        """The points of each section."""
        return {name: sum(each.grade.points for each in self.checks if each.section == name) for name in SECTIONS}

    @property
    def value(self) -> float:
        """The score: the smallest of the sections' sums."""
        return min(self.sections.values())

    @property
    def band(self) -> str:
        """What the score means."""
        return next((meaning for above, meaning in _BANDS if self.value > above), _LOWEST)
