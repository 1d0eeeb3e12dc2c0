"""Training: a challenger fitted on the prepared data."""

from al_platform.pipelines.training.pipeline import create_pipeline

__all__ = ["create_pipeline"]
