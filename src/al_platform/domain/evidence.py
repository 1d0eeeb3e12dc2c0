"""The figures that the gate reads: two models on the same rows of golden, audit and validation."""

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from al_platform.domain.errors import InputError
from al_platform.domain.estimators import (
    CONFIDENCE,
    REPLICATES,
    Difference,
    Estimate,
    inverse_probabilities,
    macro_f1_estimate,
    paired_macro_f1_difference,
)
from al_platform.domain.metrics import BoolArray, FloatArray, Probabilities, calibration_error

ECE_REPLICATES = 500  # each sorts the rows; a bound two percent of its width off is good enough


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
    """

    truth: BoolArray
    challenger: ModelOutput
    champion: ModelOutput | None = None
    baseline: BoolArray | None = None
    inclusion_probabilities: FloatArray | None = None

    @property
    def reference(self) -> BoolArray | None:
        """Decisions to compare with: the champion's, else the baseline's."""
        return self.champion.decisions if self.champion else self.baseline

    @property
    def weights(self) -> FloatArray | None:
        """One over the inclusion probabilities."""
        given = self.inclusion_probabilities
        return None if given is None else inverse_probabilities(given)


class GateEvidence(BaseModel):
    """Figures of one challenger; differences are challenger minus champion, or minus the baseline without a champion.

    Attributes:
        n_challengers: How many challengers are compared on these golden rows.
        confidence: What was asked for one challenger; ``golden.confidence`` is what each has after sharing the error.
        audit: Hájek-weighted where inclusion probabilities were given; None without audit rows or a reference on them.
        challenger_ece: Calibration error on validation; None without validation rows.
        ece_difference: Challenger minus champion, on the same validation rows; None without either.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    challenger_digest: str
    champion_digest: str | None
    n_challengers: int
    confidence: float
    golden: Difference
    golden_macro_f1: Estimate
    audit: Difference | None
    audit_macro_f1: Estimate | None
    challenger_ece: float | None
    ece_difference: Difference | None
    n_validation: int


def gather_evidence(
    golden: ScoredSet,
    audit: ScoredSet | None,
    validation: ScoredSet,
    *,
    is_multi: bool,
    challenger_digest: str,
    champion_digest: str | None,
    seed: int,
    n_challengers: int = 1,
    confidence: float = CONFIDENCE,
    replicates: int = REPLICATES,
) -> GateEvidence:
    """Return the figures that ``gate.decide`` needs.

    Args:
        golden: Needs ``champion`` or ``baseline``.
        audit: None or no rows: not there yet.
        validation: For the calibration error.
        is_multi: Whether a page may have any number of labels.
        challenger_digest: Of the new model.
        champion_digest: Of the model in use; None exactly where the sets hold no champion.
        seed: Decides the resamples.
        n_challengers: Challengers compared on these golden rows; they share 1 - confidence (Bonferroni).
        confidence: One-sided, for one challenger.
        replicates: Bootstrap resamples.

    Raises:
        InputError: Golden has nothing to compare with, a set contradicts ``champion_digest``, or arrays do not fit.
    """
    audit = audit if audit is not None and len(audit.truth) else None
    for name, scored in (("golden", golden), ("audit", audit), ("validation", validation)):
        _require_same_models(name, scored, champion_digest)
    golden_difference = _difference(golden, "golden", seed, 1 - (1 - confidence) / n_challengers, replicates)
    if golden_difference is None:
        raise InputError(
            "Golden holds neither a champion nor a baseline. Add the decisions of the most frequent answer."
        )
    return GateEvidence(
        challenger_digest=challenger_digest,
        champion_digest=champion_digest,
        n_challengers=n_challengers,
        confidence=confidence,
        golden=golden_difference,
        golden_macro_f1=_macro_f1(golden, "golden", seed, replicates),
        audit=None if audit is None else _difference(audit, "audit", seed, confidence, replicates),
        audit_macro_f1=None if audit is None else _macro_f1(audit, "audit", seed, replicates),
        challenger_ece=_ece(validation, validation.challenger, is_multi) if len(validation.truth) else None,
        ece_difference=_ece_difference(validation, is_multi, seed, confidence, replicates),
        n_validation=len(validation.truth),
    )


def _require_same_models(name: str, scored: ScoredSet | None, champion_digest: str | None) -> None:
    if scored is not None and (scored.champion is None) != (champion_digest is None):
        raise InputError(
            f"The champion is {champion_digest or 'not there yet'}, but {name} was scored "
            f"{'without' if scored.champion is None else 'with'} one. Score all sets with the same models."
        )


def _difference(scored: ScoredSet, name: str, seed: int, confidence: float, replicates: int) -> Difference | None:
    if scored.reference is None:
        return None
    return paired_macro_f1_difference(
        scored.truth,
        scored.reference,
        scored.challenger.decisions,
        set_name=name,
        seed=seed,
        weights=scored.weights,
        confidence=confidence,
        replicates=replicates,
    )


def _macro_f1(scored: ScoredSet, name: str, seed: int, replicates: int) -> Estimate:
    return macro_f1_estimate(
        scored.truth,
        scored.challenger.decisions,
        set_name=name,
        seed=seed,
        weights=scored.weights,
        replicates=replicates,
    )


def _ece(scored: ScoredSet, model: ModelOutput, is_multi: bool) -> float:
    return calibration_error(scored.truth, model.probabilities, is_multi=is_multi, weights=scored.weights)


def _ece_difference(
    scored: ScoredSet, is_multi: bool, seed: int, confidence: float, replicates: int
) -> Difference | None:
    """Return the difference of calibration errors with percentile bounds over resampled rows.

    A resample's calibration error is larger than that of all rows, for both models alike; the paired difference is
    what can be compared.
    """
    n = len(scored.truth)
    if scored.champion is None or not n:
        return None
    models = (scored.challenger.probabilities, scored.champion.probabilities)
    generator = np.random.default_rng(seed)

    def difference(weights: FloatArray) -> float:
        errors = [calibration_error(scored.truth, p, is_multi=is_multi, weights=weights) for p in models]
        return errors[0] - errors[1]

    draws = min(replicates, ECE_REPLICATES)
    resampled = [difference(generator.multinomial(n, np.full(n, 1 / n)).astype(np.float64)) for _ in range(draws)]
    lower, upper = np.quantile(resampled, (1 - confidence, confidence))
    return Difference(
        point=difference(np.ones(n)),
        lower=float(lower),
        upper=float(upper),
        confidence=confidence,
        n=n,
        set="validation",
    )
