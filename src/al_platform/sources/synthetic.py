"""A seeded synthetic web for tests, scale runs and long loops.

It has what makes the real one hard: sites of Zipf-like size, duplicates and edited copies, rare positives, pages
between two topics, and a drift of topics and words that makes a frozen model lose accuracy month by month. Any month
exists, and is the same bytes in every process.
"""

from functools import lru_cache
from typing import Annotated, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from al_platform.domain.cycles import month_number, parse_cycle
from al_platform.sources.months import moments, topic_mix
from al_platform.sources.page_traits import Traits, draw_traits
from al_platform.sources.sites import address, draw_sites, site_shares
from al_platform.sources.source import (
    BRAND_SAFETY,
    SENTIMENT,
    TOPICS,
    as_seed_labels,
    pages_with_truth,
    truth_column,
)
from al_platform.sources.vocabulary import generator, spellings
from al_platform.sources.writing import edited_copies, write

ARCHIVE = "archive"
# Pages are made in blocks of this size, so that a month of a million pages needs no more memory than one of 20,000.
BLOCK_PAGES = 20_000

_TITLE_WORDS = 8
_MIN_VISITS = 10


class SyntheticOptions(BaseModel):
    """What the synthetic web is like.

    Attributes:
        archive_cycle: The month that the pages labelled from the start look like.
        edited_copies: Share of pages that copy another one of the month and change 5 to 15 % of its words.
        exact_copies: Share of pages with the very text of another one of the month.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    archive_cycle: Annotated[str, AfterValidator(parse_cycle)] = "2025-12"
    edited_copies: float = Field(default=0.1, ge=0, le=0.45)
    exact_copies: float = Field(default=0.03, ge=0, le=0.45)


class SyntheticSource:
    """Pages made up from a seed."""

    def __init__(
        self,
        seed: int = 0,
        options: SyntheticOptions | None = None,
        *,
        pages_per_month: int = 20_000,
        seed_labels: int = 400,
    ):
        self._seed = seed
        self._options = options or SyntheticOptions()
        self._pages_per_month = pages_per_month
        self._seed_labels = seed_labels

    def pages(self, cycle: str) -> pa.Table:
        """Return the pages of ``cycle``, see ``TrafficSource``; their order carries no meaning."""
        return self._make(cycle, month_number(cycle), self._pages_per_month)

    def seed_labels(self, family: str) -> pa.Table:
        """Return the labelled pages of the archive with their values of ``family``."""
        truth_column(family)
        return as_seed_labels(self._make(ARCHIVE, month_number(self._options.archive_cycle), self._seed_labels), family)

    def _make(self, period: str, month: int, pages: int) -> pa.Table:
        sizes = [min(BLOCK_PAGES, pages - first) for first in range(0, pages, BLOCK_PAGES)]
        blocks = [_Block(self._seed, period, month, number, size) for number, size in enumerate(sizes)]
        return pa.concat_tables([_make_block(block, self._options) for block in blocks])


class _Block(NamedTuple):
    seed: int
    period: str
    month: int
    number: int
    size: int


def _make_block(block: _Block, options: SyntheticOptions) -> pa.Table:
    random = generator(*block)
    source, is_edited = _copied_from(block.size, options, random)
    traits = draw_traits(block.size, topic_mix(block.month, len(TOPICS)), random)
    texts = edited_copies(write(traits, block.seed, block.month, random), source, is_edited, random)
    words = pa.ListArray.from_arrays(texts.offsets, spellings().take(pa.array(texts.words)))
    titles = pc.binary_join(pc.list_slice(words, 0, _TITLE_WORDS), " ")
    first = block.number * BLOCK_PAGES
    ids = [f"syn-{block.seed}-{block.period}-{row:07d}" for row in range(first, first + block.size)]
    own = traits.take(source)
    domains = draw_sites(own.topic, _shares(block.seed), random.random(block.size))
    pages = {
        "page_id": ids,
        "url": [address(*each) for each in zip(domains, titles.to_pylist(), ids, strict=True)],
        "domain": domains,
        "title": titles,
        "text": pc.binary_join(words, " "),
        "language": ["en"] * block.size,
        "fetched_at": pa.array(moments(block.month, random.random(block.size))),
        "visits": pa.array((_MIN_VISITS / (1 - random.random(block.size))).astype(np.int64)),
    }
    return pages_with_truth(pa.table(pages), _truth(own))


def _copied_from(
    size: int, options: SyntheticOptions, random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the row that each row's text comes from, itself for originals, and which rows are edited copies."""
    kind = random.random(size)
    is_edited = kind < options.edited_copies
    is_copy = kind < options.edited_copies + options.exact_copies
    originals = np.flatnonzero(~is_copy)
    source = np.arange(size)
    if len(originals):
        source[is_copy] = originals[(random.random(int(is_copy.sum())) * len(originals)).astype(np.int64)]
    return source, is_edited & (source != np.arange(size))


def _truth(traits: Traits) -> dict[str, pa.Array]:
    safety = [[label for label, holds in zip(BRAND_SAFETY, row, strict=True) if holds] for row in traits.brand_safety]
    return {
        "topics": pa.array([[TOPICS[row]] for row in traits.topic]),
        "brand_safety": pa.array(safety, pa.list_(pa.string())),
        "sentiment": pa.array([[SENTIMENT[row]] for row in traits.sentiment]),
    }


@lru_cache(maxsize=4)
def _shares(seed: int) -> NDArray[np.float64]:
    return site_shares(TOPICS, seed)
