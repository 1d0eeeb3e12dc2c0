"""What a family's next labels would bring, and how families should share a budget."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from al_platform.budget.answers import Answers, BudgetPlan, FamilyPlan, Point, Share
from al_platform.budget.standing import Evaluated, Standing, read_standing
from al_platform.budget.subsets import train_on_subsets
from al_platform.config import FamilyConfigLoader
from al_platform.domain.budget import (
    Claim,
    Expected,
    expected_gain,
    expected_macro_f1,
    labels_to_reach,
    months_until_not_worth,
    share_out,
)
from al_platform.domain.errors import ConfigError, NotReadyError, known_names
from al_platform.domain.learning_curve import Curves, Points, anchored, fit_curves, has_begun, missing_points
from al_platform.parameters import FamilyParameters
from al_platform.stores import Stores

QUARTERS, SUBSETS = "quarters", "subsets"
"""Which training sets a curve is of: those that selection made, as evaluated; or random subsets of the newest one."""

Train = Callable[[pa.Table, FamilyParameters, int], Points]


@dataclass(frozen=True)
class Question:
    """What somebody wants to know.

    Attributes:
        labels: The next labels; None: each family's budget of a month.
        target: Macro-F1 to reach.
        worth: Least gain of macro-F1 that a month's labels must bring.
        total: Answers that the families share.
        weights: What a point of macro-F1 counts, by family; 1 by default.
        seeds: Random subsets of each size.
    """

    labels: int | None = None
    target: float | None = None
    worth: float = 0.001
    total: int | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    seeds: int = 3


def plan_budget(
    loader: FamilyConfigLoader, families: tuple[str, ...], question: Question, train: Train = train_on_subsets
) -> BudgetPlan:
    """Return what the next labels would bring to each family.

    Args:
        loader: Of the environment.
        families: Names; all where there are none.
        question: What is asked.
        train: Makes the curve of subsets.

    Raises:
        ConfigError: A family is not known.
        NotReadyError: A family that was asked for by name, or every family, has no labels or no evaluation.
    """
    _require_known((*families, *question.weights), loader.families)
    stores, costs = Stores.of_environment(loader), loader.validated_globals.costs
    told: dict[str, _Family] = {}
    not_ready: dict[str, str] = {}
    for name in families or loader.families:
        parameters = FamilyParameters.model_validate(loader["parameters"][name])
        try:
            standing = read_standing(stores, parameters)
        except NotReadyError as error:
            not_ready[name] = str(error)
        else:
            told[name] = _Family(
                standing, parameters, question, costs.per_answer, *_curves(standing, parameters, question.seeds, train)
            )
    if not_ready and (families or not told):
        raise NotReadyError("\n".join(not_ready.values()))
    return BudgetPlan(
        currency=costs.currency,
        worth=question.worth,
        target=question.target,
        families={name: family.plan() for name, family in told.items()},
        not_ready=not_ready,
        shares=None if question.total is None else _shares(question.total, told),
    )


def _require_known(names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"There is no family {name!r}. {known_names(name, known)}")


def _curves(
    standing: Standing, parameters: FamilyParameters, seeds: int, train: Train
) -> tuple[dict[str, tuple[Points, Curves]], dict[str, str]]:
    """Return each curve that can be told with its points, the one that counts first, and what the others need."""
    found, missing = {}, {}
    quarters = standing.quarters
    if (lacking := missing_points(quarters.n.tolist())) is not None:
        missing[QUARTERS] = lacking
    elif not has_begun(quarters):
        missing[QUARTERS] = "needs a model that recognises anything"
    else:
        found[QUARTERS] = quarters, fit_curves(quarters)
    try:
        subsets = train(standing.dataset, parameters, seeds)
    except NotReadyError as error:
        missing[SUBSETS] = str(error)
    else:
        found[SUBSETS] = subsets, _anchored(fit_curves(subsets), standing.evaluations[-1])
    return found, missing


def _anchored(curves: Curves, newest: Evaluated) -> Curves:
    return anchored(curves, newest.training_labels, newest.error, newest.standard_error)


@dataclass(frozen=True)
class _Family:
    """A family, what is asked of it, and its curves, the one that counts first."""

    standing: Standing
    parameters: FamilyParameters
    question: Question
    per_answer: float
    curves: Mapping[str, tuple[Points, Curves]]
    missing: Mapping[str, str]

    @property
    def name(self) -> str:
        return self.parameters.family

    @property
    def labels(self) -> int:
        return self.question.labels or self.parameters.selection.budget

    @property
    def train_share(self) -> float:
        selection, splits = self.parameters.selection, self.parameters.preparation.splits
        return (1 - selection.audit_share - selection.exploration_share) * (1 - splits.validation_share)

    @property
    def cost_per_label(self) -> float:
        return self.per_answer * self.standing.answers_per_label

    def plan(self) -> FamilyPlan:
        return FamilyPlan(
            cycle=self.standing.cycle,
            training_labels=self.standing.training_labels,
            labels=self.labels,
            cost=round(self.labels * self.cost_per_label, 2),
            train_share=self.train_share,
            answers_per_label=self.standing.answers_per_label,
            evaluations=tuple(vars(each) for each in self.standing.evaluations),
            evaluations_left_out=self.standing.left_out,
            answered_by=next(iter(self.curves), None),
            curves={name: self._answers(*each) for name, each in self.curves.items()},
            missing=dict(self.missing),
        )

    def claim(self) -> Claim | None:
        """Return what the family may claim of a common budget; None where no curve can be told."""
        if not self.curves:
            return None
        _, curves = next(iter(self.curves.values()))
        weight = self.question.weights.get(self.name, 1.0)
        standing = self.standing
        return Claim(curves, standing.training_labels, self.train_share, standing.answers_per_label, weight)

    def _answers(self, points: Points, curves: Curves) -> Answers:
        n, more = self.standing.training_labels, self.labels * self.train_share
        to_target = self._labels_to_target(curves)
        return Answers(
            points=_points(points),
            asymptote=Expected.of(curves.a),
            exponent=Expected.of(curves.c),
            macro_f1_now=expected_macro_f1(curves, n),
            gain=expected_gain(curves, n, more),
            labels_to_target=to_target,
            cost_of_target=to_target.times(self.cost_per_label) if to_target else None,
            months_worth=months_until_not_worth(curves, n, more, self.question.worth),
        )

    def _labels_to_target(self, curves: Curves) -> Expected | None:
        if self.question.target is None:
            return None
        needed = labels_to_reach(curves, self.standing.training_labels, 1 - self.question.target)
        return needed.times(1 / self.train_share)


def _points(points: Points) -> tuple[Point, ...]:
    noise = np.sqrt(np.diag(points.covariance))
    rows = zip(points.n.tolist(), points.error.tolist(), noise.tolist(), strict=True)
    return tuple(Point(training_labels=int(n), error=error, standard_error=se) for n, error, se in rows)


def _shares(total: int, families: Mapping[str, _Family]) -> dict[str, Share]:
    claims = {name: claim for name, family in families.items() if (claim := family.claim()) is not None}
    if not claims:
        raise NotReadyError(
            f"Asked to share out {total:,} answers, but no family has a learning curve yet. Leave --total out to see "
            f"what each one needs."
        )
    return {name: _share(claims[name], given, families[name]) for name, given in share_out(total, claims).items()}


def _share(claim: Claim, answers: float, family: _Family) -> Share:
    labels = answers / claim.answers_per_label
    return Share(
        answers=round(answers),
        labels=round(labels),
        cost=round(answers * family.per_answer, 2),
        weight=claim.weight,
        gain=expected_gain(claim.curves, claim.n, labels * claim.train_share),
    )
