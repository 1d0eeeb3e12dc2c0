"""A new model family: a name, a file with its labels and tests; all else follows from the configuration."""
