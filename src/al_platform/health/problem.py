"""Something that is not as it should be."""

from dataclasses import dataclass

from al_platform.stages import DataClass

RESTORE = "Restore it from a former version of the object or a backup"


@dataclass(frozen=True)
class Problem:
    """Something that is not as it should be.

    Attributes:
        kind: What kind of thing it is about.
        data_class: Of the store it lies in.
        path: Where it lies there.
        detail: What was found.
        remedy: What to do.
    """

    kind: str
    data_class: DataClass
    path: str
    detail: str
    remedy: str
