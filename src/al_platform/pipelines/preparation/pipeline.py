"""Preparation's table of contents."""

from kedro.pipeline import Node, Pipeline

from al_platform.pipelines.preparation.nodes import (
    assemble_dataset,
    assign_sets,
    clean_pages,
    describe_dataset,
    group_near_duplicates,
    merge_labels,
    report_preparation,
)


def create_pipeline() -> Pipeline:
    """Wire preparation: labels in, data set with its sets and card out."""
    return Pipeline(
        [
            Node(
                merge_labels,
                inputs=[
                    "labels",
                    "imported_labels",
                    "batches",
                    "previous_dataset",
                    "previous_quarantine",
                    "params:taxonomy",
                    "params:preparation",
                ],
                outputs=["labelled", "kept", "labels_before"],
                name="merge_labels",
            ),
            Node(
                clean_pages,
                inputs=["labelled", "kept"],
                outputs=["cleaned", "quarantine"],
                name="clean_pages",
            ),
            Node(
                group_near_duplicates,
                inputs=["cleaned", "params:near_duplicates"],
                outputs="groups",
                name="group_near_duplicates",
            ),
            Node(
                assign_sets,
                inputs=[
                    "cleaned",
                    "groups",
                    "previous_ledger",
                    "params:preparation",
                    "params:near_duplicates",
                    "params:cycle",
                ],
                outputs="split_ledger",
                name="assign_sets",
            ),
            Node(
                assemble_dataset,
                inputs=["cleaned", "groups", "split_ledger", "kept"],
                outputs="dataset",
                name="assemble_dataset",
            ),
            Node(
                describe_dataset,
                inputs=["dataset", "labels_before", "quarantine", "params:taxonomy"],
                outputs="dataset_card",
                name="describe_dataset",
            ),
            Node(
                report_preparation,
                inputs=["dataset_card", "split_ledger", "labelled", "kept"],
                outputs="preparation_report",
                name="report_preparation",
            ),
        ]
    )
