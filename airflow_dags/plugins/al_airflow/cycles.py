"""Cycles: the month, ``YYYY-MM``, whose traffic a run reads."""

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

PATTERN = r"^(?:19|2\d)\d{2}-(?:0[1-9]|1[0-2])$"


class WrongCycleError(ValueError):
    """A cycle that is no month."""


def cycle_of(moment: datetime, time_zone: str) -> str:
    """Return the last month that is over at a moment, in a time zone.

    Args:
        moment: An aware time.
        time_zone: An IANA name.
    """
    first_of_month = moment.astimezone(ZoneInfo(time_zone)).date().replace(day=1)
    return (first_of_month - timedelta(days=1)).strftime("%Y-%m")


def parse_cycle(value: object) -> str:
    """Return ``value`` if it is a cycle.

    Raises:
        WrongCycleError: It is not of the form YYYY-MM.
    """
    if isinstance(value, str) and re.fullmatch(PATTERN, value):
        return value
    raise WrongCycleError(f"Asked for cycle {value!r}, which is no month. Give it as YYYY-MM, for instance 2026-10.")
