"""Promotion: the verdict carried out in the champion log."""

from al_platform.pipelines.promotion.pipeline import create_pipeline

__all__ = ["create_pipeline"]
