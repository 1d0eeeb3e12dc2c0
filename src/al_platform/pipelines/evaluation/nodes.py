"""Nodes of evaluation."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from al_platform.domain.error_analysis import analyse_errors
from al_platform.domain.errors import ConfigError, NotReadyError
from al_platform.domain.estimators import macro_f1_estimate
from al_platform.domain.evidence import ModelOutput, ScoredSet, gather_evidence
from al_platform.domain.gate import decide
from al_platform.domain.metrics import accuracy, calibration_error, log_loss, micro_f1, per_class
from al_platform.domain.taxonomy import Taxonomy
from al_platform.models.model import Model
from al_platform.pipelines.evaluation.options import EvaluationOptions

EVALUATED = ("golden", "audit", "validation")
LENGTH_BUCKETS = ((50, "under 50 words"), (200, "50 to 199 words"), (1_000, "200 to 999 words"))
Scored = dict[str, ScoredSet]


def score_sets(challenger: Model, champion: Model | None, dataset: pa.Table, taxonomy: Taxonomy) -> Scored:
    """Score the held-out sets with both models, in one run and on the same rows.

    Args:
        challenger: The new model.
        champion: The model in use; None before the first.
        dataset: See ``schemas.DATASET``.
        taxonomy: The family's labels.

    Raises:
        NotReadyError: There is no golden page.
        ConfigError: The champion has other labels.
    """
    if champion is not None and champion.classifier.config.taxonomy.labels != taxonomy.labels:
        raise ConfigError(
            f"The labels changed from {list(champion.classifier.config.taxonomy.labels)} to {list(taxonomy.labels)}: "
            f"the champion cannot be compared on them. Restore the labels, or begin a new family."
        )
    if not _rows(dataset, "golden").num_rows:
        raise NotReadyError(
            "The golden set is empty, so nothing can be decided. It is drawn from imported labels: bring some in with "
            "kedro al import-labels FILE --family NAME, and run the monthly pipeline again."
        )
    baseline = _most_frequent_answer(_rows(dataset, "train"), taxonomy)
    rows = {name: _rows(dataset, name) for name in EVALUATED}
    # Only a page drawn with a known probability stands for its share of the traffic.
    rows["audit"] = rows["audit"].filter(pc.is_valid(rows["audit"]["inclusion_probability"]))
    return {name: _score_set(name, rows[name], challenger, champion, baseline, taxonomy) for name in EVALUATED}


def evaluate_challenger(scored: Scored, taxonomy: Taxonomy, options: EvaluationOptions) -> dict[str, Any]:
    """Return every figure of challenger and champion on every held-out set, with intervals on macro-F1."""
    return {
        name: {
            "n": len(rows.truth),
            "challenger": _figures(name, rows, rows.challenger, taxonomy, options),
            "champion": _figures(name, rows, rows.champion, taxonomy, options) if rows.champion else None,
        }
        for name, rows in scored.items()
        if len(rows.truth)
    }


def analyse_challenger(
    dataset: pa.Table, scored: Scored, taxonomy: Taxonomy, options: EvaluationOptions
) -> dict[str, Any]:
    """Return where the challenger is wrong on golden: confusions, slices, most confident mistakes."""
    rows, golden = _rows(dataset, "golden"), scored["golden"]
    texts = rows["text"].to_pylist()
    slices: dict[str, list[str | None]] = {
        "length": [_length_bucket(text) for text in texts],
        **{name: rows[name].to_pylist() for name in ("language", "domain", "source", "cycle")},
    }
    analysis = analyse_errors(
        rows["page_id"].to_pylist(),
        texts,
        golden.truth,
        golden.challenger.decisions,
        golden.challenger.probabilities,
        taxonomy,
        slices,
        options.error_analysis,
    )
    return {"set": "golden", **analysis.model_dump(mode="json")}


def decide_verdict(
    scored: Scored, challenger: Model, champion: Model | None, taxonomy: Taxonomy, options: EvaluationOptions
) -> dict[str, Any]:
    """Return the gate's verdict with every check it rests on."""
    evidence = gather_evidence(
        scored["golden"],
        scored["audit"],
        scored["validation"],
        is_multi=taxonomy.is_multi,
        challenger_digest=challenger.digest,
        champion_digest=champion.digest if champion else None,
        seed=options.seed,
        confidence=options.gate.confidence,
        replicates=options.gate.replicates,
    )
    verdict: dict[str, Any] = decide(evidence, options.gate).model_dump(mode="json")
    return verdict


def report_evaluation(
    evaluation: dict[str, Any], verdict: dict[str, Any], error_analysis: dict[str, Any]
) -> dict[str, Any]:
    """Return the figures a newcomer looks for."""
    return {
        "metrics": {"macro_f1": evaluation["golden"]["challenger"]["macro_f1"]},
        "verdict": verdict["verdict"],
        "reason": verdict["reason"],
        "missing_rows": verdict["missing_rows"],
        "loosened": verdict["loosened"],
        "errors_on_golden": error_analysis["n_errors"],
    }


def _rows(dataset: pa.Table, name: str) -> pa.Table:
    return dataset.filter(pc.field("set") == name)


def _score_set(
    name: str,
    rows: pa.Table,
    challenger: Model,
    champion: Model | None,
    baseline: np.ndarray[Any, Any],
    taxonomy: Taxonomy,
) -> ScoredSet:
    texts = rows["text"].to_pylist()
    return ScoredSet(
        truth=taxonomy.encode(rows["values"].to_pylist()),
        challenger=_output(challenger, texts),
        champion=_output(champion, texts) if champion else None,
        baseline=np.tile(baseline, (len(texts), 1)),
        inclusion_probabilities=rows["inclusion_probability"].to_numpy() if name == "audit" else None,
    )


def _output(model: Model, texts: list[str]) -> ModelOutput:
    probabilities = model.classifier.score(texts).probabilities
    return ModelOutput(model.classifier.decide(probabilities), probabilities)


def _most_frequent_answer(train: pa.Table, taxonomy: Taxonomy) -> np.ndarray[Any, Any]:
    shares = taxonomy.encode(train["values"].to_pylist()).mean(axis=0)
    if taxonomy.is_multi:
        return np.asarray(shares > 0.5)  # noqa: PLR2004  what most pages have
    return np.asarray(np.arange(len(shares)) == shares.argmax())


def _figures(
    name: str, rows: ScoredSet, model: ModelOutput, taxonomy: Taxonomy, options: EvaluationOptions
) -> dict[str, Any]:
    weights = rows.weights
    macro_f1 = macro_f1_estimate(
        rows.truth,
        model.decisions,
        set_name=name,
        seed=options.seed,
        weights=weights,
        replicates=options.gate.replicates,
    )
    return {
        "macro_f1": macro_f1.model_dump(mode="json"),
        "micro_f1": micro_f1(rows.truth, model.decisions, weights),
        "accuracy": accuracy(rows.truth, model.decisions, weights),
        "log_loss": log_loss(rows.truth, model.probabilities, is_multi=taxonomy.is_multi, weights=weights),
        "calibration_error": calibration_error(
            rows.truth, model.probabilities, is_multi=taxonomy.is_multi, weights=weights
        ),
        "per_class": [figures.model_dump(mode="json") for figures in _per_class(rows, model, taxonomy)],
    }


def _per_class(rows: ScoredSet, model: ModelOutput, taxonomy: Taxonomy) -> list[Any]:
    return list(per_class(rows.truth, model.decisions, taxonomy.labels, rows.weights))


def _length_bucket(text: str) -> str:
    words = len(text.split())
    return next((name for limit, name in LENGTH_BUCKETS if words < limit), "1,000 words and more")
