"""Drift by plain tests: counts in the same bins, before and now.

Plain tests, because all that is asked is whether two samples differ by more than matters: the population stability
index says how much, a chi-squared test of two samples whether that may be chance, and only both together alarm. With
many pages every difference is significant, with few every index is large. A library for it would bring its own
reports, storage and plots, which this project has already.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.stats import chi2_contingency

from al_platform.domain.paired import holm
from al_platform.domain.slices import UNKNOWN, domain_tiers
from al_platform.domain.text import words

NEW = "new"
BINS = 10
_OTHER, _WITH = "other", "with it"
_SMOOTHING = 0.5  # pages added to each bin, so that an empty one leaves the index finite


class FeatureDrift(BaseModel):
    """How one feature changed.

    Attributes:
        feature: Such as ``language`` or ``predicted sport``.
        psi: Population stability index, 0 where nothing changed.
        p: Of finding such a change where there is none, adjusted for all features (Holm 1979).
        n_before: Pages before.
        n_now: Pages now.
        largest: The bin that moved most, with its shares before and now.
        has_drifted: Whether it is more than chance and more than the limit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    feature: str
    psi: float
    p: float
    n_before: int
    n_now: int
    largest: str
    has_drifted: bool


class Binned(NamedTuple):
    """Pages of each bin, before and now."""

    before: Mapping[str, int]
    now: Mapping[str, int]


class Texts(NamedTuple):
    """What the features of pages are taken from, one of each a page."""

    texts: Sequence[str]
    languages: Sequence[str | None]
    domains: Sequence[str | None]


def compare(features: Mapping[str, Binned], *, psi_limit: float, alpha: float, min_pages: int) -> list[FeatureDrift]:
    """Return the drift of every feature with enough pages on both sides and two bins, the largest first."""
    usable = {name: found for name, binned in features.items() if (found := _counts(binned, min_pages)) is not None}
    tested = [float(chi2_contingency(counts).pvalue) for _, counts in usable.values()]
    drifts = [
        _feature(name, bins, counts, p, psi_limit, alpha)
        for (name, (bins, counts)), p in zip(usable.items(), holm(tested).tolist(), strict=True)
    ]
    return sorted(drifts, key=lambda each: (-each.psi, each.feature))


def psi(before: NDArray[np.float64], now: NDArray[np.float64]) -> float:
    """Return the population stability index of counts in the same bins (Siddiqi 2006, ch. 7).

    It is sum((q - p) ln(q / p)) over the shares p before and q now; half a page is added to each bin.
    """
    p, q = ((counts + _SMOOTHING) / (counts + _SMOOTHING).sum() for counts in (before, now))
    return float(((q - p) * np.log(q / p)).sum())


def text_features(before: Texts, now: Texts) -> dict[str, Binned]:
    """Return length, language, tier of the domain and vocabulary of pages before and now.

    Tiers are those of the domains before; a domain that was not there is ``new``. The vocabulary is that of every
    second page before, by order; the others tell what share of words is new without any drift.
    """
    tiers = dict(zip(before.domains, domain_tiers(before.domains), strict=True))
    known = {word for text in before.texts[::2] for word in words(text)}
    features = {
        "text length": binned_numbers(*([len(text.split()) for text in side.texts] for side in (before, now))),
        "language": Binned(_count(before.languages), _count(now.languages)),
        "vocabulary": binned_numbers(_new_words(before.texts[1::2], known), _new_words(now.texts, known)),
    }
    # Imported pages may come without their domains: then all of the month's would be new.
    if any(before.domains):
        features["domain tier"] = Binned(
            _count([tiers[domain] for domain in before.domains if domain]),
            _count([tiers.get(domain, NEW) for domain in now.domains if domain]),
        )
    return features


def predicted_features(
    trained: Mapping[str, int], n_trained: int, predicted: Mapping[str, int], n: int
) -> dict[str, Binned]:
    """Return, for each label, how many pages have it and how many do not."""
    return {
        f"predicted {label}": Binned(
            {_WITH: trained.get(label, 0), _OTHER: n_trained - trained.get(label, 0)},
            {_WITH: count, _OTHER: n - count},
        )
        for label, count in predicted.items()
    }


def binned_numbers(before: Sequence[float], now: Sequence[float]) -> Binned:
    """Return numbers in bins that hold a tenth of those before each; equal numbers share one."""
    if not len(before):
        return Binned({}, {})
    edges = np.unique(np.quantile(before, np.linspace(0, 1, BINS + 1)[1:-1]))
    names = [f"up to {edge:.4g}" for edge in edges] + [f"above {edges[-1]:.4g}"]
    return Binned(*(_count([names[at] for at in np.searchsorted(edges, side, side="left")]) for side in (before, now)))


def _new_words(texts: Sequence[str], known: set[str]) -> list[float]:
    """Return the share of each text's words that are not known; texts without words are left out."""
    found = (words(text) for text in texts)
    return [sum(word not in known for word in told) / len(told) for told in found if told]


def _count(values: Sequence[str | None]) -> dict[str, int]:
    return dict(Counter(value or UNKNOWN for value in values))


def _counts(binned: Binned, min_pages: int) -> tuple[list[str], NDArray[np.float64]] | None:
    bins = sorted({*binned.before, *binned.now})
    counts = np.array([[side.get(name, 0) for name in bins] for side in binned], dtype=np.float64)
    kept = counts.sum(axis=0) > 0
    if kept.sum() <= 1 or counts.sum(axis=1).min() < min_pages:
        return None
    return [name for name, is_kept in zip(bins, kept, strict=True) if is_kept], counts[:, kept]


def _feature(
    name: str, bins: Sequence[str], counts: NDArray[np.float64], p: float, psi_limit: float, alpha: float
) -> FeatureDrift:
    index = psi(counts[0], counts[1])
    shares = counts / counts.sum(axis=1, keepdims=True)
    # Of two bins both move as far; the last one is told, "with it".
    moves = np.abs(shares[1] - shares[0]).round(9)
    largest = int(np.flatnonzero(moves == moves.max())[-1])
    return FeatureDrift(
        feature=name,
        psi=index,
        p=p,
        n_before=int(counts[0].sum()),
        n_now=int(counts[1].sum()),
        largest=f"{bins[largest]}: {shares[0, largest]:.1%} to {shares[1, largest]:.1%}",
        has_drifted=index > psi_limit and p < alpha,
    )
