"""Annotation ingest's table of contents."""

from kedro.pipeline import Node, Pipeline

from al_platform.pipelines.annotation_ingest.nodes import (
    adjudicate_labels,
    collect_answers,
    pull_annotations,
    report_ingest,
)


def create_pipeline() -> Pipeline:
    """Wire annotation ingest: answers in, ledger partition and labels out."""
    return Pipeline(
        [
            Node(
                pull_annotations,
                inputs=[
                    "receipt",
                    "platform",
                    "annotations_taken",
                    "annotations_before",
                    "params:taxonomy",
                    "params:annotation",
                ],
                outputs=["annotations", "annotation_quarantine"],
                name="pull_annotations",
            ),
            Node(
                collect_answers,
                inputs=["annotations", "annotations_before", "batches", "params:taxonomy"],
                outputs=["ledger", "invalid", "sent"],
                name="collect_answers",
            ),
            Node(
                adjudicate_labels,
                inputs=["ledger", "sent", "params:taxonomy", "params:cycle"],
                outputs="labels",
                name="adjudicate_labels",
            ),
            Node(
                report_ingest,
                inputs=[
                    "annotations",
                    "ledger",
                    "labels",
                    "annotation_quarantine",
                    "invalid",
                    "sent",
                    "params:taxonomy",
                    "params:annotation",
                ],
                outputs="annotation_ingest_report",
                name="report_ingest",
            ),
        ]
    )
