"""Annotation platforms: batches go to people, or to their simulation, and answers come back."""

from al_platform.annotation.platform import AnnotationPlatform, Pulled, Receipt
from al_platform.annotation.registry import PLATFORMS, AnnotationOptions, PlatformConnection

__all__ = ["PLATFORMS", "AnnotationOptions", "AnnotationPlatform", "PlatformConnection", "Pulled", "Receipt"]
