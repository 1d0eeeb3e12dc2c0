"""Learning curves: the error of a model against the number of labels it was trained on, from few points.

The curve is an inverse power law above an asymptote, error(n) = a + b n^-c (Mukherjee et al. 2003; Figueroa et al.
2012; Hestness et al. 2017). What is kept is not one curve but all that the points leave possible: those whose weighted
squares exceed the least ones by no more than a chi-squared quantile. The interval of a figure goes from the least to
the largest value it takes on them, which is its profile likelihood interval (Cox and Hinkley 1974, ch. 9). With few
points the set is large, and so are the intervals. Percentiles of a parametric bootstrap, in the same simulations,
covered 85 % instead of 90 % where the asymptote is near 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy  # its submodules are loaded when they are used

from al_platform.domain.errors import InputError
from al_platform.domain.metrics import BoolArray, ClassCounts, FloatArray, macro_f1_of

CONFIDENCE = 0.9
MIN_POINTS = 4  # one more than the curve has parameters
MIN_SPAN = 2.0  # largest training set over the smallest; below it a bend cannot be told from noise

_EXPONENTS = np.geomspace(0.05, 2, 100)  # measured ones lie between 0.07 (Hestness et al. 2017) and about 1
_SLOPES = 25  # values of b for each exponent
_LEVELS = 5  # values of a for each of those
_MISFIT = 0.05  # points that fit so badly by chance so rarely have more noise than is known of
_RESAMPLES = 500
_CLEARLY = 2  # standard errors


class Points(NamedTuple):
    """Errors of models trained on ``n`` pages each, (P,), with the covariance of their noise, (P, P)."""

    n: FloatArray
    error: FloatArray
    covariance: FloatArray


@dataclass(frozen=True)
class Curves:
    """Curves a + b (n / unit)^-c that are possible; the first is the best.

    Attributes:
        a: Asymptotes, (K,).
        b: Errors above them at ``unit`` labels, (K,).
        c: Exponents, (K,).
        excess: Weighted squares above those of the best, (K,); at most ``limit``.
        limit: Of the excess, at ``CONFIDENCE``.
        unit: Number of labels.
    """

    a: FloatArray
    b: FloatArray
    c: FloatArray
    excess: FloatArray
    limit: float
    unit: float

    def error(self, n: float | FloatArray) -> FloatArray:
        """Return the error of each curve at ``n`` training labels of shape (...): shape (K, ...)."""
        ratio = np.asarray(n, dtype=np.float64) / self.unit
        a, b, c = (each.reshape(-1, *[1] * ratio.ndim) for each in (self.a, self.b, self.c))
        return np.asarray(a + b * ratio**-c)


def missing_points(n: Sequence[float]) -> str | None:
    """Return what training sets of these sizes lack for a curve, or None if they suffice."""
    distinct = sorted(set(n))
    if len(distinct) >= MIN_POINTS and distinct[-1] >= MIN_SPAN * distinct[0]:
        return None
    found = f"from {distinct[0]:,.0f} to {distinct[-1]:,.0f} labels" if distinct else "none"
    return (
        f"needs {MIN_POINTS} training sets of different size, the largest at least {MIN_SPAN:g} times the smallest; "
        f"found {len(distinct)} ({found})"
    )


def has_begun(points: Points) -> bool:
    """Return whether the model of the largest training set recognises more than chance leaves open.

    Before that, in what Hestness et al. (2017) call the small data region, errors lie flat at their highest and no
    power law holds: a curve through them would say that labels are of no use.
    """
    largest = int(points.n.argmax())
    return bool(1 - points.error[largest] > _CLEARLY * np.sqrt(points.covariance[largest, largest]))


def fit_curves(points: Points) -> Curves:
    """Return the curves that the points leave possible.

    Where the best curve misses the points by more than their noise explains (p < 0.05), the noise is taken to be as
    large as the misses.

    Raises:
        InputError: Too few points; see :func:`missing_points`.
    """
    if (missing := missing_points(points.n.tolist())) is not None:
        raise InputError(f"A learning curve {missing}.")
    unit = float(points.n.max())
    sums = _Sums.of(points, unit)
    best = int(np.argmin(sums.least))
    limit = float(scipy.special.chdtri(1, 1 - CONFIDENCE))
    noise = _noise_scale(float(sums.least[best]), len(points.n))
    net = sums.possible(float(sums.least[best]), limit * noise)
    first = [sums.bounded_a[best]], [sums.bounded_b[best]], [_EXPONENTS[best]], [0.0]
    a, b, c, excess = (np.concatenate(pair) for pair in zip(first, net, strict=True))
    return Curves(a, b, c, excess / noise, limit, unit)


def subset_points(truth: BoolArray, decisions: Mapping[int, Sequence[BoolArray]], seed: int = 0) -> Points:
    """Return the errors, 1 - macro-F1, of models trained on random subsets of one training set.

    Their noise has two parts. All are scored on the same pages, whose resamples (a case bootstrap) say how the errors
    vary together. And each subset is a sample: what models of different subsets of n of N pages differ by, divided by
    1 - n / N for the pages they share, is the variance of training on n pages; it is taken to fall with 1 / n. The
    largest set, of which there is one, has it too.

    Args:
        truth: (M, C) of the held-out pages.
        decisions: By size of the training set, of each model of it: (M, C).
        seed: Decides the resamples.
    """
    sizes = sorted(decisions)
    n = np.array(sizes, dtype=np.float64)
    times = np.ones((1, len(truth)))
    share = np.full(len(truth), 1 / len(truth))
    drawn = np.random.default_rng(seed).multinomial(len(truth), share, _RESAMPLES).astype(np.float64)
    found = [np.array([_errors(truth, each, times)[0] for each in decisions[size]]) for size in sizes]
    resampled = [np.mean([_errors(truth, each, drawn) for each in decisions[size]], axis=0) for size in sizes]
    # Of pages on which no model errs there is no noise to resample: a page more could be wrong all the same.
    step = 1 / len(truth) ** 2
    own = np.maximum(_training_variance(n, found), step / 12)  # a figure that moves in steps
    return Points(n, np.array([each.mean() for each in found]), np.cov(np.array(resampled)) + step + np.diag(own))


def anchored(curves: Curves, n: float, error: float, standard_error: float) -> Curves:
    """Return the curves with their shape kept and their level taken from a model measured at ``n`` labels.

    The shape is the relative error, error(n') / error(n): between models of one task, Hestness et al. (2017) found the
    exponent kept and the level moved. A level is possible with a curve as far as both together are.
    """
    relative = curves.error(n)
    reach = standard_error * np.sqrt(np.maximum(curves.limit - curves.excess, 0))
    levels = np.concatenate([[error], error - reach, error + reach])
    shape = np.concatenate([[0], np.arange(len(reach)), np.arange(len(reach))])
    scale = np.maximum(levels, 0) / np.maximum(relative[shape], np.finfo(np.float64).tiny)
    excess = np.concatenate([[0.0], np.full(2 * len(reach), curves.limit)])
    return Curves(curves.a[shape] * scale, curves.b[shape] * scale, curves.c[shape], excess, curves.limit, curves.unit)


class _Sums(NamedTuple):
    """For each exponent (G,): sums over the whitened points, and the best a and b without and within their bounds."""

    one: float
    x: FloatArray
    xx: FloatArray
    free_a: FloatArray
    free_b: FloatArray
    free_least: FloatArray
    bounded_a: FloatArray
    bounded_b: FloatArray
    least: FloatArray

    @classmethod
    def of(cls, points: Points, unit: float) -> "_Sums":
        x = (points.n / unit) ** -_EXPONENTS[:, None]  # (G, P)
        weights = np.linalg.inv(points.covariance)
        ones = np.ones(len(points.n))
        one, y, yy = (float(left @ weights @ right) for left, right in _pairs(ones, points.error))
        sx, sxy, sxx = x @ weights @ ones, x @ weights @ points.error, ((x @ weights) * x).sum(axis=1)

        def squares(a: FloatArray, b: FloatArray) -> FloatArray:
            return np.asarray(yy - 2 * a * y - 2 * b * sxy + a**2 * one + 2 * a * b * sx + b**2 * sxx)

        b = (one * sxy - sx * y) / (one * sxx - sx**2)
        a = (y - b * sx) / one
        # Errors are at least 0 and do not rise: outside, the best lies on the nearer bound.
        on_floor, flat = np.maximum(sxy / sxx, 0), np.full_like(b, max(y / one, 0))
        in_b = np.where(b < 0, 0, np.where(a < 0, on_floor, b))
        in_a = np.where(b < 0, flat, np.where(a < 0, 0, a))
        return cls(one, sx, sxx, a, b, squares(a, b), in_a, in_b, squares(in_a, in_b))

    def possible(self, least: float, limit: float) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return a, b, c and excess of a net over all curves whose squares are at most ``least + limit``."""
        slack = (least + limit - self.free_least)[:, None]  # (G, 1): the room inside the ellipse of each exponent
        curvature = (self.xx - self.x**2 / self.one)[:, None]
        half = np.sqrt(np.maximum(slack, 0) / curvature)
        low, high = np.maximum(self.free_b[:, None] - half, 0), self.free_b[:, None] + half
        b = low + (high - low) * np.linspace(0, 1, _SLOPES)  # (G, B)
        away = b - self.free_b[:, None]
        middle = self.free_a[:, None] - away * self.x[:, None] / self.one
        half = np.sqrt(np.maximum(slack - curvature * away**2, 0) / self.one)
        bottom = np.maximum(middle - half, 0)
        is_possible = ((slack >= 0) & (high >= 0) & (middle + half >= 0)).ravel()
        a = bottom[..., None] + (middle + half - bottom)[..., None] * np.linspace(0, 1, _LEVELS)  # (G, B, A)
        squares = (self.free_least[:, None] + curvature * away**2)[..., None] + self.one * (a - middle[..., None]) ** 2
        c = np.broadcast_to(_EXPONENTS[:, None], b.shape)
        rows = [np.repeat(each.ravel()[is_possible], _LEVELS) for each in (b, c)]
        inside = [each.reshape(-1, _LEVELS)[is_possible].ravel() for each in (a, squares)]
        return inside[0], rows[0], rows[1], np.clip(inside[1] - least, 0, limit)


def _pairs(ones: FloatArray, y: FloatArray) -> tuple[tuple[FloatArray, FloatArray], ...]:
    return (ones, ones), (ones, y), (y, y)


def _noise_scale(squares: float, n_points: int) -> float:
    freedom = n_points - (MIN_POINTS - 1)
    return squares / freedom if squares > scipy.special.chdtri(freedom, _MISFIT) else 1.0


def _errors(truth: BoolArray, decisions: BoolArray, times: FloatArray) -> FloatArray:
    counts = (times @ marks.astype(np.float64) for marks in (truth & decisions, decisions, truth))
    return np.asarray(1 - macro_f1_of(ClassCounts(*counts)))


def _training_variance(n: FloatArray, errors: Sequence[FloatArray]) -> FloatArray:
    """Return the variance of the mean error of each size that comes of which pages were trained on."""
    shared = n / n.max()
    repeated = [size for size, each in enumerate(errors) if len(each) > 1 and shared[size] < 1]
    if not repeated:
        raise InputError("The noise of training needs at least two subsets of one size, found none.")
    of_one_page = np.mean([errors[size].var(ddof=1) * n[size] / (1 - shared[size]) for size in repeated])
    models = np.array([len(each) for each in errors])
    return np.asarray(of_one_page / n * (shared + (1 - shared) / models))
