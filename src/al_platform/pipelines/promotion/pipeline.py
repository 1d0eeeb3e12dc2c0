"""Promotion's table of contents."""

from kedro.pipeline import Node, Pipeline

from al_platform.pipelines.promotion.nodes import promote_challenger, report_promotion


def create_pipeline() -> Pipeline:
    """Wire promotion: verdict in, champion log out."""
    return Pipeline(
        [
            Node(promote_challenger, inputs="verdict", outputs="promotion", name="promote_challenger"),
            Node(
                report_promotion,
                inputs=["promotion", "verdict"],
                outputs="promotion_report",
                name="report_promotion",
            ),
        ]
    )
