"""Scoring's table of contents."""

from kedro.pipeline import Node, Pipeline

from al_platform.pipelines.scoring.nodes import report_scoring, score_pages


def create_pipeline() -> Pipeline:
    """Wire scoring: pages and champion in, predictions out."""
    return Pipeline(
        [
            Node(
                score_pages,
                inputs=[
                    "pages",
                    "champion",
                    "imported_predictions",
                    "params:taxonomy",
                    "params:model",
                    "params:scoring",
                ],
                outputs="predictions",
                name="score_pages",
            ),
            Node(
                report_scoring,
                inputs=["predictions", "pages", "champion", "imported_predictions"],
                outputs="scoring_report",
                name="report_scoring",
            ),
        ]
    )
