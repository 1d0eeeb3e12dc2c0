"""A governed active-learning loop for web-content classifiers."""

__version__ = "0.1.0"
