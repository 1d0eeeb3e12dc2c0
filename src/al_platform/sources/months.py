"""Moments within a month, and a topic mix that moves with the months.

Both are defined for every month, so that the cycle of today's calendar always exists.
"""

from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

MONTHS_PER_YEAR = 12

# Half-amplitudes of the log-weight of a topic: over the year, and over a slow wave that stands for a trend.
# (A straight trend would leave a single topic after some decades.)
_SEASON = 0.6
_TREND = 0.5
_TREND_MONTHS = 66


def month_start(number: int) -> datetime:
    """Return the first moment of a month, the inverse of ``month_number``."""
    return datetime(number // MONTHS_PER_YEAR, number % MONTHS_PER_YEAR + 1, 1, tzinfo=UTC)


def moments(number: int, fractions: NDArray[np.float64]) -> NDArray[np.datetime64]:
    """Return moments within a month, for fractions of it in [0, 1), in microseconds of UTC."""
    start = month_start(number)
    # 32 days after the first of a month always lie in the next one.
    days = ((start + timedelta(days=32)).replace(day=1) - start).days
    offsets = (fractions * days * 86_400_000_000).astype("timedelta64[us]")
    moved: NDArray[np.datetime64] = np.datetime64(start.replace(tzinfo=None), "us") + offsets
    return moved


def topic_mix(number: int, topics: int) -> NDArray[np.float64]:
    """Return the shares of the topics in a month, shape (C,): a season and a slow trend, each topic out of phase."""
    phase = np.arange(topics) / topics
    season = _SEASON * np.sin(2 * np.pi * (number / MONTHS_PER_YEAR + phase))
    # The slow wave meets the topics in another order, so that no two years are alike.
    trend = _TREND * np.sin(2 * np.pi * (number / _TREND_MONTHS + 2 * phase))
    weights = np.exp(season + trend)
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares
