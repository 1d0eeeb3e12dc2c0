"""Annotation ingest's table of contents."""

from kedro.pipeline import Node, Pipeline

from al_platform.pipelines.annotation_ingest.nodes import adjudicate_labels, pull_annotations, report_ingest


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
                adjudicate_labels,
                inputs=["annotations", "annotations_before", "batches", "params:taxonomy", "params:cycle"],
                outputs="labels",
                name="adjudicate_labels",
            ),
            Node(
                report_ingest,
                inputs=[
                    "annotations",
                    "annotations_before",
                    "labels",
                    "annotation_quarantine",
                    "batches",
                    "params:taxonomy",
                    "params:annotation",
                ],
                outputs="annotation_ingest_report",
                name="report_ingest",
            ),
        ]
    )
