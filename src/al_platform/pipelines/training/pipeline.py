"""Training's table of contents."""

from kedro.pipeline import Node, Pipeline

from al_platform.pipelines.training.nodes import report_training, train_model


def create_pipeline() -> Pipeline:
    """Wire training: data set in, challenger out."""
    return Pipeline(
        [
            Node(
                train_model,
                inputs=[
                    "dataset",
                    "champion",
                    "checkpoints",
                    "training_logger",
                    "params:taxonomy",
                    "params:model",
                    "params:training",
                ],
                outputs=["challenger", "training_summary"],
                name="train_model",
            ),
            Node(
                report_training,
                inputs=["challenger", "training_summary"],
                outputs="training_report",
                name="report_training",
            ),
        ]
    )
