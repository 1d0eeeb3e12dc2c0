"""Evaluation's table of contents."""

from kedro.pipeline import Node, Pipeline

from al_platform.pipelines.evaluation.nodes import (
    analyse_challenger,
    check_speed,
    decide_verdict,
    evaluate_challenger,
    gather_gate_evidence,
    list_evaluated_pages,
    match_random_draws,
    recall_decisions,
    report_evaluation,
    score_sets,
)
from al_platform.pipelines.evaluation.report_nodes import compare_pages, measure_staleness, write_report

TAXONOMY, OPTIONS, FAMILY, CYCLE = "params:taxonomy", "params:evaluation", "params:family", "params:cycle"


def create_pipeline() -> Pipeline:
    """Wire evaluation: challenger, champion and data set in, figures and verdict out."""
    return Pipeline([*_measure(), *_decide(), *_tell()])


def _measure() -> list[Node]:
    """Score all models once on the held-out sets, and look at what else the gate asks for."""
    return [
        Node(score_sets, ["challenger", "champion", "dataset", TAXONOMY], "scored", name="score_sets"),
        Node(match_random_draws, ["batches", "dataset"], "draws", name="match_random_draws"),
        Node(
            analyse_challenger,
            ["dataset", "scored", TAXONOMY, OPTIONS],
            "error_analysis",
            name="analyse_challenger",
        ),
        Node(check_speed, ["challenger", "dataset", OPTIONS], "is_fast_enough", name="check_speed"),
        Node(list_evaluated_pages, ["scored", "dataset", TAXONOMY], "evaluated_pages", name="list_evaluated_pages"),
    ]


def _decide() -> list[Node]:
    """Gather the evidence, write its figures down, and judge it."""
    known = ["scored", "challenger", "champion", "golden_history", "draws", "error_analysis", "is_fast_enough"]
    return [
        Node(
            recall_decisions,
            ["scored", "previous_verdict", "earlier_champions"],
            "golden_history",
            name="recall_decisions",
        ),
        Node(gather_gate_evidence, [*known, TAXONOMY, OPTIONS], "evidence", name="gather_gate_evidence"),
        Node(
            evaluate_challenger,
            ["scored", "draws", "evidence", "dataset", TAXONOMY, OPTIONS],
            "evaluation",
            name="evaluate_challenger",
        ),
        Node(
            decide_verdict,
            ["evidence", "golden_history", OPTIONS, CYCLE],
            "verdict",
            name="decide_verdict",
        ),
    ]


def _tell() -> list[Node]:
    """Say what skipping a quarter would have cost, write the report for people, and sum up."""
    figures = ["evaluation", "verdict", "error_analysis"]
    shown = [*figures, "training_report", "dataset_card", "staleness", "compared_pages"]
    return [
        Node(
            measure_staleness,
            ["dataset", "scored", "past_champions", TAXONOMY, OPTIONS, CYCLE],
            "staleness",
            name="measure_staleness",
        ),
        Node(compare_pages, ["dataset", "scored", TAXONOMY], "compared_pages", name="compare_pages"),
        Node(write_report, [*shown, FAMILY, CYCLE], "challenger_report", name="write_report"),
        Node(
            report_evaluation,
            [*figures, "evaluated_pages", "challenger_report"],
            "evaluation_report",
            name="report_evaluation",
        ),
    ]
