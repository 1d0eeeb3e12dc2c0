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
    report_evaluation,
    score_sets,
)
from al_platform.pipelines.evaluation.report_nodes import compare_pages, measure_staleness, write_report


def create_pipeline() -> Pipeline:
    """Wire evaluation: challenger, champion and data set in, figures and verdict out."""
    return Pipeline(
        [
            Node(
                score_sets,
                inputs=["challenger", "champion", "dataset", "params:taxonomy"],
                outputs="scored",
                name="score_sets",
            ),
            Node(
                match_random_draws,
                inputs=["batches", "dataset"],
                outputs="draws",
                name="match_random_draws",
            ),
            Node(
                analyse_challenger,
                inputs=["dataset", "scored", "params:taxonomy", "params:evaluation"],
                outputs="error_analysis",
                name="analyse_challenger",
            ),
            Node(
                check_speed,
                inputs=["challenger", "dataset", "params:evaluation"],
                outputs="is_fast_enough",
                name="check_speed",
            ),
            Node(
                gather_gate_evidence,
                inputs=[
                    "scored",
                    "challenger",
                    "champion",
                    "previous_verdict",
                    "draws",
                    "error_analysis",
                    "is_fast_enough",
                    "params:taxonomy",
                    "params:evaluation",
                ],
                outputs="evidence",
                name="gather_gate_evidence",
            ),
            Node(
                evaluate_challenger,
                inputs=["scored", "draws", "evidence", "dataset", "params:taxonomy", "params:evaluation"],
                outputs="evaluation",
                name="evaluate_challenger",
            ),
            Node(
                decide_verdict,
                inputs=["evidence", "scored", "previous_verdict", "params:evaluation", "params:cycle"],
                outputs="verdict",
                name="decide_verdict",
            ),
            Node(
                list_evaluated_pages,
                inputs=["scored", "dataset", "params:taxonomy"],
                outputs="evaluated_pages",
                name="list_evaluated_pages",
            ),
            Node(
                measure_staleness,
                inputs=[
                    "dataset",
                    "scored",
                    "past_champions",
                    "params:taxonomy",
                    "params:evaluation",
                    "params:cycle",
                ],
                outputs="staleness",
                name="measure_staleness",
            ),
            Node(
                compare_pages,
                inputs=["dataset", "scored", "params:taxonomy"],
                outputs="compared_pages",
                name="compare_pages",
            ),
            Node(
                write_report,
                inputs=[
                    "evaluation",
                    "verdict",
                    "error_analysis",
                    "training_report",
                    "dataset_card",
                    "staleness",
                    "compared_pages",
                    "params:family",
                    "params:cycle",
                ],
                outputs="challenger_report",
                name="write_report",
            ),
            Node(
                report_evaluation,
                inputs=["evaluation", "verdict", "error_analysis", "evaluated_pages", "challenger_report"],
                outputs="evaluation_report",
                name="report_evaluation",
            ),
        ]
    )
