"""The cycle in a DAG is the cycle of the project, though DAGs cannot import it."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from al_platform.domain.cycles import last_complete_month
from al_platform.domain.cycles import parse_cycle as parse_here
from al_platform.domain.errors import ConfigError
from al_platform.export.airflow.al_airflow.cycles import WrongCycleError, cycle_of, parse_cycle


@given(st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.timezones()))
def test_the_last_month_is_the_same_as_the_projects(moment: datetime) -> None:
    assert cycle_of(moment, "UTC") == last_complete_month(moment)


@given(st.from_regex(r"\A\d{4}-\d{1,2}\n?\Z") | st.text())
def test_the_same_texts_are_cycles(text: str) -> None:
    try:
        expected = parse_here(text)
    except ConfigError:
        with pytest.raises(WrongCycleError, match="Give it as YYYY-MM"):
            parse_cycle(text)
    else:
        assert parse_cycle(text) == expected


@pytest.mark.parametrize(
    ("zone", "cycle"), [("UTC", "2025-11"), ("Asia/Tokyo", "2025-12"), ("America/New_York", "2025-11")]
)
def test_the_year_ends_where_the_schedule_is(zone: str, cycle: str) -> None:
    assert cycle_of(datetime(2025, 12, 31, 23, 30, tzinfo=UTC), zone) == cycle
