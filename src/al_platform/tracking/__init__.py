"""Experiment trackers behind one protocol: W&B, MLflow and none. No other part imports their libraries."""
