"""Selection's table of contents."""

from kedro.pipeline import Node, Pipeline

from al_platform.pipelines.selection.nodes import (
    find_second_looks,
    open_duel,
    report_selection,
    seal_batch,
    select_batch,
    submit_batch,
)


def create_pipeline() -> Pipeline:
    """Wire selection: scored pool in, sealed and submitted batch out."""
    return Pipeline(
        [
            Node(
                open_duel,
                inputs=[
                    "verdict_before",
                    "challenger_before",
                    "champion",
                    "predictions",
                    "pages",
                    "batches_before",
                    "imported_labels",
                    "previous_dataset",
                    "params:selection",
                    "params:near_duplicates",
                    "params:cycle",
                ],
                outputs="duels",
                name="open_duel",
            ),
            Node(
                find_second_looks,
                inputs=[
                    "sealed_batch",
                    "previous_dataset",
                    "previous_answered_pages",
                    "previous_labels",
                    "batches_before",
                    "imported_labels",
                    "params:taxonomy",
                    "params:selection",
                    "params:cycle",
                ],
                outputs="second_looks",
                name="find_second_looks",
            ),
            Node(
                select_batch,
                inputs=[
                    "predictions",
                    "pages",
                    "batches_before",
                    "imported_labels",
                    "previous_dataset",
                    "champion",
                    "sealed_batch",
                    "duels",
                    "second_looks",
                    "params:taxonomy",
                    "params:selection",
                    "params:annotation",
                    "params:near_duplicates",
                    "params:family",
                    "params:cycle",
                ],
                outputs="proposal",
                name="select_batch",
            ),
            Node(seal_batch, inputs="proposal", outputs="batch", name="seal_batch"),
            Node(
                submit_batch,
                inputs=["batch", "predictions", "champion", "platform", "params:taxonomy", "params:annotation"],
                outputs="receipt",
                name="submit_batch",
            ),
            Node(
                report_selection,
                inputs=["batch", "receipt"],
                outputs="selection_report",
                name="report_selection",
            ),
        ]
    )
