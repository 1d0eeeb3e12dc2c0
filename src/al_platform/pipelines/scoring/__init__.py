"""Scoring: the cycle's pages, in batches through the champion, into predictions."""

from al_platform.pipelines.scoring.pipeline import create_pipeline

__all__ = ["create_pipeline"]
