"""The stages: each a template of pure nodes, its options, and its table of contents."""
