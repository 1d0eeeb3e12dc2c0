"""Accuracy on traffic from random draws of which some pages were never labelled.

Three figures side by side. *Plain*: every page of traffic that was labelled and not trained on, each counted once; it
is wrong where a strategy picked pages. *Inclusion-weighted*: audit and exploration, each page for the pages it stands
for (Hájek 1971). *Audit only*: the audit draw, with each stratum's size taken from all that was drawn in it.

A page that was drawn and has no label is non-response. Nothing is assumed about it: the bounds hold whether all of them
are wrong or all right (Manski 1989, "Anatomy of the selection problem").
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from al_platform.domain.estimators import CONFIDENCE, Estimate, hajek, wilson
from al_platform.domain.metrics import BoolArray, FloatArray
from al_platform.domain.selection.reasons import AUDIT, EXPLORATION

DRAWN_COLUMNS = ("page_id", "reason", "stratum", "inclusion_probability", "cycle")
_SMALLEST = 2  # rows of a mean with an interval


class Response(BaseModel):
    """How much of what was drawn at random has a label.

    Attributes:
        cycles: Months whose draws are counted: those of which any page is in the audit set, and none has left it.
        drawn: Pages drawn in them.
        labelled: Those of them in the audit set.
        share: Labelled share of the traffic that the draws stand for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cycles: tuple[str, ...]
    drawn: int
    labelled: int
    share: float


class WorstCase(BaseModel):
    """Accuracy if every page without a label is wrong, and if every one is right.

    ``low`` and ``high`` are those two; ``interval_low`` and ``interval_high`` add the chance of the draw at 95 %.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: float
    high: float
    interval_low: float
    interval_high: float


class TrafficAccuracy(BaseModel):
    """One model's accuracy on traffic by each estimate; None where there are too few pages."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plain: Estimate | None
    inclusion_weighted: Estimate | None
    audit_only: Estimate | None
    worst_case: WorstCase | None


class RandomDraws(NamedTuple):
    """The random draws of the months in use, and where the labelled pages of the audit set are among them.

    Attributes:
        weights: One over the inclusion probability of each drawn page, (D,).
        labelled_row: Row in the audit set of each drawn page, -1 without a label, (D,).
        is_audit: Whether it was drawn for the audit, (D,).
        stratum: Number of its month and stratum, (D,).
        response: How many have a label.
    """

    weights: FloatArray
    labelled_row: NDArray[np.int64]
    is_audit: BoolArray
    stratum: NDArray[np.int64]
    response: Response


def read_drawn(batches: Any) -> pa.Table:
    """Return the pages that were drawn at random, once each, in the first month that drew them.

    Args:
        batches: ``schemas.BATCH`` with ``cycle``: a table, or anything whose ``select(columns)`` returns one.
    """
    rows = batches.select(list(DRAWN_COLUMNS))
    is_random = pc.and_(
        pc.is_in(rows["reason"], value_set=pa.array([AUDIT, EXPLORATION])), pc.is_valid(rows["inclusion_probability"])
    )
    drawn = rows.filter(is_random).sort_by([("page_id", "ascending"), ("cycle", "ascending")])
    page_ids = drawn["page_id"].to_pylist()
    is_first = [row == 0 or page_ids[row - 1] != page_id for row, page_id in enumerate(page_ids)]
    return drawn.filter(pa.array(is_first, pa.bool_()))


def match_draws(drawn: pa.Table, audit_page_ids: Sequence[str], expired_page_ids: Collection[str] = ()) -> RandomDraws:
    """Return the draws of the months of which any page is in the audit set, and none has left it.

    A month whose answers are all to come is no non-response yet.

    Args:
        drawn: See :func:`read_drawn`.
        audit_page_ids: Pages of the audit set, in the order of its rows.
        expired_page_ids: Pages whose time as test data is over.
    """
    row_of = {page_id: row for row, page_id in enumerate(audit_page_ids)}
    page_ids, cycles = drawn["page_id"].to_pylist(), np.array(drawn["cycle"].to_pylist(), dtype=object)
    labelled = np.array([row_of.get(page_id, -1) for page_id in page_ids], dtype=np.int64)
    has_expired = np.array([page_id in expired_page_ids for page_id in page_ids], dtype=bool)
    months = set(cycles[labelled >= 0].tolist()) - set(cycles[has_expired].tolist())
    in_use = np.array([cycle in months for cycle in cycles.tolist()], dtype=bool)
    kept = drawn.filter(pa.array(in_use))
    weights = 1 / kept["inclusion_probability"].to_numpy()
    labelled = labelled[in_use]
    return RandomDraws(
        weights=weights,
        labelled_row=labelled,
        is_audit=np.array([reason == AUDIT for reason in kept["reason"].to_pylist()], dtype=bool),
        stratum=_numbers([f"{row['cycle']}|{row['stratum']}" for row in kept.select(["cycle", "stratum"]).to_pylist()]),
        response=_response(cycles[in_use], weights, labelled >= 0),
    )


def traffic_accuracy(
    is_right: BoolArray, inclusion_probabilities: FloatArray, plain: BoolArray, draws: RandomDraws
) -> TrafficAccuracy:
    """Return one model's accuracy on traffic by each estimate.

    Args:
        is_right: Of the pages of the audit set, (N,).
        inclusion_probabilities: Of the same, (N,).
        plain: Whether each labelled page of traffic that was not trained on is right, (M,).
        draws: See :func:`match_draws`, matched with the same audit set.
    """
    return TrafficAccuracy(
        plain=_plain(plain),
        inclusion_weighted=_weighted(is_right, inclusion_probabilities),
        audit_only=_audit_only(is_right, draws),
        worst_case=_worst_case(is_right, draws),
    )


def _plain(is_right: BoolArray) -> Estimate | None:
    if not len(is_right):
        return None
    low, high = wilson(int(is_right.sum()), len(is_right))
    return Estimate(value=float(is_right.mean()), low=low, high=high, n=len(is_right), set="labelled traffic")


def _weighted(is_right: BoolArray, inclusion_probabilities: FloatArray) -> Estimate | None:
    if len(is_right) < _SMALLEST:
        return None
    return hajek(is_right, inclusion_probabilities, set_name="audit", confidence=CONFIDENCE)


def _audit_only(is_right: BoolArray, draws: RandomDraws) -> Estimate | None:
    """Return the Hájek mean of the audit's labelled pages, each for its part of what its stratum holds."""
    is_used = draws.is_audit & (draws.labelled_row >= 0)
    if is_used.sum() < _SMALLEST:
        return None
    n_strata = int(draws.stratum.max()) + 1
    size = np.bincount(draws.stratum, draws.weights, n_strata)
    n_used = np.bincount(draws.stratum[is_used], minlength=n_strata)
    strata = draws.stratum[is_used]
    share = np.minimum(n_used[strata] / size[strata], 1)
    return hajek(is_right[draws.labelled_row[is_used]], share, set_name="audit", confidence=CONFIDENCE)


def _worst_case(is_right: BoolArray, draws: RandomDraws) -> WorstCase | None:
    if len(draws.weights) < _SMALLEST:
        return None
    has_label = draws.labelled_row >= 0
    known = np.zeros(len(has_label), dtype=bool)
    known[has_label] = is_right[draws.labelled_row[has_label]]
    worst, best = (hajek(values, 1 / draws.weights, set_name="audit") for values in (known, known | ~has_label))
    return WorstCase(low=worst.value, high=best.value, interval_low=worst.low, interval_high=best.high)


def _response(cycles: NDArray[Any], weights: FloatArray, has_label: BoolArray) -> Response:
    total = float(weights.sum())
    return Response(
        cycles=tuple(sorted(set(cycles.tolist()))),
        drawn=len(weights),
        labelled=int(has_label.sum()),
        share=float(weights[has_label].sum()) / total if total else 0.0,
    )


def _numbers(names: list[str]) -> NDArray[np.int64]:
    return np.asarray(np.unique(np.array(names, dtype=str), return_inverse=True)[1], dtype=np.int64)
