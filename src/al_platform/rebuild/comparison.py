"""A rebuilt model beside its record: what ``compare`` returns and ``--json`` prints."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from al_platform.storage.commit_log import Output

Outcome = Literal["equal", "explained", "differs"]


class _Comparison(BaseModel):
    model_config = ConfigDict(frozen=True)


class Pair(_Comparison):
    """A value of the record and the one found now."""

    recorded: Any
    found: Any


class OutputComparison(_Comparison):
    """An output of a stage.

    Attributes:
        status: ``same content``: other bytes that hold the same. ``taken``: not rebuilt, the record's file was taken.
        rebuilt: None where it was taken.
    """

    status: Literal["equal", "same content", "differs", "taken"]
    recorded: Output
    rebuilt: Output | None


class StageComparison(_Comparison):
    """A stage: the run that the record names, and each of its outputs by name."""

    run_id: str
    outputs: dict[str, OutputComparison]

    @property
    def differing(self) -> list[str]:
        """The outputs whose content differs."""
        return [name for name, output in self.outputs.items() if output.status == "differs"]


class Erasure(_Comparison):
    """What privacy erasures took from the data set: pages, and how many others are in another set without them."""

    pages: int
    moved: int


class DatasetComparison(_Comparison):
    """The data set's manifest: name, SHA-256 and size of each output of preparation.

    Attributes:
        status: ``erased``: pages that were erased since are missing, and all else is there as it was.
        erasure: What was erased; None where nothing was.
    """

    status: Literal["equal", "same content", "erased", "differs"]
    erasure: Erasure | None = None


class WeightsComparison(_Comparison):
    """The model's files.

    Attributes:
        status: ``store changed``: the rebuilt model is the recorded one, the stored files are not.
        recorded: Digest in the record.
        rebuilt: Digest of the rebuilt files.
        stored: Digest of the files that lie in the store now; None where they are missing.
        max_difference: For each tensor that differs from the stored one, by how much at most; None: another shape.
        config: What differs in ``config.json``.
        problem: Why the stored files cannot be compared.
    """

    status: Literal["equal", "store changed", "differs"]
    recorded: str
    rebuilt: str
    stored: str | None
    max_difference: dict[str, float | None] = {}
    config: dict[str, Pair] = {}
    problem: str | None = None


class MetricsComparison(_Comparison):
    """The evaluation's figures and the verdict.

    Attributes:
        status: ``not judged``: no evaluation of this model was committed.
        tolerance: What ``within tolerance`` means here.
        differences: Every figure that is not equal.
    """

    status: Literal["equal", "within tolerance", "differs", "not judged"]
    tolerance: str
    differences: dict[str, Pair] = {}


class Circumstance(_Comparison):
    """Something that results may depend on and that is not as it was; None: not recorded, or not there."""

    name: str
    recorded: str | None
    here: str | None
    stages: tuple[str, ...]


class Comparison(_Comparison):
    """A rebuilt model beside its record.

    Attributes:
        model_digest: The model.
        outcome: ``explained``: it differs, and erased pages or other circumstances are why.
        statements: The outcome in sentences.
        stages: In the order of the loop.
        circumstances: What was otherwise when the record was made.
    """

    model_digest: str
    family: str
    cycle: str
    outcome: Outcome
    statements: tuple[str, ...]
    stages: dict[str, StageComparison]
    dataset: DatasetComparison
    weights: WeightsComparison
    metrics: MetricsComparison
    circumstances: tuple[Circumstance, ...]
