"""Cycles: the month, ``YYYY-MM``, whose traffic a run reads. All times are UTC."""

import re
from datetime import UTC, datetime

from al_platform.domain.errors import ConfigError

_PATTERN = re.compile(r"((?:19|2\d)\d{2})-(0[1-9]|1[0-2])")
MONTHS_PER_QUARTER = 3
_MONTHS_PER_YEAR = 12


def parse_cycle(value: object) -> str:
    """Return ``value`` if it is a cycle.

    Raises:
        ConfigError: It is not of the form YYYY-MM with a year from 1900 to 2999 and a month from 01 to 12.
    """
    if isinstance(value, str) and _PATTERN.fullmatch(value):
        return value
    raise ConfigError(f"Asked for cycle {value!r}, which is no month. Give it as YYYY-MM, for instance cycle=2026-10.")


def last_complete_month(now: datetime) -> str:
    """Return the last month that is over at ``now`` (an aware time)."""
    utc = now.astimezone(UTC)
    return shift_cycle(f"{utc.year:04d}-{utc.month:02d}", -1)


def shift_cycle(cycle: str, months: int) -> str:
    """Return the cycle that lies ``months`` after ``cycle``; before it if negative."""
    year, month = divmod(month_number(cycle) + months, _MONTHS_PER_YEAR)
    return f"{year:04d}-{month + 1:02d}"


def month_number(cycle: str) -> int:
    """Return the number of months from year 0 to ``cycle``."""
    year, month = parse_cycle(cycle).split("-")
    return int(year) * _MONTHS_PER_YEAR + int(month) - 1


def months_between(start: str, end: str) -> int:
    """Return how many months ``end`` lies after ``start``."""
    return month_number(end) - month_number(start)
