"""The simulated web around the pages: hashed chance, sites of Zipf-like size, addresses."""

import hashlib
import re
from collections.abc import Iterable
from itertools import product

import numpy as np
from numpy.typing import NDArray

_PLACES = ("harbour", "summit", "river", "castle", "meadow", "union", "north", "lantern")
_TITLES = ("gazette", "times", "post", "review", "wire")

# RFC 2606 reserves .example: no simulated address can be anybody's.
DOMAINS = tuple(f"{place}-{title}.example" for title, place in product(_TITLES, _PLACES))

_SLUG_WORDS = 6
_LEAST_AFFINITY = 0.05


def chance(*parts: object) -> float:
    """Return a number in (0, 1) that depends on ``parts`` alone, on every machine."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return (int.from_bytes(digest[:6], "big") + 0.5) / 2**48


def chances(ids: Iterable[str], *parts: object) -> NDArray[np.float64]:
    """Return ``chance`` for each of ``ids``, shape (N,)."""
    return np.array([chance(*parts, each) for each in ids], dtype=float)


def site_shares(topics: Iterable[str], seed: int) -> NDArray[np.float64]:
    """Return which share of a topic's pages each site has, shape (C, sites): few large sites, each with a profile."""
    size = 1 / np.arange(1, len(DOMAINS) + 1)
    shares = np.array([size * (_LEAST_AFFINITY + chances(DOMAINS, seed, "site", topic) ** 3) for topic in topics])
    normalised: NDArray[np.float64] = shares / shares.sum(axis=1, keepdims=True)
    return normalised


def draw_sites(topic: NDArray[np.int64], shares: NDArray[np.float64], chance: NDArray[np.float64]) -> list[str]:
    """Return a domain for each page.

    Args:
        topic: Row of ``shares`` that a page belongs to, shape (N,).
        shares: See ``site_shares``.
        chance: Uniform numbers in [0, 1), shape (N,).
    """
    cumulative = np.cumsum(shares, axis=1)
    chosen = (chance[:, None] > cumulative[topic]).sum(axis=1)
    return [DOMAINS[min(site, len(DOMAINS) - 1)] for site in chosen]


def address(domain: str, title: str, page_id: str) -> str:
    """Return the simulated URL of a page."""
    words = re.findall(r"[a-z0-9]+", title.lower())[:_SLUG_WORDS]
    return f"https://{domain}/{'-'.join([*words, page_id])}"
