"""Selection: the pages worth labelling, sealed and sent to the annotators."""

from al_platform.pipelines.selection.pipeline import create_pipeline

__all__ = ["create_pipeline"]
