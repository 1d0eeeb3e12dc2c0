"""What was run, on which data, with which figures: read from manifests, in one table."""
