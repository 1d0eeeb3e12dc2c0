from pathlib import Path

import pytest
from tiny_encoder import fit_tiny, make_encoder

from al_platform.models.transformer.fit import TransformerFit


@pytest.fixture(scope="session")
def encoder(tmp_path_factory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def tiny_fit(encoder, tmp_path_factory) -> TransformerFit:
    return fit_tiny(encoder, tmp_path_factory.mktemp("checkpoints"))
