"""Figures with their uncertainty: bootstrap, Wilson and Hájek intervals. Differences of two models are in ``paired``.

The bootstrap works on sums a class, not on rows: rows that are equal in everything that counts are one *pattern*, and a
resample of N rows is one multinomial draw over the patterns. That is the same distribution, needs less memory and time
(a few hundred patterns for thousands of single-label pages), and does not depend on the order of rows.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import scipy  # its submodules are loaded when they are used
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from al_platform.domain.errors import InputError
from al_platform.domain.metrics import BoolArray, ClassCounts, FloatArray, checked_weights, macro_f1_of

Method: TypeAlias = Literal["percentile", "bca"]
Statistic: TypeAlias = Callable[[FloatArray], FloatArray]
"""From sums of the columns, shape (..., M), to the figure, shape (...)."""

REPLICATES = 2000
CONFIDENCE = 0.95
CHUNK_ENTRIES = 1_000_000  # of resampling weights at a time: 8 MB


class Estimate(BaseModel):
    """A figure with its two-sided interval, the number of rows and the set it is from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: float
    low: float
    high: float
    n: int
    set: str


class Difference(BaseModel):
    """Challenger minus champion on the same rows; each bound is one-sided at ``confidence``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    point: float
    lower: float
    upper: float
    confidence: float
    n: int
    set: str


class Resamples(NamedTuple):
    """What the bootstrap found: R replicates, K patterns."""

    point: float
    replicates: FloatArray  # (R,)
    without_one: FloatArray  # (K,), the figure without one row of a pattern
    multiplicity: NDArray[np.int64]  # (K,)


def resample(columns: FloatArray, statistic: Statistic, *, seed: int, replicates: int = REPLICATES) -> Resamples:
    """Return bootstrap replicates of a figure that is a function of column sums.

    Args:
        columns: One row a page, shape (N, M); weighted rows are multiplied by their weight.
        statistic: The figure, from sums of shape (..., M) to shape (...).
        seed: Decides the draws; the order of rows does not matter.
        replicates: Number of resamples R.
    """
    patterns, multiplicity = _patterns(columns)
    n_rows = len(columns)
    generator = np.random.default_rng(seed)
    shares = multiplicity / n_rows
    chunk = max(1, CHUNK_ENTRIES // len(patterns))
    drawn = [
        statistic(generator.multinomial(n_rows, shares, min(chunk, replicates - start)) @ patterns)
        for start in range(0, replicates, chunk)
    ]
    total = multiplicity @ patterns
    return Resamples(float(statistic(total)), np.concatenate(drawn), statistic(total - patterns), multiplicity)


def quantiles(resamples: Resamples, probabilities: Sequence[float], method: Method) -> list[float]:
    """Return bounds of the figure at the given probabilities.

    ``percentile``: the replicates' own quantiles. ``bca``: corrected for bias and skewness (Efron 1987, "Better
    Bootstrap Confidence Intervals", eq. 2.3 and 6.6).
    """
    levels = np.asarray(probabilities, dtype=np.float64)
    if method == "bca":
        levels = _corrected(resamples, levels)
    return [float(bound) for bound in np.quantile(resamples.replicates, levels)]


def macro_f1_estimate(
    truth: BoolArray,
    decisions: BoolArray,
    *,
    set_name: str,
    seed: int,
    weights: FloatArray | None = None,
    confidence: float = CONFIDENCE,
    replicates: int = REPLICATES,
    method: Method = "bca",
) -> Estimate:
    """Return macro-F1 with a two-sided bootstrap interval.

    Raises:
        InputError: No rows, or shapes or weights that do not fit.
    """
    row_weights = checked_weights(truth, decisions, weights)
    resamples = resample(
        _weighted(row_weights, truth & decisions, decisions, truth),
        lambda sums: macro_f1_of(ClassCounts(*np.split(sums, 3, axis=-1))),
        seed=seed,
        replicates=replicates,
    )
    low, high = quantiles(resamples, _two_sided(confidence), method)
    return Estimate(value=resamples.point, low=low, high=high, n=len(truth), set=set_name)


def wilson(successes: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the score interval of a proportion (Wilson 1927); ``n`` may be an effective sample size.

    Raises:
        InputError: ``n`` is not positive or ``successes`` is not between 0 and ``n``.
    """
    if not 0 <= successes <= n or n <= 0:
        raise InputError(f"A proportion needs 0 <= successes <= n and n > 0, found {successes} of {n}.")
    z = float(scipy.special.ndtri((1 + confidence) / 2))
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low = 0.0 if successes == 0 else float(centre - half)
    high = 1.0 if successes == n else float(centre + half)
    return low, high


def hajek(
    values: NDArray[np.bool_] | FloatArray,
    inclusion_probabilities: FloatArray,
    *,
    set_name: str,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Return the mean over the frame that the rows were drawn from with known probabilities.

    The mean is sum(y / p) / sum(1 / p) (Hájek 1971), its variance that of the linearised residuals (Särndal, Swensson
    and Wretman 1992, sec. 5.7, draws taken as independent, which errs on the wide side for strata). Boolean values get
    a Wilson interval at the effective sample size (after Korn and Graubard 1998), others a Student interval.

    Args:
        values: One a row, shape (N,); boolean for a share.
        inclusion_probabilities: Above 0 and at most 1, shape (N,).
        set_name: The set the rows are from.
        confidence: Two-sided.

    Raises:
        InputError: Fewer than two rows, shapes that differ, or a probability outside (0, 1].
    """
    weights = inverse_probabilities(inclusion_probabilities)
    n = len(values)
    if n < 2 or values.shape != weights.shape:  # noqa: PLR2004
        raise InputError(
            f"A weighted mean with an interval needs at least 2 values and one inclusion probability for each, "
            f"found shapes {values.shape} and {weights.shape}."
        )
    mean = float(weights @ values / weights.sum())
    variance = n / (n - 1) * float(((weights * (values - mean)) ** 2).sum() / weights.sum() ** 2)
    if values.dtype == np.bool_:
        low, high = _share_interval(mean, variance, weights, confidence)
    else:
        half = float(scipy.special.stdtrit(n - 1, (1 + confidence) / 2)) * np.sqrt(variance)
        low, high = mean - half, mean + half
    return Estimate(value=mean, low=float(low), high=float(high), n=n, set=set_name)


def inverse_probabilities(inclusion_probabilities: FloatArray) -> FloatArray:
    """Return the design weights 1 / p.

    Raises:
        InputError: A probability is missing or outside (0, 1].
    """
    probabilities = np.asarray(inclusion_probabilities, dtype=np.float64)
    usable = (probabilities > 0) & (probabilities <= 1)
    if not usable.all():
        raise InputError(
            f"{int((~usable).sum())} of {len(probabilities)} inclusion probabilities are missing or outside (0, 1]. "
            f"Use only pages that were drawn at random (audit, exploration)."
        )
    return 1 / probabilities


def _patterns(columns: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """Return the distinct rows and how often each occurs; compared as bytes, which is faster than column by column."""
    rows = np.ascontiguousarray(columns, dtype=np.float64)
    as_bytes = rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).ravel()
    _, first, multiplicity = np.unique(as_bytes, return_index=True, return_counts=True)
    return rows[first], multiplicity


def _weighted(weights: FloatArray, *indicators: BoolArray) -> FloatArray:
    return np.hstack(indicators) * weights[:, None]


def _two_sided(confidence: float) -> tuple[float, float]:
    return (1 - confidence) / 2, (1 + confidence) / 2


def _corrected(resamples: Resamples, levels: FloatArray) -> FloatArray:
    """Return the levels at which BCa reads the replicates; Efron 1987."""
    n_replicates = len(resamples.replicates)
    below = float(
        np.mean(resamples.replicates < resamples.point) + np.mean(resamples.replicates == resamples.point) / 2
    )
    bias = scipy.special.ndtri(np.clip(below, 0.5 / n_replicates, 1 - 0.5 / n_replicates))
    influence = np.average(resamples.without_one, weights=resamples.multiplicity) - resamples.without_one
    spread = float(resamples.multiplicity @ influence**2)
    skew = float(resamples.multiplicity @ influence**3) / (6 * spread**1.5) if spread > 0 else 0.0
    shifted = bias + scipy.special.ndtri(levels)
    return np.asarray(scipy.special.ndtr(bias + shifted / (1 - skew * shifted)))


def _share_interval(share: float, variance: float, weights: FloatArray, confidence: float) -> tuple[float, float]:
    kish = float(weights.sum() ** 2 / (weights**2).sum())
    # A sum of weights may round to a hair above the weights' own sum.
    share = min(max(share, 0.0), 1.0)
    spread = share * (1 - share)
    effective = spread / variance if min(spread, variance) > 0 else kish
    return wilson(share * effective, effective, confidence)
