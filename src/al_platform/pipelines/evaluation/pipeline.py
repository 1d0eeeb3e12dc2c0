"""Evaluation's table of contents."""

from kedro.pipeline import Node, Pipeline

from al_platform.pipelines.evaluation.nodes import (
    analyse_challenger,
    decide_verdict,
    evaluate_challenger,
    report_evaluation,
    score_sets,
)


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
                evaluate_challenger,
                inputs=["scored", "params:taxonomy", "params:evaluation"],
                outputs="evaluation",
                name="evaluate_challenger",
            ),
            Node(
                analyse_challenger,
                inputs=["dataset", "scored", "params:taxonomy", "params:evaluation"],
                outputs="error_analysis",
                name="analyse_challenger",
            ),
            Node(
                decide_verdict,
                inputs=["scored", "challenger", "champion", "params:taxonomy", "params:evaluation"],
                outputs="verdict",
                name="decide_verdict",
            ),
            Node(
                report_evaluation,
                inputs=["evaluation", "verdict", "error_analysis"],
                outputs="evaluation_report",
                name="report_evaluation",
            ),
        ]
    )
