"""The figures that the gate reads: two models on the same rows of golden, audit and validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from pydantic import BaseModel, ConfigDict

from al_platform.domain.audit_response import Response
from al_platform.domain.errors import InputError
from al_platform.domain.estimators import Difference, Estimate, inverse_probabilities, macro_f1_estimate
from al_platform.domain.gate_options import GateOptions
from al_platform.domain.guardrails import ClassDifference, Contest, class_differences, protected_recall
from al_platform.domain.metrics import BoolArray, FloatArray, Probabilities, calibration_error
from al_platform.domain.paired import macro_f1_difference
from al_platform.domain.slices import SliceDifference, slice_differences
from al_platform.domain.taxonomy import Taxonomy

ECE_REPLICATES = 500  # each sorts the rows; a bound two percent of its width off is good enough
SMALLEST_SLICE = 20  # pages; what is below is not even warned of


@dataclass(frozen=True)
class ModelOutput:
    """What one model says about the rows of a set: both of shape (N, C)."""

    decisions: BoolArray
    probabilities: Probabilities


@dataclass(frozen=True)
class ScoredSet:
    """The rows of one set with what the models say about them.

    Attributes:
        truth: Boolean (N, C).
        challenger: The new model.
        champion: The model in use; None before the first.
        baseline: Decisions (N, C) of the most frequent answer, which the first champion is compared with.
        inclusion_probabilities: (N,), where rows were drawn unequally.
        simpler: A cheaper model trained on the same pages, which the challenger must beat; None where there is none.
        page_ids: Of the rows, N of them; empty where nobody asks for them.
        slices: By name of the slice, the value of each row.
    """

    truth: BoolArray
    challenger: ModelOutput
    champion: ModelOutput | None = None
    baseline: BoolArray | None = None
    inclusion_probabilities: FloatArray | None = None
    simpler: ModelOutput | None = None
    page_ids: Sequence[str] = ()
    slices: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def reference(self) -> BoolArray | None:
        """Decisions to compare with: the champion's, else the baseline's."""
        return self.champion.decisions if self.champion else self.baseline

    @property
    def weights(self) -> FloatArray | None:
        """One over the inclusion probabilities."""
        given = self.inclusion_probabilities
        return None if given is None else inverse_probabilities(given)

    @property
    def contest(self) -> Contest | None:
        """Challenger against champion; None before the first."""
        if self.champion is None:
            return None
        sides = (self.champion.decisions, self.challenger.decisions)
        return Contest(self.truth, *sides, self.champion.probabilities, self.challenger.probabilities)


class ModelFacts(BaseModel):
    """What else is known of a challenger; None: nobody looked, which the gate does not let pass.

    Attributes:
        errors_analysed: Errors on golden that the error analysis explains.
        model_bytes: Size of its tensors.
        is_fast_enough: Whether a page was scored within the budget. The clock's figure itself is no evidence, as it
            would make each run's verdict another file.
        response: How much of the random draws has a label; None where nothing was drawn.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    errors_analysed: int | None = None
    model_bytes: int | None = None
    is_fast_enough: bool | None = None
    response: Response | None = None


class GateEvidence(BaseModel):
    """Figures of one challenger; differences are challenger minus champion, or minus the baseline without a champion.

    Attributes:
        n_challengers: How many challengers are judged at once on these golden rows.
        share: Part of the error, over all decisions on these golden rows, that this decision may use.
        confidence: What was asked of all decisions together; ``golden.confidence`` is what this one has.
        golden: In macro-F1.
        golden_errors: Golden pages on which the challenger is wrong.
        audit: Hájek-weighted where inclusion probabilities were given; None without audit rows or a reference on them.
        challenger_ece: Calibration error on golden. On validation the challenger's temperature was fitted.
        ece_difference: Challenger minus champion, on golden; None before the first champion.
        simpler: Challenger minus the simpler model, on golden; None where there is none.
        classes: Of each class with enough golden pages; empty before the first champion.
        protected: In recall of the protected labels; None where there are none, no page has one, or no champion.
        slices: Of golden and audit, of at least ``SMALLEST_SLICE`` pages; empty before the first champion.
        facts: What else is known of the challenger.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    challenger_digest: str
    champion_digest: str | None
    n_challengers: int
    share: float = 1.0
    confidence: float
    golden: Difference
    golden_macro_f1: Estimate
    golden_errors: int
    audit: Difference | None
    audit_macro_f1: Estimate | None
    challenger_ece: float
    ece_difference: Difference | None
    simpler: Difference | None = None
    classes: tuple[ClassDifference, ...] = ()
    protected: Difference | None = None
    slices: tuple[SliceDifference, ...] = ()
    facts: ModelFacts = ModelFacts()


def gather_evidence(
    golden: ScoredSet,
    audit: ScoredSet | None,
    validation: ScoredSet,
    *,
    taxonomy: Taxonomy,
    challenger_digest: str,
    champion_digest: str | None,
    options: GateOptions,
    seed: int,
    share: float = 1.0,
    n_challengers: int = 1,
    facts: ModelFacts | None = None,
) -> GateEvidence:
    """Return the figures that ``gate.decide`` needs.

    Args:
        golden: Needs ``champion`` or ``baseline``.
        audit: None or no rows: not there yet.
        validation: For the champion's precision.
        taxonomy: The family's labels.
        challenger_digest: Of the new model.
        champion_digest: Of the model in use; None exactly where the sets hold no champion.
        options: The rules; confidence, supports and margins are read.
        seed: Decides the resamples.
        share: Of 1 - confidence, for this decision; see ``shared_error``.
        n_challengers: Challengers judged at once on these golden rows; they divide ``share`` (Bonferroni).
        facts: What else is known of the challenger.

    Raises:
        InputError: Golden has nothing to compare with, a set contradicts ``champion_digest``, or arrays do not fit.
        ConfigError: A protected label is not in the taxonomy.
    """
    audit = audit if audit is not None and len(audit.truth) else None
    for name, scored in (("golden", golden), ("audit", audit), ("validation", validation)):
        _require_same_models(name, scored, champion_digest)
    shared = 1 - (1 - options.confidence) * share / n_challengers
    wrong = (golden.truth != golden.challenger.decisions).any(axis=1)
    return GateEvidence(
        challenger_digest=challenger_digest,
        champion_digest=champion_digest,
        n_challengers=n_challengers,
        share=share,
        confidence=options.confidence,
        golden=_golden_difference(golden, shared),
        golden_macro_f1=_macro_f1(golden, "golden", seed, options),
        golden_errors=int(wrong.sum()),
        audit=_difference(audit, audit.reference, "audit", options.confidence) if audit else None,
        audit_macro_f1=None if audit is None else _macro_f1(audit, "audit", seed, options),
        challenger_ece=_ece(golden, taxonomy),
        ece_difference=_ece_difference(golden, taxonomy, seed, options),
        simpler=_difference(golden, golden.simpler.decisions, "golden", options.confidence) if golden.simpler else None,
        classes=_classes(golden, taxonomy, options),
        protected=_protected(golden, validation, taxonomy, options),
        slices=(*_slices(golden, "golden", options), *(_slices(audit, "audit", options) if audit else ())),
        facts=facts or ModelFacts(),
    )


def _require_same_models(name: str, scored: ScoredSet | None, champion_digest: str | None) -> None:
    if scored is not None and (scored.champion is None) != (champion_digest is None):
        raise InputError(
            f"The champion is {champion_digest or 'not there yet'}, but {name} was scored "
            f"{'without' if scored.champion is None else 'with'} one. Score all sets with the same models."
        )


def _golden_difference(golden: ScoredSet, confidence: float) -> Difference:
    difference = _difference(golden, golden.reference, "golden", confidence)
    if difference is None:
        raise InputError(
            "Golden holds neither a champion nor a baseline. Add the decisions of the most frequent answer."
        )
    return difference


def _difference(scored: ScoredSet, reference: BoolArray | None, name: str, confidence: float) -> Difference | None:
    if reference is None:
        return None
    return macro_f1_difference(
        scored.truth,
        reference,
        scored.challenger.decisions,
        set_name=name,
        weights=scored.weights,
        confidence=confidence,
        is_constant=reference is scored.baseline,
    )


def _macro_f1(scored: ScoredSet, name: str, seed: int, options: GateOptions) -> Estimate:
    return macro_f1_estimate(
        scored.truth,
        scored.challenger.decisions,
        set_name=name,
        seed=seed,
        weights=scored.weights,
        replicates=options.replicates,
    )


def _classes(golden: ScoredSet, taxonomy: Taxonomy, options: GateOptions) -> tuple[ClassDifference, ...]:
    if golden.contest is None:
        return ()
    return tuple(
        class_differences(
            golden.contest,
            taxonomy.labels,
            min_support=options.min_class_rows,
            margin=options.class_margin,
            confidence=options.confidence,
        )
    )


def _protected(golden: ScoredSet, validation: ScoredSet, taxonomy: Taxonomy, options: GateOptions) -> Difference | None:
    if golden.contest is None or validation.contest is None:
        return None
    return protected_recall(golden.contest, validation.contest, taxonomy.labels, options.protected, options.confidence)


def _slices(scored: ScoredSet, name: str, options: GateOptions) -> tuple[SliceDifference, ...]:
    if scored.champion is None:
        return ()
    return tuple(
        slice_differences(
            scored.truth,
            scored.champion.decisions,
            scored.challenger.decisions,
            scored.slices,
            set_name=name,
            min_support=SMALLEST_SLICE,
            weights=scored.weights,
            confidence=options.confidence,
        )
    )


def _ece(scored: ScoredSet, taxonomy: Taxonomy) -> float:
    probabilities = scored.challenger.probabilities
    return calibration_error(scored.truth, probabilities, is_multi=taxonomy.is_multi, weights=scored.weights)


def _ece_difference(scored: ScoredSet, taxonomy: Taxonomy, seed: int, options: GateOptions) -> Difference | None:
    """Return the difference of calibration errors with percentile bounds over resampled rows.

    A resample's calibration error is larger than that of all rows, for both models alike; the paired difference is
    what can be compared.
    """
    n = len(scored.truth)
    if scored.champion is None:
        return None
    models = (scored.challenger.probabilities, scored.champion.probabilities)
    generator = np.random.default_rng(seed)

    def difference(weights: FloatArray) -> float:
        errors = [calibration_error(scored.truth, p, is_multi=taxonomy.is_multi, weights=weights) for p in models]
        return errors[0] - errors[1]

    draws = min(options.replicates, ECE_REPLICATES)
    resampled = [difference(generator.multinomial(n, np.full(n, 1 / n)).astype(np.float64)) for _ in range(draws)]
    lower, upper = np.quantile(resampled, (1 - options.confidence, options.confidence))
    return Difference(
        point=difference(np.ones(n)),
        lower=float(lower),
        upper=float(upper),
        confidence=options.confidence,
        n=n,
        set="golden",
    )
