"""Evaluation: challenger and champion on the same rows, their errors, and the gate's verdict."""

from al_platform.pipelines.evaluation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
