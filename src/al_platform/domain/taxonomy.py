"""The label set of a model family."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from al_platform.domain.errors import TaxonomyError, known_names

MIN_LABELS_SINGLE = 2


class Taxonomy(BaseModel):
    """Labels of a family and how many of them one page may have.

    Attributes:
        task: ``single``: exactly one label a page; ``multi``: any number, none included.
        labels: The label names; their order is the order of every probability vector.
        guideline_version: Version of the instructions that annotators follow.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Literal["single", "multi"]
    labels: tuple[str, ...] = Field(min_length=1)
    guideline_version: str = "1"

    @field_validator("labels")
    @classmethod
    def _distinct(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(labels)) != len(labels):
            raise ValueError(f"labels must be distinct, found {list(labels)}")
        return labels

    @property
    def is_multi(self) -> bool:
        """Whether a page may have any number of labels."""
        return self.task == "multi"

    def problem(self, values: Sequence[str]) -> str | None:
        """Return why ``values`` is no valid answer, or None if it is one."""
        unknown = [value for value in values if value not in self.labels]
        if unknown:
            return f"label {unknown[0]!r} is not in the taxonomy. {known_names(unknown[0], self.labels)}"
        if not self.is_multi and len(values) != 1:
            return f"a single-label page needs exactly one label, found {len(values)}"
        return None

    def encode(self, rows: Sequence[Sequence[str]]) -> NDArray[np.bool_]:
        """Return the rows as an indicator matrix of shape (N, C), columns in label order.

        Raises:
            TaxonomyError: A row is no valid answer.
        """
        column = {label: index for index, label in enumerate(self.labels)}
        encoded = np.zeros((len(rows), len(self.labels)), dtype=bool)
        for row, values in enumerate(rows):
            if (problem := self.problem(values)) is not None:
                raise TaxonomyError(f"Row {row}: {problem}")
            encoded[row, [column[value] for value in values]] = True
        return encoded

    def outside(self, answers: pa.Table) -> pa.Table:
        """Return the rows whose ``values`` are no valid answer."""
        values = answers["values"].combine_chunks()
        is_known = pc.is_in(values.flatten(), value_set=pa.array(self.labels, pa.string()))
        unknown = pc.list_parent_indices(values).filter(pc.invert(is_known))
        is_outside = np.zeros(answers.num_rows, dtype=bool)
        is_outside[unknown.to_numpy()] = True
        if not self.is_multi:
            is_outside |= pc.list_value_length(values).to_numpy() != 1
        return answers.filter(pa.array(is_outside))

    def encode_lists(self, values: pa.ListArray) -> NDArray[np.bool_]:
        """Return valid answers as an indicator matrix of shape (N, C), many at once."""
        encoded = np.zeros((len(values), len(self.labels)), dtype=bool)
        label = pc.index_in(values.flatten(), value_set=pa.array(self.labels, pa.string()))
        encoded[pc.list_parent_indices(values).to_numpy(), label.to_numpy()] = True
        return encoded

    def decode(self, encoded: NDArray[np.bool_]) -> list[list[str]]:
        """Return an indicator matrix of shape (N, C) as lists of labels in label order."""
        return [[self.labels[column] for column in np.flatnonzero(row)] for row in encoded]
