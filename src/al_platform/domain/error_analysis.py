"""Where a model is wrong: confusions, slices and its most confident mistakes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from al_platform.domain.errors import InputError
from al_platform.domain.estimators import wilson
from al_platform.domain.metrics import BoolArray, FloatArray, Probabilities, checked_weights
from al_platform.domain.taxonomy import Taxonomy


class ErrorAnalysisOptions(BaseModel):
    """How much of the analysis is kept.

    Attributes:
        max_mistakes: Most confident mistakes to list.
        min_support: Pages below which a slice is left out: with 20 its accuracy is known to within 15 to 20 points.
        snippet_characters: Length of a text snippet.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_mistakes: int = Field(default=20, ge=0)
    min_support: int = Field(default=20, ge=1)
    snippet_characters: int = Field(default=200, ge=1, le=200)


class _Figure(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Confusion(_Figure):
    """How many pages of label ``truth`` were given the label ``predicted``."""

    truth: str
    predicted: str
    n: int


class ClassErrors(_Figure):
    """How often a class was given wrongly, and how often it was missed."""

    label: str
    false_positives: int
    false_negatives: int


class SliceErrors(_Figure):
    """Accuracy on the pages with one value of a slice, with its 95 % Wilson interval; null: the value is not known."""

    slice: str
    value: str | None
    n: int
    errors: int
    accuracy: float
    low: float
    high: float


class Mistake(_Figure):
    """A wrong page and how sure the model was of the wrong answer (multi-label: of its surest wrong class)."""

    page_id: str
    snippet: str
    truth: tuple[str, ...]
    predicted: tuple[str, ...]
    confidence: float


class ErrorAnalysis(_Figure):
    """Where a model is wrong.

    Attributes:
        n: Pages.
        n_errors: Pages with the wrong label (multi-label: wrong in any class).
        confusions: Single-label: adds up to ``n_errors``, most frequent first. Multi-label: empty.
        class_errors: Multi-label: in label order. Single-label: empty.
        slices: By slice, lowest accuracy first.
        n_small_slices: How many were left out for lack of support.
        mistakes: Most confident first.
    """

    n: int
    n_errors: int
    confusions: tuple[Confusion, ...]
    class_errors: tuple[ClassErrors, ...]
    slices: tuple[SliceErrors, ...]
    n_small_slices: int
    mistakes: tuple[Mistake, ...]


class _Scored(NamedTuple):
    """Truth and decisions (N, C) with the labels of the columns."""

    truth: BoolArray
    decisions: BoolArray
    taxonomy: Taxonomy

    @property
    def is_wrong(self) -> BoolArray:
        return np.asarray((self.truth != self.decisions).any(axis=1), dtype=np.bool_)


def analyse_errors(
    page_ids: Sequence[str],
    texts: Sequence[str],
    truth: BoolArray,
    decisions: BoolArray,
    probabilities: Probabilities,
    taxonomy: Taxonomy,
    slices: Mapping[str, Sequence[str | None]],
    options: ErrorAnalysisOptions,
) -> ErrorAnalysis:
    """Return where the decisions are wrong; the order of pages does not matter.

    Args:
        page_ids: One a page.
        texts: One a page.
        truth: Boolean (N, C), columns in label order.
        decisions: Boolean (N, C); single-label: the most probable class.
        probabilities: (N, C).
        taxonomy: The family's labels.
        slices: By name, the value of each page, such as its language or cycle.
        options: How much to keep.

    Raises:
        InputError: No pages, sequences of different length, or a single-label page without exactly one label.
    """
    _require_consistent(page_ids, texts, truth, decisions, probabilities, taxonomy, slices)
    scored = _Scored(truth, decisions, taxonomy)
    figures = _slices(scored.is_wrong, slices)
    supported = [figure for figure in figures if figure.n >= options.min_support]
    return ErrorAnalysis(
        n=len(truth),
        n_errors=int(scored.is_wrong.sum()),
        confusions=() if taxonomy.is_multi else _confusions(scored),
        class_errors=_class_errors(scored) if taxonomy.is_multi else (),
        slices=tuple(sorted(supported, key=_lowest_accuracy_first)),
        n_small_slices=len(figures) - len(supported),
        mistakes=_mistakes(scored, page_ids, texts, probabilities, options),
    )


def _confusions(scored: _Scored) -> tuple[Confusion, ...]:
    labels = scored.taxonomy.labels
    true_class, predicted = scored.truth.argmax(axis=1), scored.decisions.argmax(axis=1)
    counts = Counter(zip(true_class[scored.is_wrong].tolist(), predicted[scored.is_wrong].tolist(), strict=True))
    ranked = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return tuple(Confusion(truth=labels[t], predicted=labels[p], n=n) for (t, p), n in ranked)


def _class_errors(scored: _Scored) -> tuple[ClassErrors, ...]:
    false_positives = (scored.decisions & ~scored.truth).sum(axis=0).tolist()
    false_negatives = (scored.truth & ~scored.decisions).sum(axis=0).tolist()
    return tuple(
        ClassErrors(label=label, false_positives=positives, false_negatives=negatives)
        for label, positives, negatives in zip(scored.taxonomy.labels, false_positives, false_negatives, strict=True)
    )


def _slices(is_wrong: BoolArray, slices: Mapping[str, Sequence[str | None]]) -> list[SliceErrors]:
    wrong = is_wrong.tolist()
    return [
        _slice(name, value, n, errors[value])
        for name, values in slices.items()
        for errors in [Counter(value for value, is_error in zip(values, wrong, strict=True) if is_error)]
        for value, n in Counter(values).items()
    ]


def _lowest_accuracy_first(figure: SliceErrors) -> tuple[str, float, bool, str]:
    return figure.slice, figure.accuracy, figure.value is not None, figure.value or ""


def _slice(name: str, value: str | None, n: int, errors: int) -> SliceErrors:
    low, high = wilson(n - errors, n)
    return SliceErrors(slice=name, value=value, n=n, errors=errors, accuracy=1 - errors / n, low=low, high=high)


def _mistakes(
    scored: _Scored,
    page_ids: Sequence[str],
    texts: Sequence[str],
    probabilities: Probabilities,
    options: ErrorAnalysisOptions,
) -> tuple[Mistake, ...]:
    confidence = _confidence_in_error(scored, probabilities)
    rows = np.flatnonzero(scored.is_wrong).tolist()
    rows = sorted(rows, key=lambda row: (-confidence[row], page_ids[row]))[: options.max_mistakes]
    truth, predicted = (scored.taxonomy.decode(side[rows]) for side in (scored.truth, scored.decisions))
    return tuple(
        Mistake(
            page_id=page_ids[row],
            snippet=_snippet(texts[row], options.snippet_characters),
            truth=tuple(right),
            predicted=tuple(wrong),
            confidence=float(confidence[row]),
        )
        for row, right, wrong in zip(rows, truth, predicted, strict=True)
    )


def _confidence_in_error(scored: _Scored, probabilities: Probabilities) -> FloatArray:
    """Return, for each page, the highest probability that the model gave to a wrong decision of its own."""
    exact = probabilities.astype(np.float64)
    if not scored.taxonomy.is_multi:
        return np.asarray((exact * scored.decisions).sum(axis=1))
    of_decision = np.where(scored.decisions, exact, 1 - exact)
    return np.asarray(np.where(scored.truth != scored.decisions, of_decision, 0).max(axis=1))


def _snippet(text: str, length: int) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= length else f"{plain[: length - 1]}…"


def _require_consistent(
    page_ids: Sequence[str],
    texts: Sequence[str],
    truth: BoolArray,
    decisions: BoolArray,
    probabilities: Probabilities,
    taxonomy: Taxonomy,
    slices: Mapping[str, Sequence[str | None]],
) -> None:
    checked_weights(truth, decisions, None)
    checked_weights(truth, probabilities, None)
    lengths = {"page_ids": len(page_ids), "texts": len(texts), **{name: len(values) for name, values in slices.items()}}
    unequal = [f"{name} has {length}" for name, length in lengths.items() if length != len(truth)]
    if unequal:
        raise InputError(f"Expected one value for each of {len(truth)} pages, but {', '.join(unequal)}.")
    if truth.shape[1] != len(taxonomy.labels):
        raise InputError(
            f"Truth has {truth.shape[1]} classes but the taxonomy {len(taxonomy.labels)}. Score with this taxonomy."
        )
    is_single = (truth.sum(axis=1) == 1) & (decisions.sum(axis=1) == 1)
    if not taxonomy.is_multi and not is_single.all():
        raise InputError(
            f"{int((~is_single).sum())} of {len(truth)} single-label pages do not have exactly one true and one "
            f"predicted label. Decide for the most probable class."
        )
