"""What rows that are carried from cycle to cycle rest on, written into the table that holds them."""

from typing import ClassVar, Self

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError


class CarriedBasis(BaseModel):
    """What all rows of a table rest on; the next cycle keeps rows only where this still holds.

    Attributes:
        rules: Version of the code that makes the rows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    key: ClassVar[bytes]

    rules: int

    @classmethod
    def of(cls, table: pa.Table) -> Self | None:
        """Return the basis of a table; None where it has none, or one that this code does not know."""
        try:
            return cls.model_validate_json((table.schema.metadata or {})[cls.key])
        except (KeyError, ValidationError):
            return None

    def written_on(self, table: pa.Table) -> pa.Table:
        """Return the table with this basis, for the next cycle."""
        return table.replace_schema_metadata({self.key: self.model_dump_json()})
