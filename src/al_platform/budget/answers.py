"""What ``kedro al plan-budget`` answers."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from al_platform.domain.budget import Expected


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Point(_Model):
    """A training set and the error after it."""

    training_labels: int
    error: float
    standard_error: float


class Answers(_Model):
    """What one curve says.

    Attributes:
        points: What it was fitted to; of subsets, before their level was moved to that of the newest evaluation.
        asymptote: Error that no number of labels takes away.
        exponent: How fast the rest falls.
        macro_f1_now: With the training labels of now.
        gain: Of macro-F1, from the next labels.
        labels_to_target: None without a target; its value is None where the target is out of reach.
        cost_of_target: Of those labels.
        months_worth: Months until a month's labels bring less than they must; a value of None: not in ten years.
    """

    points: tuple[Point, ...]
    asymptote: Expected
    exponent: Expected
    macro_f1_now: Expected
    gain: Expected
    labels_to_target: Expected | None
    cost_of_target: Expected | None
    months_worth: Expected


class FamilyPlan(_Model):
    """What is known of one family.

    Attributes:
        cycle: Of its newest labels.
        training_labels: Pages that a model would be trained on now.
        labels: Next labels that were asked about; by default a month's budget.
        cost: Of those labels.
        train_share: Training labels that come of a label; the others are held out.
        answers_per_label: Of annotators so far.
        evaluations: What the curve of quarters is made of; the last one gives the level of the curve of subsets.
        evaluations_left_out: Of another kind of model, on another set, or of a training that was replaced.
        answered_by: The curve that counts: of quarters where there are enough of them.
        curves: What each curve says.
        missing: What a curve that cannot be told yet needs.
    """

    cycle: str
    training_labels: int
    labels: int
    cost: float
    train_share: float
    answers_per_label: float
    evaluations: tuple[dict[str, Any], ...]
    evaluations_left_out: int
    answered_by: str | None
    curves: dict[str, Answers]
    missing: dict[str, str]


class Share(_Model):
    """What a family gets of a common budget, and what that brings."""

    answers: int
    labels: int
    cost: float
    weight: float
    gain: Expected


class BudgetPlan(_Model):
    """What the next labels would bring.

    Attributes:
        currency: Of all costs.
        worth: Least gain of macro-F1 that a month's labels must bring.
        target: Macro-F1 to reach.
        families: By name.
        not_ready: Why nothing can be said of a family, by its name.
        shares: Of a common budget; None where none was asked about.
    """

    currency: str
    worth: float
    target: float | None
    families: dict[str, FamilyPlan]
    not_ready: dict[str, str]
    shares: dict[str, Share] | None
