"""Commit log, manifests, lineage, and Kedro datasets of our own."""
