"""Cron expressions of five fields as the Quartz expressions that Databricks understands."""

import re

from al_platform.domain.errors import ConfigError

_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_PART = re.compile(r"(?:\*|(\d+)(?:-(\d+))?)(?:/(\d+))?")
# Name and lowest and highest value of each field.
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("day of the week", 0, 7))


def quartz(cron: str) -> str:
    """Return a cron expression of five fields as one of Quartz, which begins with seconds and names days from Sunday.

    Raises:
        ConfigError: It is no such expression, or restricts both days of the month and of the week: cron then means
            either, which Quartz cannot say.
    """
    fields = cron.split()
    if len(fields) != len(_FIELDS):
        raise ConfigError(f"Asked for the schedule {cron!r}, which has {len(fields)} fields. Give five, as in cron.")
    numbered = [_numbered(field, index) for index, field in enumerate(fields)]
    for field, (name, low, high) in zip(numbered, _FIELDS, strict=True):
        _require_range(field, name, low, high, cron)
    minute, hour, day, month, weekday = numbered
    if "*" not in (day, weekday):
        raise ConfigError(
            f"The schedule {cron!r} restricts days of the month and of the week, which in cron means either. "
            f"Databricks cannot say that; leave one of them at '*'."
        )
    if weekday == "*":
        return f"0 {minute} {hour} {day} {month} ?"
    return f"0 {minute} {hour} ? {month} {_weekdays(weekday)}"


def check_quartz(expression: str) -> None:
    """Check a Quartz expression of the kind that ``quartz`` returns.

    Raises:
        ConfigError: It is none.
    """
    fields = expression.split()
    is_whole = len(fields) == len(_FIELDS) + 1 and fields[0] == "0" and [fields[3], fields[5]].count("?") == 1
    if not is_whole:
        raise ConfigError(
            f"{expression!r} is no Quartz expression: give second, minute, hour, day of the month, month and day of "
            f"the week, with '?' for one of the two days."
        )
    days = re.sub("|".join(_DAYS), lambda found: str(_DAYS.index(found[0])), fields[5])
    for field, (name, low, high) in zip([*fields[1:5], days], _FIELDS, strict=True):
        if field != "?":
            _require_range(field, name, low, high, expression)


def _numbered(field: str, index: int) -> str:
    names = {3: _MONTHS, 4: _DAYS}.get(index, ())
    first = _FIELDS[index][1]
    numbers = {name: str(number) for number, name in enumerate(names, first)}
    return re.sub(r"[A-Za-z]+", lambda found: numbers.get(found[0].upper(), found[0]), field)


def _require_range(field: str, name: str, low: int, high: int, expression: str) -> None:
    for part in field.split(","):
        found = _PART.fullmatch(part)
        values = [int(value) for value in found.groups()[:2] if value] if found else []
        is_single = bool(found and found[1] and not found[2])
        if not found or not all(low <= value <= high for value in values) or (is_single and found[3]):
            raise ConfigError(f"In the schedule {expression!r}, {part!r} is no {name}: take {low} to {high}.")
        if values != sorted(values) or found[3] == "0":
            raise ConfigError(f"In the schedule {expression!r}, {part!r} never comes.")


def _weekdays(field: str) -> str:
    days: set[int] = set()
    for part in field.split(","):
        found = _PART.fullmatch(part)
        assert found is not None
        low = int(found[1] or 0)
        high = int(found[2] or found[1] or len(_DAYS) - 1)
        days.update(day % len(_DAYS) for day in range(low, high + 1, int(found[3] or 1)))
    return ",".join(_DAYS[day] for day in sorted(days))
