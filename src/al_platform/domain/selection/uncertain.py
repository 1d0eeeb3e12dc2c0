"""Strategies that ask about pages on which the model is unsure, whatever the pages are about."""

from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from al_platform.domain.errors import InputError
from al_platform.domain.selection.label_scores import scores_of, take_turns
from al_platform.domain.selection.query import Choice, InOrder, LabelScore, Query, StoredOrder, closest_calls
from al_platform.domain.selection.uncertainty import entropy


class Margin(InOrder):
    """The closest calls first.

    Single-label: the smallest gap between the two most likely labels (Scheffer, Decomain & Wrobel 2001, "Active hidden
    Markov models for information extraction"). Multi-label: the smallest distance of any label to its decision
    threshold (Brinker 2006, "On active learning in multi-label classification").
    """

    name: ClassVar[str] = "margin"

    def order(self, *, is_multi: bool) -> StoredOrder:
        """Return ascending margin or distance."""
        return closest_calls(is_multi=is_multi)


class LeastConfidence(InOrder):
    """The least likely best guess first (Lewis & Gale 1994, "A sequential algorithm for training text classifiers").

    Multi-label: a decision is least sure where a label is closest to its threshold, which is what ``margin`` asks too.
    """

    name: ClassVar[str] = "least_confidence"

    def order(self, *, is_multi: bool) -> StoredOrder:
        """Return ascending top probability or distance."""
        return StoredOrder("threshold_distance" if is_multi else "top1")


class Entropy(InOrder):
    """The flattest distribution first (Shannon 1948; as a query strategy: Settles 2009, section 3.1).

    Multi-label: the sum of the labels' binary entropies.
    """

    name: ClassVar[str] = "entropy"

    def order(self, *, is_multi: bool) -> StoredOrder:
        """Return descending entropy."""
        return StoredOrder("entropy", is_descending=True)


class Random(InOrder):
    """Any page as likely as any other: the baseline of every comparison (Settles 2009, "Active learning survey").

    No page is more informative than another, so there are no scores.
    """

    name: ClassVar[str] = "random"


class LabelMargin(InOrder):
    """The closest calls of each label in turn, so that a batch is not just about the largest one.

    Labels take turns in choosing the page on which the decision about them is closest: multi-label the probability
    nearest to their threshold (round robin of Esuli & Sebastiani 2009, "Active learning strategies for multi-label
    text classification"), single-label the one nearest to the best of the other labels (near each class's own
    threshold as in GALAXY, Zhang, Katz-Samuels & Nowak 2022). Their best candidates come from the whole pool.
    """

    name: ClassVar[str] = "label_margin"
    reads: ClassVar[tuple[str, ...]] = ("probabilities",)
    label_score: ClassVar[LabelScore | None] = "closeness"

    def order(self, *, is_multi: bool) -> StoredOrder:
        """Return ascending margin or distance."""
        return closest_calls(is_multi=is_multi)

    def choose(self, candidates: pa.Table, query: Query) -> Choice:
        """Let the labels take turns; candidates without probabilities come last."""
        scores = scores_of(candidates, "closeness", query)
        rows, labels = take_turns(scores, query.size)
        rest = np.setdiff1d(np.arange(candidates.num_rows), rows)[: query.size - len(rows)]
        chosen = scores[rows, labels].astype(np.float64)
        best_first = np.argsort(-chosen, kind="stable")
        return Choice(
            np.concatenate([rows[best_first], rest]),
            np.concatenate([chosen[best_first], np.full(len(rest), np.nan)]),
            np.concatenate([labels[best_first], np.full(len(rest), -1)]),
        )


class Bald(InOrder):
    """Pages on which draws from the model's posterior disagree.

    Houlsby et al. 2011, "Bayesian active learning for classification and preference learning"; with dropout: Gal, Islam
    & Ghahramani 2017. The score is the mutual information of label and weights in nats: entropy of the mean prediction,
    less the mean of the draws' entropies. It is at most the entropy of the mean, which orders the shortlist.

    Draws are a column ``samples`` of the predictions, a list of T probability vectors a page. No model that ships here
    draws any.
    """

    name: ClassVar[str] = "bald"
    reads: ClassVar[tuple[str, ...]] = ("samples",)

    def order(self, *, is_multi: bool) -> StoredOrder:
        """Return descending entropy."""
        return StoredOrder("entropy", is_descending=True)

    def choose(self, candidates: pa.Table, query: Query) -> Choice:
        """Choose the pages of most mutual information; those without samples come last.

        Raises:
            InputError: Draws of a page differ in length, or are no probabilities.
        """
        page_ids, samples = (candidates[name].to_pylist() for name in ("page_id", "samples"))
        found = [
            np.nan if draws is None else mutual_information(draws, page_id, is_multi=query.is_multi)
            for page_id, draws in zip(page_ids, samples, strict=True)
        ]
        scores = np.array(found, dtype=np.float64)
        rows = np.argsort(-scores, kind="stable")[: query.size]
        return Choice(rows, scores[rows])


def mutual_information(draws: list[list[float]], page_id: str, *, is_multi: bool) -> float:
    """Return the mutual information of the label and the draws in nats, 0 if they all agree.

    Raises:
        InputError: The draws are no (T, C) matrix of probabilities.
    """
    if not draws or len({len(draw) for draw in draws}) > 1 or not _are_probabilities(np.array(draws)):
        raise InputError(
            f"Samples of page {page_id!r} must be one or more lists of the same number of probabilities, found "
            f"{draws!r:.200}. Write one probability vector a draw."
        )
    columns = np.array(draws, dtype=np.float32).T  # (C, T)
    of_mean = entropy(columns.mean(axis=1, keepdims=True), is_multi=is_multi)[0]
    return max(0.0, float(of_mean - entropy(columns, is_multi=is_multi).mean()))


def _are_probabilities(draws: NDArray[np.float64]) -> bool:
    return draws.dtype.kind == "f" and bool(((draws >= 0) & (draws <= 1)).all())
