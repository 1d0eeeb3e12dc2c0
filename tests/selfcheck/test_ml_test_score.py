"""Points, sections and bands as in Breck et al. 2017."""

import pytest
from pydantic import ValidationError

from al_platform.selfcheck.checks import missing
from al_platform.selfcheck.grade import SECTIONS, Grade, GradedCheck, Score


def score(**points):
    return Score(
        checks=tuple(
            GradedCheck(id=f"{section}-{number}", section=section, title="", grade=Grade(points=each, seen=""))
            for section, given in points.items()
            for number, each in enumerate(given)
        )
    )


def all_sections(points):
    whole, rest = divmod(points, 1)
    return score(**{section: [1] * int(whole) + [rest] for section in SECTIONS})


def test_the_score_is_the_smallest_sum_of_a_section():
    found = score(data=[1, 1], model=[0.5, 0], infrastructure=[1], monitoring=[1, 0.5])
    assert found.sections == {"data": 2, "model": 0.5, "infrastructure": 1, "monitoring": 1.5}
    assert found.value == 0.5


@pytest.mark.parametrize(
    ("points", "band"),
    [
        (0, "research project"),
        (0.5, "serious holes"),
        (1, "serious holes"),
        (1.5, "first pass"),
        (2, "first pass"),
        (2.5, "reasonably tested"),
        (3, "reasonably tested"),
        (3.5, "mission-critical"),
        (5, "mission-critical"),
        (5.5, "exceptional"),
        (7, "exceptional"),
    ],
)
def test_a_band_begins_above_its_bound(points, band):
    assert band in all_sections(points).band


def test_what_is_missing_comes_weakest_section_first():
    found = score(data=[1, 0.5, 0], model=[0, 0, 1], infrastructure=[1], monitoring=[1, 1, 1])
    assert [check.id for check in missing(found)] == ["model-0", "model-1", "data-2", "data-1"]


@pytest.mark.parametrize("points", [0.25, 2, -0.5])
def test_there_are_half_points_up_to_one(points):
    with pytest.raises(ValidationError):
        Grade(points=points, seen="")
