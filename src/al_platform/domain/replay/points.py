"""What is measured of a run, month by month, against the archive's truth."""

from pydantic import BaseModel, ConfigDict

from al_platform.domain.estimators import Difference, Estimate
from al_platform.domain.replay.plan import RunSpec


class Record(BaseModel):
    """Base of what a replay keeps."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OnTraffic(Record):
    """A model on pages of a month, against their truth.

    Attributes:
        digest: Of the model.
        macro_f1: With a bootstrap interval over the pages.
        accuracy: Share of pages with exactly the true labels; Wilson interval.
    """

    digest: str
    macro_f1: Estimate
    accuracy: Estimate


class Decision(Record):
    """What was decided after a training, and what the truth says about it.

    Attributes:
        cycle: Of the training.
        verdict: The gate's.
        promoted: The model that became champion by it, if any.
        by_duel: Whether a duel promoted it.
        truth: Challenger minus champion in macro-F1 on the traffic of the month after; None without a champion.
    """

    cycle: str
    verdict: str
    promoted: str | None
    by_duel: bool
    truth: Difference | None = None


class CurvePoint(Record):
    """A challenger on the traffic of the month after the last.

    Attributes:
        labels: Pages that had been sent for labelling when it was trained.
        cost: Of labels and computing until then.
        macro_f1: On that traffic.
    """

    labels: int
    cost: float
    macro_f1: Estimate


class Point(Record):
    """One month of a run.

    Attributes:
        number: Of the month, from 1; one after the last is measured only.
        cycle: The month.
        labels: Pages sent for labelling in it.
        answers: Answers of annotators that it took in.
        cost: Of answers and computing, at the prices of ``globals.yml``.
        is_duel: Whether the batch held a duel.
        in_use: The champion that scored the month.
        newest: The newest trained model, whatever the gate said of it.
        frozen: The first champion, left as it was.
        decision: Of the training before, if one came at the end of the month before.
        audit: Accuracy on traffic of the champion in use, as the audit pages estimate it.
        audit_truth: The same from the truth of every page.
        curve: Only of the month after the last: the run's challengers on its traffic.
        stages_cpu_s: Processor seconds of the stages' nodes, with what they load, save and commit.
        cpu_s: Processor seconds of the whole step.
        wall_s: Seconds of the whole step.
    """

    number: int
    cycle: str
    labels: int = 0
    answers: int = 0
    cost: float = 0.0
    is_duel: bool = False
    in_use: OnTraffic | None = None
    newest: OnTraffic | None = None
    frozen: OnTraffic | None = None
    decision: Decision | None = None
    audit: Estimate | None = None
    audit_truth: float | None = None
    curve: tuple[CurvePoint, ...] = ()
    stages_cpu_s: float = 0.0
    cpu_s: float = 0.0
    wall_s: float = 0.0


class PlayedRun(Record):
    """A run and all of its months; the last one is measured only."""

    spec: RunSpec
    points: tuple[Point, ...]
