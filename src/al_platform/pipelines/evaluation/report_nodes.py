"""Nodes that tell people about an evaluation: what skipping a quarter would have cost, and the report."""

from typing import Any, NamedTuple

import pyarrow as pa

from al_platform.catalog.past_champions import PastChampion
from al_platform.domain import staleness
from al_platform.domain.evidence import ScoredSet
from al_platform.domain.staleness import PastDecisions
from al_platform.domain.taxonomy import Taxonomy
from al_platform.pipelines.evaluation.nodes import evaluated_rows
from al_platform.pipelines.evaluation.options import EvaluationOptions
from al_platform.reports.challenger_report import ChallengerReport, render_report
from al_platform.reports.curves import ClassCurves, class_curves
from al_platform.reports.regressions import Regressions, find_regressions

_AUDIT, _GOLDEN = "audit", "golden"


class PageComparison(NamedTuple):
    """What pages and thresholds show of both models; ``regressions`` is None without a champion."""

    regressions: Regressions | None
    curves: tuple[ClassCurves, ...]


def measure_staleness(
    dataset: pa.Table,
    scored: dict[str, ScoredSet],
    past_champions: tuple[PastChampion, ...],
    taxonomy: Taxonomy,
    options: EvaluationOptions,
    cycle: str,
) -> dict[str, Any]:
    """Return what every past champion is worth on this cycle's audit pages; see ``domain.staleness.Staleness``.

    Args:
        dataset: See ``schemas.DATASET``.
        scored: The challenger on every set.
        past_champions: Of cycles before this one, oldest first; those with other labels cannot be compared.
        taxonomy: The family's labels.
        options: Seed and number of resamples.
        cycle: Of the challenger.
    """
    texts = evaluated_rows(dataset, _AUDIT)["text"].to_pylist()
    audit = scored[_AUDIT]
    comparable = [past for past in past_champions if _has_labels(past, taxonomy)]
    decisions = (past.model.classifier.decide(past.model.classifier.score(texts).probabilities) for past in comparable)
    curve = staleness.staleness(
        audit.truth,
        [PastDecisions(past.cycle, past.model.digest, made) for past, made in zip(comparable, decisions, strict=True)],
        audit.challenger.decisions,
        cycle=cycle,
        seed=options.seed,
        weights=audit.weights,
        confidence=options.gate.confidence,
        replicates=options.gate.replicates,
        left_out=[past.cycle for past in past_champions if past not in comparable],
    )
    return curve.model_dump(mode="json")


def compare_pages(dataset: pa.Table, scored: dict[str, ScoredSet], taxonomy: Taxonomy) -> PageComparison:
    """Return what the report shows of single pages and thresholds: pages that turned wrong, curves of each class."""
    rows = {name: evaluated_rows(dataset, name) for name in scored}
    return PageComparison(
        regressions=find_regressions(scored, rows, taxonomy),
        curves=tuple(class_curves(_GOLDEN, scored[_GOLDEN], taxonomy)),
    )


def write_report(
    evaluation: dict[str, Any],
    verdict: dict[str, Any],
    error_analysis: dict[str, Any],
    training_report: dict[str, Any],
    dataset_card: dict[str, Any],
    staleness_curve: dict[str, Any],
    pages: PageComparison,
    family: str,
    cycle: str,
) -> str:
    """Return the report on the challenger as one HTML document; equal outputs give equal bytes."""
    report = ChallengerReport.of_outputs(
        family,
        cycle,
        verdict=verdict,
        evaluation=evaluation,
        error_analysis=error_analysis,
        training_report=training_report,
        dataset_card=dataset_card,
        staleness=staleness_curve,
        regressions=pages.regressions,
        curves=pages.curves,
    )
    return render_report(report)


def _has_labels(past: PastChampion, taxonomy: Taxonomy) -> bool:
    known = past.model.classifier.config.taxonomy
    return (known.task, known.labels) == (taxonomy.task, taxonomy.labels)
