"""Promotion's table of contents."""

from kedro.pipeline import Node, Pipeline

from al_platform.pipelines.promotion.nodes import promote_challenger, report_promotion, settle_duel


def create_pipeline() -> Pipeline:
    """Wire promotion: verdict and answers to a duel in, champion log out."""
    return Pipeline(
        [
            Node(
                settle_duel,
                inputs=["batches", "labels", "champion", "params:taxonomy", "params:selection"],
                outputs="duel",
                name="settle_duel",
            ),
            Node(promote_challenger, inputs=["verdict", "duel"], outputs="promotion", name="promote_challenger"),
            Node(
                report_promotion,
                inputs=["promotion", "verdict", "duel"],
                outputs="promotion_report",
                name="report_promotion",
            ),
        ]
    )
