"""The encoder all-MiniLM-L6-v2, whose weights come from the package registry."""

import numpy as np
import pytest
from ngram_texts import SINGLE, single_texts
from servers.minilm import minilm
from tiny_encoder import QUICK_FIT, reading

from al_platform.domain.metrics import macro_f1
from al_platform.models.transformer.checkpoints import LocalCheckpoints
from al_platform.models.transformer.fit import fit_transformer

pytestmark = pytest.mark.real


def test_a_real_encoder_learns_from_a_few_pages_and_comes_back_the_same(tmp_path):
    options = reading(minilm(), frozen_layers=4)
    fit = QUICK_FIT.model_copy(update={"max_epochs": 2, "learning_rate": 2e-4})
    train, unseen = single_texts(64, 0), single_texts(40, 9)
    where = LocalCheckpoints(tmp_path / "checkpoints")
    classifier = fit_transformer(train, single_texts(30, 1), SINGLE, options, fit, 0, checkpoints=where).classifier
    scores = classifier.score(unseen.texts)
    assert macro_f1(SINGLE.encode(unseen.values), classifier.decide(scores.probabilities)) > 0.9
    classifier.save(tmp_path / "model")
    loaded = type(classifier).load(tmp_path / "model")
    assert np.array_equal(loaded.score(unseen.texts).probabilities, scores.probabilities)
