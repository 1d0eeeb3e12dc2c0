"""How well each annotator answers, and what the answers therefore say: Dawid & Skene's model.

Each annotator has a confusion matrix, each page a true class that nobody saw; expectation-maximisation finds both
(Dawid & Skene 1979, "Maximum likelihood estimation of observer error-rates using the EM algorithm"). Few answers say
little about a matrix, so each is drawn towards that of all annotators together, as hierarchical variants do (Paun et
al. 2018, "Comparing Bayesian models of annotation"). An answer is weighed by what its annotator said about other pages:
else two careful people who contradict each other once would not stay a tie, as the page itself, once it leans to one
side, counts as an error of the other. Pages whose class is known hold the estimate in place.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

_TOLERANCE = 1e-4
# Keeps every logarithm finite where nothing was seen and nothing is shared.
_TRACE = 1e-9
# What all annotators together are taken to be before they have answered: right eight times in ten.
_FIRST_RIGHT, _FIRST_WEIGHT = 0.8, 10.0

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class DawidSkeneOptions(BaseModel):
    """How the model is fitted.

    Attributes:
        shrinkage: Answers to each true class that the matrix of all annotators counts in that of each one. 0: each
            stands alone.
        iterations: Of expectation-maximisation, at most.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shrinkage: float = Field(default=10.0, ge=0)
    iterations: int = Field(default=100, ge=1)


class Responses(NamedTuple):
    """M answers: who (``annotator``) chose which class (``choice``) for which item, all (M,), counted from 0.

    Attributes:
        item: Below ``n_items``.
        annotator: Below ``n_annotators``.
        choice: Below ``n_classes``.
        n_items: How many there are, each with at least one answer.
        n_annotators: How many there are.
        n_classes: How many there are.
    """

    item: Ints
    annotator: Ints
    choice: Ints
    n_items: int
    n_annotators: int
    n_classes: int


class Estimate(NamedTuple):
    """What the answers say.

    Attributes:
        posterior: Probability of each class for each item, (N, C).
        confusion: Chance that an annotator answers a class where another is true, (W, C true, C answered).
        prior: Share of each class among items of unknown class, (C,).
    """

    posterior: Floats
    confusion: Floats
    prior: Floats

    @property
    def accuracy(self) -> Floats:
        """Chance that each annotator is right about a page like these, (W,)."""
        return np.asarray(np.einsum("wcc,c->w", self.confusion, self.prior))

    @property
    def recall(self) -> Floats:
        """Chance that each annotator is right, the mean over classes, (W,): what a rare class counts like any."""
        return np.asarray(np.einsum("wcc->w", self.confusion) / len(self.prior))


def estimate(responses: Responses, known: Ints, options: DawidSkeneOptions) -> Estimate:
    """Return the posterior of each item and the matrix of each annotator.

    Args:
        responses: The answers.
        known: Class of each item, -1 where it is not known, (N,).
        options: How the model is fitted.
    """
    certain = np.eye(responses.n_classes)
    is_known = known >= 0
    posterior = _vote_shares(responses)
    posterior[is_known] = certain[known[is_known]]
    for _ in range(options.iterations):
        before = posterior
        prior = _prior(posterior[~is_known])
        counts = _counts(responses, posterior)
        crowd = options.shrinkage * _crowd(counts)
        posterior = _posterior(responses, posterior, counts, crowd, prior)
        posterior[is_known] = certain[known[is_known]]
        if np.abs(posterior - before).max(initial=0) < _TOLERANCE:
            break
    counts = _counts(responses, posterior)
    return Estimate(posterior, _normalised(counts + options.shrinkage * _crowd(counts) + _TRACE), prior)


def _vote_shares(responses: Responses) -> Floats:
    cells = responses.item * responses.n_classes + responses.choice
    votes = np.bincount(cells, minlength=responses.n_items * responses.n_classes).astype(np.float64)
    votes = votes.reshape(responses.n_items, responses.n_classes)
    return np.asarray(votes / votes.sum(axis=1, keepdims=True))


def _prior(posterior: Floats) -> Floats:
    # One page more of each class: none is impossible because it has not been seen.
    counts = posterior.sum(axis=0) + 1
    return np.asarray(counts / counts.sum())


def _counts(responses: Responses, posterior: Floats) -> Floats:
    """Return how often each annotator answered what where what is true, (W, C true, C answered)."""
    n_classes = responses.n_classes
    cells = responses.annotator * n_classes + responses.choice
    size = responses.n_annotators * n_classes
    per_class = [np.bincount(cells, posterior[responses.item, true], size) for true in range(n_classes)]
    counts = np.stack(per_class).astype(np.float64)
    return counts.reshape(n_classes, responses.n_annotators, n_classes).transpose(1, 0, 2)


def _crowd(counts: Floats) -> Floats:
    """Return the matrix of all annotators together, (C true, C answered)."""
    return _normalised(counts.sum(axis=0) + _FIRST_WEIGHT * _first_guess(counts.shape[1]))


def _first_guess(n_classes: int) -> Floats:
    if n_classes == 1:
        return np.ones((1, 1))
    wrong = (1 - _FIRST_RIGHT) / (n_classes - 1)
    return np.where(np.eye(n_classes, dtype=bool), _FIRST_RIGHT, wrong)


def _normalised(counts: Floats) -> Floats:
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))


def _posterior(responses: Responses, before: Floats, counts: Floats, crowd: Floats, prior: Floats) -> Floats:
    """Return the probability of each class, (N, C); each answer is weighed without its own share in ``counts``."""
    answered, own = counts[responses.annotator, :, responses.choice], before[responses.item]  # (M, C true)
    of_true = counts.sum(axis=2)[responses.annotator]
    says = (answered - own + crowd.T[responses.choice] + _TRACE) / (of_true - own + crowd.sum(axis=1) + _TRACE)
    logs = np.log(np.maximum(says, _TRACE))
    summed = [np.bincount(responses.item, logs[:, true], responses.n_items) for true in range(responses.n_classes)]
    log_posterior = np.stack(summed, axis=1) + np.log(prior)
    odds = np.exp(log_posterior - log_posterior.max(axis=1, keepdims=True, initial=-np.inf))
    return _normalised(odds)
