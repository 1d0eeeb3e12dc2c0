"""The words of the synthetic web: a background language, and lists of words that carry a meaning for some time."""

import hashlib
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from al_platform.sources.source import BRAND_SAFETY, SENTIMENT, TOPICS

# Ids below BACKGROUND_WORDS are the background language, most frequent first; the ids above turn up in stories only.
BACKGROUND_WORDS = 6_000
STORY_WORDS = 24_000
LIST_WORDS = 200

# Lists draw on background words from this rank on: rarer words may mean something, the commonest may not.
_FIRST_MEANINGFUL = 150
# Share of a new story's words that nobody used before.
_NEW_SHARE = 0.7

_BACKGROUND_EXPONENT = 1.0
_LIST_EXPONENT = 0.7

# A story is at its height in the month it breaks, and gone after a year.
STORY_MONTHS = 12
_STORY_DECAY_MONTHS = 4.0

_SYLLABLES = tuple(consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou")
_STRIDE = 7_919  # a prime that shares no factor with 70**3, so that neighbouring ids look unlike


class WordLists(NamedTuple):
    """The meaningful words of one month.

    Attributes:
        topics: Lasting words of each topic, shape (C, LIST_WORDS).
        stories: Words of each topic's stories, youngest first, shape (C, STORY_MONTHS, LIST_WORDS).
        sentiment: Words of each sentiment, shape (S, LIST_WORDS); the neutral row is unused.
        brand_safety: Words of each brand-safety label, shape (B, LIST_WORDS).
    """

    topics: NDArray[np.int64]
    stories: NDArray[np.int64]
    sentiment: NDArray[np.int64]
    brand_safety: NDArray[np.int64]


def generator(*parts: object) -> np.random.Generator:
    """Return a generator that depends on ``parts`` alone.

    Only ``random()`` may be asked of it: the stream of the other methods may change with the version of numpy.
    """
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))


def zipf_cumulative(words: int, exponent: float) -> NDArray[np.float64]:
    """Return the cumulative shares of ranks 1 to ``words`` under Zipf's law."""
    cumulative = np.cumsum(np.arange(1, words + 1) ** -exponent)
    shares: NDArray[np.float64] = cumulative / cumulative[-1]
    return shares


BACKGROUND_CUMULATIVE = zipf_cumulative(BACKGROUND_WORDS, _BACKGROUND_EXPONENT)
LIST_CUMULATIVE = zipf_cumulative(LIST_WORDS, _LIST_EXPONENT)


@lru_cache(maxsize=1)
def spellings() -> pa.Array:
    """Return the spelling of every word id: three syllables each, all different."""
    base = len(_SYLLABLES)
    scrambled = [index * _STRIDE % base**3 for index in range(BACKGROUND_WORDS + STORY_WORDS)]
    return pa.array(
        [_SYLLABLES[code // base**2] + _SYLLABLES[code // base % base] + _SYLLABLES[code % base] for code in scrambled]
    )


@lru_cache(maxsize=16)
def word_lists(seed: int, month: int) -> WordLists:
    """Return the meaningful words of a month (a ``month_number``); all but the stories last for ever."""
    return WordLists(
        topics=np.array([_lasting(seed, "topic", topic) for topic in TOPICS]),
        stories=np.array([[_story(seed, topic, month - age) for age in range(STORY_MONTHS)] for topic in TOPICS]),
        sentiment=np.array([_lasting(seed, "sentiment", label) for label in SENTIMENT]),
        brand_safety=np.array([_lasting(seed, "brand_safety", label) for label in BRAND_SAFETY]),
    )


def story_shares() -> NDArray[np.float64]:
    """Return how much a topic's pages are about each of its stories, youngest first, shape (STORY_MONTHS,)."""
    weights = np.exp(-np.arange(STORY_MONTHS) / _STORY_DECAY_MONTHS)
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


def _lasting(*parts: object) -> NDArray[np.int64]:
    return _pick(generator(*parts).random(LIST_WORDS), _FIRST_MEANINGFUL, BACKGROUND_WORDS)


def _story(seed: int, topic: str, broke: int) -> NDArray[np.int64]:
    random = generator(seed, "story", topic, broke)
    new = _pick(random.random(LIST_WORDS), BACKGROUND_WORDS, BACKGROUND_WORDS + STORY_WORDS)
    known = _pick(random.random(LIST_WORDS), _FIRST_MEANINGFUL, BACKGROUND_WORDS)
    return np.where(random.random(LIST_WORDS) < _NEW_SHARE, new, known)


def _pick(uniform: NDArray[np.float64], first: int, end: int) -> NDArray[np.int64]:
    return first + (uniform * (end - first)).astype(np.int64)
