from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from al_platform.domain.cycles import last_complete_month, months_between, parse_cycle, shift_cycle
from al_platform.domain.errors import ConfigError

CYCLES = st.builds("{:04d}-{:02d}".format, st.integers(2000, 2100), st.integers(1, 12))


@pytest.mark.parametrize(
    "value", ["2026-13", "2026-00", "26-10", "2026-1", "2026-10-01", "0026-10", "9999-12", "", None, 202610, 2026.1]
)
def test_what_is_no_month_is_refused_with_an_example(value):
    with pytest.raises(ConfigError, match="YYYY-MM"):
        parse_cycle(value)


def test_on_new_years_eve_the_last_complete_month_is_november():
    assert last_complete_month(datetime(2026, 12, 31, 23, 59, tzinfo=UTC)) == "2026-11"


def test_on_new_years_day_the_last_complete_month_is_december():
    assert last_complete_month(datetime(2027, 1, 1, tzinfo=UTC)) == "2026-12"


def test_the_month_is_that_of_utc_wherever_the_machine_stands():
    tokyo = timezone(timedelta(hours=9))
    assert last_complete_month(datetime(2027, 1, 1, 8, 0, tzinfo=tokyo)) == "2026-11"


@given(CYCLES, st.integers(-500, 500))
def test_shifting_there_and_back_changes_nothing(cycle, months):
    shifted = shift_cycle(cycle, months)
    assert shift_cycle(shifted, -months) == cycle
    assert months_between(cycle, shifted) == months
