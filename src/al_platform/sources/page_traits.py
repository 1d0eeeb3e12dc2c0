"""What a synthetic page is about, before it is written: its true values, and how plainly it shows them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from al_platform.sources.source import BRAND_SAFETY, TOPICS
from al_platform.sources.vocabulary import STORY_MONTHS, story_shares

SHORTEST_WORDS = 40
LONGEST_WORDS = 200

_SENTIMENT_SHARES = (0.3, 0.4, 0.3)  # in the order of SENTIMENT

# Share of pages that a brand-safety label holds for, per topic: rare, and rarer outside its topics.
_BRAND_SAFETY_SHARES = {
    #                  business  entertainment  politics  sport  tech
    "crime":         (0.040, 0.030, 0.070, 0.010, 0.050),
    "violence":      (0.005, 0.045, 0.045, 0.020, 0.010),
    "war_terrorism": (0.008, 0.003, 0.035, 0.001, 0.003),
    "death_injury":  (0.010, 0.040, 0.040, 0.090, 0.010),
    "alcohol":       (0.015, 0.020, 0.005, 0.015, 0.001),
}  # fmt: skip

_EVERGREEN_SHARE = 0.25


class Traits(NamedTuple):
    """Properties of N pages.

    Attributes:
        topic: Row of ``TOPICS``, shape (N,).
        other_topic: Another topic the page touches on, shape (N,); the same one where it has none.
        clarity: How plainly the page shows its topic, in (0, 1), shape (N,).
        story: How many months ago the page's story broke, shape (N,); -1 for pages without one.
        sentiment: Row of ``SENTIMENT``, shape (N,).
        brand_safety: Which labels hold, shape (N, B).
        length: Words of the text, shape (N,).
    """

    topic: NDArray[np.int64]
    other_topic: NDArray[np.int64]
    clarity: NDArray[np.float64]
    story: NDArray[np.int64]
    sentiment: NDArray[np.int64]
    brand_safety: NDArray[np.bool_]
    length: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> "Traits":
        """Return the traits of these rows."""
        return Traits(
            topic=self.topic[rows],
            other_topic=self.other_topic[rows],
            clarity=self.clarity[rows],
            story=self.story[rows],
            sentiment=self.sentiment[rows],
            brand_safety=self.brand_safety[rows],
            length=self.length[rows],
        )


def draw_traits(size: int, mix: NDArray[np.float64], random: np.random.Generator) -> Traits:
    """Draw the traits of ``size`` pages.

    Args:
        size: N.
        mix: Share of each topic, shape (C,).
        random: Only its ``random()`` is used, see ``vocabulary.generator``.
    """
    topic = _draw(mix, random.random(size))
    story = _draw(story_shares(), random.random(size))
    safety = np.array([_BRAND_SAFETY_SHARES[label] for label in BRAND_SAFETY]).T
    return Traits(
        topic=topic,
        other_topic=(random.random(size) * len(TOPICS)).astype(np.int64),
        clarity=random.random(size),
        story=np.where(random.random(size) < _EVERGREEN_SHARE, -1, np.minimum(story, STORY_MONTHS - 1)),
        sentiment=_draw(np.array(_SENTIMENT_SHARES), random.random(size)),
        brand_safety=random.random((size, len(BRAND_SAFETY))) < safety[topic],
        length=SHORTEST_WORDS + (random.random(size) * (LONGEST_WORDS - SHORTEST_WORDS + 1)).astype(np.int64),
    )


def _draw(shares: NDArray[np.float64], uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    drawn = np.searchsorted(np.cumsum(shares), uniform, side="right")
    return np.minimum(drawn, len(shares) - 1).astype(np.int64)
