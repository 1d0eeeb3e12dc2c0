"""The stages of the loop, in order: what each one writes, and which class of data that is."""

from dataclasses import dataclass
from typing import Literal

DataClass = Literal["traffic", "labels", "datasets", "models", "champion", "logs"]


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: Also the name of its pipeline, folder and parameters.
        job: The scheduled job it belongs to.
        data_class: Decides the root under which it commits, so that rights can differ.
        outputs: The datasets it commits, without the family. Its report is the last one written.
        appends: Logs outside the stage's commit that it adds to.
    """

    name: str
    job: Literal["monthly", "quarterly"]
    data_class: DataClass
    outputs: tuple[str, ...]
    appends: tuple[str, ...] = ()

    @property
    def report(self) -> str:
        """The dataset whose saving commits the stage."""
        return f"{self.name}_report"


STAGES = (
    Stage("scoring", "monthly", "datasets", ("predictions", "scoring_report")),
    Stage("selection", "monthly", "labels", ("batch", "receipt", "selection_report")),
    Stage(
        "annotation_ingest",
        "monthly",
        "labels",
        ("annotations", "labels", "annotation_quarantine", "annotation_ingest_report"),
    ),
    Stage(
        "preparation",
        "monthly",
        "datasets",
        ("dataset", "split_ledger", "quarantine", "dataset_card", "preparation_report"),
    ),
    Stage("training", "quarterly", "models", ("challenger", "training_report")),
    Stage(
        "evaluation",
        "quarterly",
        "models",
        (
            *("evaluation", "error_analysis", "verdict", "evaluated_pages"),
            *("staleness", "challenger_report", "evaluation_report"),
        ),
    ),
    Stage("promotion", "quarterly", "champion", ("promotion_report",), appends=("promotion",)),
)

STAGE = {stage.name: stage for stage in STAGES}
JOBS: tuple[str, ...] = ("monthly", "quarterly")


def class_of(path: str) -> DataClass:
    """Return the class of data that a path below a root belongs to; no two classes have paths of the same shape."""
    first, *rest = path.split("/")
    if first[:1].isdigit():
        return "traffic"
    if rest[:1] == ["by_digest"]:
        return "models"
    if rest[:1] == ["log"]:
        return "champion"
    if len(rest) > 1 and rest[1] in STAGE:
        return STAGE[rest[1]].data_class
    return "labels"
