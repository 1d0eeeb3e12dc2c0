"""Nodes of evaluation."""

import logging
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from al_platform.catalog.champion import ChampionEntry, changed_by_hand
from al_platform.domain.audit_response import RandomDraws, match_draws, read_drawn, traffic_accuracy
from al_platform.domain.error_analysis import analyse_errors
from al_platform.domain.errors import ConfigError, NotReadyError
from al_platform.domain.evidence import GateEvidence, ModelFacts, ModelOutput, ScoredSet, gather_evidence
from al_platform.domain.figures import model_figures, scored_rows, without_noise
from al_platform.domain.gate import decide, remember
from al_platform.domain.labelled import IMPORTED
from al_platform.domain.metrics import BoolArray, macro_f1
from al_platform.domain.shared_error import GoldenHistory, continue_history
from al_platform.domain.slices import UNKNOWN, domain_tiers, length_bucket
from al_platform.domain.splits import TEST_REASONS
from al_platform.domain.taxonomy import Taxonomy
from al_platform.models.model import Model
from al_platform.pipelines.evaluation.options import EvaluationOptions
from al_platform.schemas import EVALUATED_PAGES

LOG = logging.getLogger("al_platform")
EVALUATED = ("golden", "audit", "validation")
TIMED_PAGES = 100
TIMED_ATTEMPTS = 3  # a busy machine is given another chance
Scored = dict[str, ScoredSet]


def score_sets(challenger: Model, champion: Model | None, dataset: pa.Table, taxonomy: Taxonomy) -> Scored:
    """Score the held-out sets with all models, in one run and on the same rows.

    Args:
        challenger: The new model.
        champion: The model in use; None before the first.
        dataset: See ``schemas.DATASET``.
        taxonomy: The family's labels.

    Raises:
        NotReadyError: There is no golden page.
        ConfigError: The champion has other labels.
    """
    known = champion.classifier.config.taxonomy if champion else taxonomy
    if (known.task, known.labels) != (taxonomy.task, taxonomy.labels):
        raise ConfigError(
            f"The labels changed from {list(known.labels)} ({known.task}) to {list(taxonomy.labels)} "
            f"({taxonomy.task}): the champion cannot be compared on them. Restore the labels, or begin a new family."
        )
    if not evaluated_rows(dataset, "golden").num_rows:
        raise NotReadyError(
            "The golden set is empty, so nothing can be decided. It is drawn from imported labels: bring some in with "
            "kedro al import-labels FILE --family NAME, and run the monthly pipeline again."
        )
    baseline = _most_frequent_answer(evaluated_rows(dataset, "train"), taxonomy)
    tiers = dict(zip(dataset["page_id"].to_pylist(), domain_tiers(dataset["domain"].to_pylist()), strict=True))
    models = {"challenger": challenger, "champion": champion, "simpler": challenger.simpler}
    return {
        name: _score_set(name, evaluated_rows(dataset, name), models, baseline, tiers, taxonomy) for name in EVALUATED
    }


def match_random_draws(batches: Any, dataset: pa.Table) -> RandomDraws:
    """Return the pages that were drawn at random in the months of the audit set, with and without a label.

    Args:
        batches: Every batch so far, with ``cycle``; only the columns of a draw are read.
        dataset: See ``schemas.DATASET``.
    """
    expired = evaluated_rows(dataset, "validation").filter(pc.is_in(pc.field("reason"), pa.array(sorted(TEST_REASONS))))
    return match_draws(
        read_drawn(batches),
        evaluated_rows(dataset, "audit")["page_id"].to_pylist(),
        set(expired["page_id"].to_pylist()),
    )


def evaluate_challenger(
    scored: Scored,
    draws: RandomDraws,
    evidence: GateEvidence,
    dataset: pa.Table,
    taxonomy: Taxonomy,
    options: EvaluationOptions,
) -> dict[str, Any]:
    """Return every figure of challenger and champion on every held-out set with intervals, and where they differ."""
    sets = {
        name: {
            "n": len(rows.truth),
            "challenger": _figures(name, rows, rows.challenger, taxonomy, options),
            "champion": _figures(name, rows, rows.champion, taxonomy, options) if rows.champion else None,
            "slices": [each.model_dump(mode="json") for each in evidence.slices if each.difference.set == name],
        }
        for name, rows in scored.items()
        if len(rows.truth)
    }
    sets["golden"] |= {"difference": evidence.golden.model_dump(mode="json")}
    sets["golden"] |= evidence.model_dump(mode="json", include={"classes", "protected", "simpler"})
    if "audit" in sets:
        sets["audit"] |= {"difference": evidence.model_dump(mode="json")["audit"]}
        sets["audit"]["traffic"] = _traffic(scored, draws, dataset)
    figures: dict[str, Any] = without_noise(sets)
    return figures


def analyse_challenger(
    dataset: pa.Table, scored: Scored, taxonomy: Taxonomy, options: EvaluationOptions
) -> dict[str, Any]:
    """Return where the challenger is wrong on golden: confusions, slices, most confident mistakes."""
    rows, golden = evaluated_rows(dataset, "golden"), scored["golden"]
    analysis = analyse_errors(
        rows["page_id"].to_pylist(),
        rows["text"].to_pylist(),
        golden.truth,
        golden.challenger.decisions,
        golden.challenger.probabilities,
        taxonomy,
        {**golden.slices, "domain": rows["domain"].to_pylist()},
        options.error_analysis,
    )
    return {"set": "golden", **analysis.model_dump(mode="json")}


def check_speed(challenger: Model, dataset: pa.Table, options: EvaluationOptions) -> bool:
    """Return whether the challenger scores a page within the gate's budget.

    The time itself is only logged: it is another one in each run, and outputs must not be.
    """
    texts = evaluated_rows(dataset, "golden")["text"].to_pylist()[:TIMED_PAGES]
    limit = options.gate.max_ms_per_page
    for _ in range(TIMED_ATTEMPTS):
        started = time.perf_counter()
        challenger.classifier.score(texts)
        ms = 1000 * (time.perf_counter() - started) / max(1, len(texts))
        LOG.debug("%.2f ms to score a page with %s", ms, challenger.digest[:12])
        if ms <= limit:
            return True
    LOG.warning("%s took %.1f ms to score a page; the gate allows %g", challenger.digest[:12], ms, limit)
    return False


def recall_decisions(
    scored: Scored, previous_verdict: dict[str, Any] | None, earlier_champions: list[ChampionEntry]
) -> GoldenHistory:
    """Return the decisions so far on these golden pages, with what people did since."""
    found = (previous_verdict or {}).get("golden_history")
    earlier = GoldenHistory.model_validate(found) if found else None
    return continue_history(earlier, scored["golden"].page_ids).with_people(changed_by_hand(earlier_champions))


def gather_gate_evidence(
    scored: Scored,
    challenger: Model,
    champion: Model | None,
    golden_history: GoldenHistory,
    draws: RandomDraws,
    error_analysis: dict[str, Any],
    is_fast_enough: bool,
    taxonomy: Taxonomy,
    options: EvaluationOptions,
) -> GateEvidence:
    """Return the figures that the gate reads."""
    champion_digest = champion.digest if champion else None
    return gather_evidence(
        scored["golden"],
        scored["audit"],
        scored["validation"],
        taxonomy=taxonomy,
        challenger_digest=challenger.digest,
        champion_digest=champion_digest,
        options=options.gate,
        seed=options.seed,
        share=golden_history.share_of(challenger.digest, champion_digest, options.gate.spend),
        facts=ModelFacts(
            errors_analysed=error_analysis["n_errors"],
            model_bytes=sum(tensor.nbytes for tensor in challenger.classifier.tensors.values()),
            is_fast_enough=is_fast_enough,
            response=draws.response if draws.response.drawn else None,
        ),
    )


def decide_verdict(
    evidence: GateEvidence, golden_history: GoldenHistory, options: EvaluationOptions, cycle: str
) -> dict[str, Any]:
    """Return the gate's verdict with every check it rests on, and the decisions so far on its golden pages."""
    verdict = remember(decide(evidence, options.gate), golden_history, cycle, evidence.share)
    return verdict.model_dump(mode="json")


def list_evaluated_pages(scored: Scored, dataset: pa.Table, taxonomy: Taxonomy) -> pa.Table:
    """Return what each model decides on each held-out page; see ``schemas.EVALUATED_PAGES``."""
    tables = [_decisions(name, rows, evaluated_rows(dataset, name), taxonomy) for name, rows in scored.items()]
    return pa.concat_tables(tables)


def report_evaluation(
    evaluation: dict[str, Any],
    verdict: dict[str, Any],
    error_analysis: dict[str, Any],
    evaluated_pages: pa.Table,
    challenger_report: str,
) -> dict[str, Any]:
    """Return the figures a newcomer looks for."""
    return {
        "metrics": {"macro_f1": evaluation["golden"]["challenger"]["macro_f1"]},
        "verdict": verdict["verdict"],
        "reason": verdict["reason"],
        "missing_rows": verdict["missing_rows"],
        "loosened": verdict["loosened"],
        "warnings": verdict["warnings"],
        "errors_on_golden": error_analysis["n_errors"],
        "evaluated_pages": evaluated_pages.num_rows,
        "challenger_report_chars": len(challenger_report),
    }


def evaluated_rows(dataset: pa.Table, name: str) -> pa.Table:
    """Return the pages of a set that models are scored on, in the order of the scores.

    Of audit these are the pages drawn with a known probability: others stand for no part of traffic.
    """
    rows = dataset.filter(pc.field("set") == name)
    return rows.filter(pc.is_valid(rows["inclusion_probability"])) if name == "audit" else rows


def _score_set(
    name: str,
    rows: pa.Table,
    models: dict[str, Model | None],
    baseline: BoolArray,
    tiers: dict[str, str],
    taxonomy: Taxonomy,
) -> ScoredSet:
    texts, page_ids = rows["text"].to_pylist(), rows["page_id"].to_pylist()
    outputs = {role: _output(model, texts) for role, model in models.items() if model is not None}
    return ScoredSet(
        truth=taxonomy.encode(rows["values"].to_pylist()),
        challenger=outputs["challenger"],
        champion=outputs.get("champion"),
        baseline=np.tile(baseline, (len(texts), 1)),
        inclusion_probabilities=rows["inclusion_probability"].to_numpy() if name == "audit" else None,
        simpler=outputs.get("simpler"),
        page_ids=page_ids,
        slices={
            "length": [length_bucket(text) for text in texts],
            "domain_tier": [tiers[page_id] for page_id in page_ids],
            **{column: [value or UNKNOWN for value in rows[column].to_pylist()] for column in _SLICED},
        },
    )


_SLICED = ("language", "source", "cycle")


def _output(model: Model, texts: list[str]) -> ModelOutput:
    probabilities = model.classifier.score(texts).probabilities
    return ModelOutput(model.classifier.decide(probabilities), probabilities)


def _most_frequent_answer(train: pa.Table, taxonomy: Taxonomy) -> BoolArray:
    shares = taxonomy.encode(train["values"].to_pylist()).mean(axis=0)
    if taxonomy.is_multi:
        return np.asarray(shares > 0.5)  # noqa: PLR2004  what most pages have
    return np.asarray(np.arange(len(shares)) == shares.argmax())


def _figures(
    name: str, rows: ScoredSet, model: ModelOutput, taxonomy: Taxonomy, options: EvaluationOptions
) -> dict[str, Any]:
    scored = scored_rows(
        rows.truth, model.decisions, model.probabilities, rows.weights, taxonomy.labels, is_multi=taxonomy.is_multi
    )
    return model_figures(scored, set_name=name, seed=options.seed, replicates=options.gate.replicates)


def _traffic(scored: Scored, draws: RandomDraws, dataset: pa.Table) -> dict[str, Any]:
    """Return accuracy on traffic by each estimate, of each model."""
    audit, validation = scored["audit"], scored["validation"]
    is_traffic = np.array(
        [source != IMPORTED for source in evaluated_rows(dataset, "validation")["source"].to_pylist()], bool
    )

    def figures(model: ModelOutput, on_validation: ModelOutput) -> dict[str, Any]:
        right = _is_right(audit.truth, model)
        plain = np.concatenate([right, _is_right(validation.truth, on_validation)[is_traffic]])
        assert audit.inclusion_probabilities is not None
        found = traffic_accuracy(right, audit.inclusion_probabilities, plain, draws)
        return found.model_dump(mode="json") | {
            "plain_macro_f1": macro_f1(audit.truth, model.decisions),
            "inclusion_weighted_macro_f1": macro_f1(audit.truth, model.decisions, audit.weights),
        }

    return {
        "response": draws.response.model_dump(mode="json"),
        "challenger": figures(audit.challenger, validation.challenger),
        "champion": figures(audit.champion, validation.champion) if audit.champion and validation.champion else None,
    }


def _is_right(truth: BoolArray, model: ModelOutput) -> BoolArray:
    return np.asarray((truth == model.decisions).all(axis=1))


def _decisions(name: str, scored: ScoredSet, rows: pa.Table, taxonomy: Taxonomy) -> pa.Table:
    def decided(model: ModelOutput | None) -> list[list[str]] | list[None]:
        return taxonomy.decode(model.decisions) if model else [None] * len(scored.truth)

    columns = {
        "page_id": list(scored.page_ids),
        "set": [name] * len(scored.truth),
        "truth": taxonomy.decode(scored.truth),
        "challenger": decided(scored.challenger),
        "champion": decided(scored.champion),
        "simpler": decided(scored.simpler),
        **{column: rows[column] for column in ("reason", "inclusion_probability", "cycle")},
    }
    return pa.table(columns, schema=EVALUATED_PAGES)
