"""The stages of the loop, in order: what each one writes, which class of data that is, and when it is due."""

from dataclasses import dataclass
from typing import Literal, get_args

DataClass = Literal["traffic", "labels", "datasets", "models", "champion", "logs"]
Cadence = Literal["monthly", "quarterly"]
Job = Literal["select", "ingest", "train"]


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: Also the name of its pipeline, folder and parameters.
        cadence: How often it is due; also a pipeline over all such stages.
        job: What a scheduler starts as one, for one family; also a pipeline.
        data_class: Decides the root under which it commits, so that rights can differ.
        outputs: The datasets it commits, without the family. Its report is the last one written.
        appends: Logs outside the stage's commit that it adds to.
    """

    name: str
    cadence: Cadence
    job: Job
    data_class: DataClass
    outputs: tuple[str, ...]
    appends: tuple[str, ...] = ()

    @property
    def report(self) -> str:
        """The dataset whose saving commits the stage."""
        return f"{self.name}_report"


STAGES = (
    Stage("scoring", "monthly", "select", "datasets", ("predictions", "scoring_report")),
    Stage("selection", "monthly", "select", "labels", ("batch", "receipt", "selection_report")),
    Stage(
        "annotation_ingest",
        "monthly",
        "ingest",
        "labels",
        (
            *("annotations", "annotation_quarantine", "pulled_pages"),
            *("labels", "answered_pages", "annotation_ingest_report"),
        ),
    ),
    Stage(
        "preparation",
        "monthly",
        "ingest",
        "datasets",
        ("dataset", "split_ledger", "quarantine", "dataset_card", "preparation_report"),
    ),
    Stage("training", "quarterly", "train", "models", ("challenger", "training_report")),
    Stage(
        "evaluation",
        "quarterly",
        "train",
        "models",
        (
            *("evaluation", "error_analysis", "verdict", "evaluated_pages"),
            *("staleness", "challenger_report", "evaluation_report"),
        ),
    ),
    Stage("promotion", "quarterly", "train", "champion", ("promotion_report",), appends=("promotion",)),
)

STAGE = {stage.name: stage for stage in STAGES}
CADENCES: tuple[Cadence, ...] = get_args(Cadence)
JOBS: tuple[Job, ...] = get_args(Job)


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
