"""What a traffic source offers, and the three families that the shipped sources know the answers of.

Both shipped sources use the same label names, so that one YAML file per family serves either of them.
"""

from collections.abc import Mapping
from typing import Protocol

import pyarrow as pa

from al_platform.domain.errors import ConfigError, known_names
from al_platform.schemas import IMPORTED_LABELS, PAGES, STRINGS, conform

TOPICS = ("business", "entertainment", "politics", "sport", "tech")
BRAND_SAFETY = ("crime", "violence", "war_terrorism", "death_injury", "alcohol")
SENTIMENT = ("negative", "neutral", "positive")

FAMILY_LABELS: Mapping[str, tuple[str, ...]] = {
    "topics": TOPICS,
    "brand_safety": BRAND_SAFETY,
    "sentiment": SENTIMENT,
}


class TrafficSource(Protocol):
    """A part of the web: what was read in a month, and what was labelled before the first month."""

    def pages(self, cycle: str) -> pa.Table:
        """Return the pages read in ``cycle``: ``schemas.PAGES`` and a column ``truth_<family>`` per family."""
        ...

    def seed_labels(self, family: str) -> pa.Table:
        """Return the pages that are labelled from the start, see ``schemas.IMPORTED_LABELS``."""
        ...


def pages_with_truth(pages: pa.Table, truth: Mapping[str, pa.Array]) -> pa.Table:
    """Return ``pages`` with a column ``truth_<family>`` of type list<string> per family."""
    conformed = conform(pages, PAGES, "pages")
    for family, values in truth.items():
        conformed = conformed.append_column(truth_column(family), values.cast(STRINGS))
    return conformed


def as_seed_labels(pages: pa.Table, family: str) -> pa.Table:
    """Return pages with their truth as labels of ``family``, see ``schemas.IMPORTED_LABELS``."""
    labelled = pages.append_column("values", pages.column(truth_column(family)))
    return conform(labelled, IMPORTED_LABELS, f"seed labels of {family}").select(IMPORTED_LABELS.names)


def truth_column(family: str) -> str:
    """Return the name of the column with the true values of ``family``.

    Raises:
        ConfigError: The shipped sources do not know the answers of this family.
    """
    if family not in FAMILY_LABELS:
        raise ConfigError(
            f"This traffic source has no answers for the family {family!r}. {known_names(family, FAMILY_LABELS)}"
        )
    return f"truth_{family}"
