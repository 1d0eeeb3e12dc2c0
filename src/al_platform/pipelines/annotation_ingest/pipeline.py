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
                    "previous_answered_pages",
                    "previous_pulled_pages",
                    "params:taxonomy",
                    "params:annotation",
                ],
                outputs=["annotations", "annotation_quarantine", "pulled_pages"],
                name="pull_annotations",
            ),
            Node(
                collect_answers,
                inputs=[
                    "annotations",
                    "annotations_before",
                    "batches",
                    "previous_answered_pages",
                    "params:taxonomy",
                    "params:cycle",
                ],
                outputs=["changes", "answered_pages"],
                name="collect_answers",
            ),
            Node(
                adjudicate_labels,
                inputs=["changes", "params:taxonomy", "params:annotation", "params:cycle"],
                outputs=["labels", "annotator_quality"],
                name="adjudicate_labels",
            ),
            Node(
                report_ingest,
                inputs=[
                    "annotations",
                    "answered_pages",
                    "labels",
                    "annotator_quality",
                    "annotation_quarantine",
                    "pulled_pages",
                    "changes",
                    "params:taxonomy",
                    "params:annotation",
                ],
                outputs="annotation_ingest_report",
                name="report_ingest",
            ),
        ]
    )
