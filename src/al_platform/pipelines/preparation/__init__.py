"""Preparation: labels joined, texts cleaned and grouped, pages assigned to sets."""

from al_platform.pipelines.preparation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
