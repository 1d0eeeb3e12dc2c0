"""Synthetic texts: each word of a page comes from the background language or from a list that shows a trait."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from al_platform.sources.page_traits import Traits
from al_platform.sources.source import SENTIMENT
from al_platform.sources.vocabulary import (
    BACKGROUND_CUMULATIVE,
    LIST_CUMULATIVE,
    WordLists,
    word_lists,
)

# Share of a page's words by what they show. A plain page has the larger share of its topic, an unclear one the smaller.
_TOPIC = (0.025, 0.12)
_STORY = (0.03, 0.15)
_OTHER_TOPIC = (0.04, 0.0)
_SENTIMENT = {"negative": 0.09, "neutral": 0.03, "positive": 0.09}
_UNSAFE = 0.06
# Harmless pages use an unsafe word now and then.
_HARMLESS = 0.004

# How often a negative or positive page uses a word of its own side; a neutral page uses both alike.
_OWN_SIDE = 0.8

_EDITS = (0.05, 0.15)


class Texts(NamedTuple):
    """Texts of N pages, one after the other.

    Attributes:
        words: Word ids of all pages.
        offsets: Where each page begins, and the end, shape (N + 1,).
    """

    words: NDArray[np.int32]
    offsets: NDArray[np.int32]


def write(traits: Traits, seed: int, month: int, random: np.random.Generator) -> Texts:
    """Write the texts of the pages.

    Args:
        traits: What to write about.
        seed: Of the web.
        month: A ``month_number``: which stories are told, and how.
        random: Only its ``random()`` is used.
    """
    lists = word_lists(seed, month)
    offsets = np.concatenate([[0], np.cumsum(traits.length)])
    page = np.repeat(np.arange(len(traits.topic)), traits.length)
    words = np.searchsorted(BACKGROUND_CUMULATIVE, random.random(len(page)), side="right")
    rank = np.searchsorted(LIST_CUMULATIVE, random.random(len(page)), side="right")
    kind = random.random(len(page))
    which = random.random(len(page))
    bound = np.zeros(len(traits.topic))
    for share, chosen in _parts(traits, lists):
        start, bound = bound, bound + share
        here = (kind >= start[page]) & (kind < bound[page])
        words[here] = chosen(page[here], rank[here], which[here])
    return Texts(words.astype(np.int32), offsets.astype(np.int32))


def edited_copies(
    texts: Texts, source: NDArray[np.int64], is_edited: NDArray[np.bool_], random: np.random.Generator
) -> Texts:
    """Return for each page the text of its source; in edited copies 5 to 15 % of the words are replaced.

    Args:
        texts: Texts of N pages.
        source: Row that each page's text is taken from, shape (N,).
        is_edited: Which pages change words, shape (N,).
        random: Only its ``random()`` is used.
    """
    length = np.diff(texts.offsets)[source]
    offsets = np.concatenate([[0], np.cumsum(length)])
    page = np.repeat(np.arange(len(source)), length)
    position = np.arange(len(page)) - offsets[page]
    words = texts.words[texts.offsets[source][page] + position]
    share = np.where(is_edited, _between(_EDITS, random.random(len(source))), 0)
    edited = random.random(len(page)) < share[page]
    words[edited] = np.searchsorted(BACKGROUND_CUMULATIVE, random.random(int(edited.sum())), side="right")
    return Texts(words, offsets.astype(np.int32))


_Tokens = NDArray[np.int64]
_Chosen = Callable[[_Tokens, _Tokens, NDArray[np.float64]], _Tokens]


def _parts(traits: Traits, lists: WordLists) -> list[tuple[NDArray[np.float64], _Chosen]]:
    """Return the meaningful parts of a text: share of each page's words, and the word for a (page, rank, chance)."""
    has_story = traits.story >= 0
    return [
        (_between(_TOPIC, traits.clarity), lambda page, rank, _: lists.topics[traits.topic[page], rank]),
        (
            _between(_STORY, traits.clarity) * has_story,
            lambda page, rank, _: lists.stories[traits.topic[page], traits.story[page], rank],
        ),
        (
            _between(_OTHER_TOPIC, traits.clarity),
            lambda page, rank, _: lists.topics[traits.other_topic[page], rank],
        ),
        (
            np.array([_SENTIMENT[label] for label in SENTIMENT])[traits.sentiment],
            lambda page, rank, which: lists.sentiment[_sides(traits.sentiment[page], which), rank],
        ),
        (
            np.where(traits.brand_safety.any(axis=1), _UNSAFE, _HARMLESS),
            lambda page, rank, which: lists.brand_safety[_unsafe_lists(traits.brand_safety, page, which), rank],
        ),
    ]


def _between(bounds: tuple[float, float], fraction: NDArray[np.float64]) -> NDArray[np.float64]:
    return bounds[0] + (bounds[1] - bounds[0]) * fraction


def _sides(sentiment: _Tokens, which: NDArray[np.float64]) -> _Tokens:
    """Return the row of the sentiment words to use: negative or positive."""
    chance_of_positive = np.array([1 - _OWN_SIDE, 0.5, _OWN_SIDE])[sentiment]
    return np.where(which < chance_of_positive, len(SENTIMENT) - 1, 0)


def _unsafe_lists(brand_safety: NDArray[np.bool_], page: _Tokens, which: NDArray[np.float64]) -> _Tokens:
    """Return the brand-safety label to take a word of: one that holds for the page; any for a harmless page."""
    holds = np.where(brand_safety.any(axis=1, keepdims=True), brand_safety, True)
    cumulative = np.cumsum(holds, axis=1)
    wanted = (which * cumulative[:, -1][page]).astype(np.int64)
    return np.asarray((cumulative[page] <= wanted[:, None]).sum(axis=1))
