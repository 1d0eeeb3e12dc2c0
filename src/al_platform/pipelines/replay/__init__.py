"""Replay: the loop over a labelled archive, before it is trusted with traffic."""

from al_platform.pipelines.replay.pipeline import create_pipeline

__all__ = ["create_pipeline"]
