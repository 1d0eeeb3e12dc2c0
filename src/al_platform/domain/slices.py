"""Slices of a set: what pages have in common, and how two models differ on them."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from al_platform.domain.estimators import CONFIDENCE, Difference
from al_platform.domain.metrics import BoolArray, FloatArray
from al_platform.domain.paired import as_difference, holm, micro_f1_gain

UNKNOWN = "unknown"
LENGTH_BUCKETS = ((50, "under 50 words"), (200, "50 to 199 words"), (1_000, "200 to 999 words"))
TIERS = ((0.5, "head"), (0.9, "middle"))  # share of pages up to which a domain belongs to the tier
TAIL = "tail"

Slices = Mapping[str, Sequence[str]]
"""By name of the slice, the value of each page."""


class SliceDifference(BaseModel):
    """How challenger and champion differ in micro-F1 on the pages with one value of a slice.

    Attributes:
        slice: Such as ``language``.
        value: Such as ``en``.
        difference: Challenger minus champion.
        p_of_harm: Of finding this loss where there is none, adjusted for all slices of the set (Holm 1979).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    slice: str
    value: str
    difference: Difference
    p_of_harm: float


def length_bucket(text: str) -> str:
    """Return how long a text is, in words."""
    words = len(text.split())
    return next((name for limit, name in LENGTH_BUCKETS if words < limit), "1,000 words and more")


def domain_tiers(domains: Sequence[str | None]) -> list[str]:
    """Return the tier of each page's domain: the largest domains with half of the pages are the head, the tail a tenth.

    Domains of equal size are taken by name; where none is known the tier is ``unknown``.
    """
    counts = Counter(domain for domain in domains if domain)
    total, before, tier = sum(counts.values()), 0, {}
    for domain, n in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])):
        tier[domain] = next((name for share, name in TIERS if before < share * total), TAIL)
        before += n
    return [tier[domain] if domain else UNKNOWN for domain in domains]


def slice_differences(
    truth: BoolArray,
    champion_decisions: BoolArray,
    challenger_decisions: BoolArray,
    slices: Slices,
    *,
    set_name: str,
    min_support: int,
    weights: FloatArray | None = None,
    confidence: float = CONFIDENCE,
) -> list[SliceDifference]:
    """Return the differences on every slice with at least ``min_support`` pages, in the order of names and values.

    A slice with one value is the whole set and left out.

    Args:
        truth: Boolean (N, C).
        champion_decisions: Boolean (N, C).
        challenger_decisions: Boolean (N, C).
        slices: By name, the value of each page.
        set_name: The set the rows are from.
        min_support: Pages of the smallest slice.
        weights: One over the inclusion probabilities where rows were drawn unequally.
        confidence: Of each bound alone.
    """
    found = []
    for name, value, rows in _supported(slices, min_support):
        row_weights = None if weights is None else weights[rows]
        gain = micro_f1_gain(truth[rows], champion_decisions[rows], challenger_decisions[rows], row_weights)
        difference = as_difference(gain, confidence, len(rows), set_name)
        found.append((name, value, difference, float(gain.p_of_harm())))
    adjusted = holm([p for *_, p in found]).tolist()
    return [
        SliceDifference(slice=name, value=value, difference=difference, p_of_harm=p)
        for (name, value, difference, _), p in zip(found, adjusted, strict=True)
    ]


def _supported(slices: Slices, min_support: int) -> list[tuple[str, str, np.ndarray[tuple[int], np.dtype[np.int64]]]]:
    found = []
    for name in sorted(slices):
        values = np.array(slices[name], dtype=object)
        distinct = sorted(set(slices[name]))
        rows = {value: np.flatnonzero(values == value) for value in distinct if len(distinct) > 1}
        found += [(name, value, chosen) for value, chosen in rows.items() if len(chosen) >= min_support]
    return found
