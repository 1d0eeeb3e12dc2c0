"""Accuracy of the model that scored a month, on the pages drawn at random from that month."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from al_platform.domain.estimators import Estimate, hajek
from al_platform.domain.taxonomy import Taxonomy

_SMALLEST = 2  # rows of a mean with an interval


class MonthAccuracy(BaseModel):
    """The accuracy of a month, and what the gate had found of the same model; None where that is not known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cycle: str
    model_digest: str
    accuracy: Estimate
    promised: float | None

    def has_fallen(self, loss: float) -> bool:
        """Return whether the whole interval lies more than ``loss`` below what the gate found."""
        return self.promised is not None and self.accuracy.high < self.promised - loss


def audit_accuracy(
    dataset: pa.Table, predictions: pa.Table, taxonomy: Taxonomy, thresholds: Sequence[float], cycle: str
) -> Estimate | None:
    """Return the accuracy on the audit pages of one month; None with fewer than two of them.

    Args:
        dataset: See ``schemas.DATASET``; labels that came later count as well.
        predictions: Of the month, with ``page_id`` and ``probabilities``.
        taxonomy: The family's labels.
        thresholds: Of each label, where a page may have several.
        cycle: The month.
    """
    drawn = dataset.filter(
        (pc.field("set") == "audit") & (pc.field("cycle") == cycle) & pc.field("inclusion_probability").is_valid()
    )
    wanted = pc.is_in(predictions["page_id"], value_set=drawn["page_id"].combine_chunks())
    said = _decisions(predictions.filter(wanted), taxonomy, thresholds)
    rows = [row for row in drawn.to_pylist() if row["page_id"] in said]
    if len(rows) < _SMALLEST:
        return None
    is_right = np.array([set(row["values"]) == said[row["page_id"]] for row in rows])
    chances = np.array([row["inclusion_probability"] for row in rows])
    return hajek(is_right, chances, set_name="audit")


def _decisions(predictions: pa.Table, taxonomy: Taxonomy, thresholds: Sequence[float]) -> Mapping[str, set[str]]:
    """Return the labels that each scored page is given."""
    pairs = zip(predictions["page_id"].to_pylist(), predictions["probabilities"].to_pylist(), strict=True)
    return {page_id: _decided(np.array(row), taxonomy, thresholds) for page_id, row in pairs if row is not None}


def _decided(
    row: "np.ndarray[tuple[int], np.dtype[np.float64]]", taxonomy: Taxonomy, thresholds: Sequence[float]
) -> set[str]:
    if taxonomy.is_multi:
        return {label for label, p, limit in zip(taxonomy.labels, row, thresholds, strict=True) if p >= limit}
    return {taxonomy.labels[int(row.argmax())]}
