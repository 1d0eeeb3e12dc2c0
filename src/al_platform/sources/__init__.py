"""Where production traffic and the labels of the start come from."""

from al_platform.sources.registry import SourceOptions, open_source
from al_platform.sources.source import BRAND_SAFETY, FAMILY_LABELS, SENTIMENT, TOPICS, TrafficSource

__all__ = ["BRAND_SAFETY", "FAMILY_LABELS", "SENTIMENT", "TOPICS", "SourceOptions", "TrafficSource", "open_source"]
