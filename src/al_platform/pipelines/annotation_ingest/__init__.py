"""Annotation ingest: answers taken exactly once, and what was concluded from them."""

from al_platform.pipelines.annotation_ingest.pipeline import create_pipeline

__all__ = ["create_pipeline"]
