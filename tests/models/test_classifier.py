import json

import numpy as np
import pytest
import torch
from ngram_texts import MULTI, SINGLE, SMALL, single_texts

from al_platform.domain.errors import StoreError
from al_platform.models.classifier import CONFIG_FILE, WEIGHTS_FILE, NgramClassifier, NgramConfig
from al_platform.models.data import SparseRows, to_batch
from al_platform.models.module import NgramModule
from al_platform.models.options import FitOptions

UNSEEN = single_texts(20, seed=9).texts
HOSTILE = ["", "\0", "x" * 5_000_000, "\ud800", "unheard", "word " * 100_000]


@pytest.fixture(params=["single_fit", "multi_fit", "hidden_fit"])
def classifier(request) -> NgramClassifier:
    return request.getfixturevalue(request.param).classifier


def test_numpy_and_torch_compute_the_same_logits(classifier):
    features = classifier.features(UNSEEN)
    targets = np.eye(3, dtype=np.float32)[np.zeros(len(UNSEEN), dtype=int)]
    rows = SparseRows(features, targets, np.ones(len(UNSEEN), dtype=np.float32))
    module = NgramModule(rows, FitOptions(), hidden_units=classifier.config.ngram.hidden_units, is_multi=False, seed=0)
    learnt = {name: torch.from_numpy(tensor) for name, tensor in classifier.tensors.items()}
    module.load_state_dict({name: learnt[name] for name in module.state_dict()})
    with torch.no_grad():
        expected = module(to_batch(rows)).numpy()
    assert np.abs(classifier.logits(features) - expected).max() < 1e-5


def test_a_loaded_model_scores_the_same_and_saves_the_same_bytes(classifier, tmp_path):
    classifier.save(tmp_path / "first")
    loaded = NgramClassifier.load(tmp_path / "first")
    loaded.save(tmp_path / "second")
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    before, after = classifier.score(UNSEEN), loaded.score(UNSEEN)
    assert (before.probabilities == after.probabilities).all()
    assert (before.embeddings == after.embeddings).all()


def test_scores_are_finite_whatever_the_text(classifier):
    scores = classifier.score(HOSTILE)
    assert scores.probabilities.dtype == np.float32
    assert scores.embeddings.dtype == np.float16
    assert scores.probabilities.shape == (len(HOSTILE), 3)
    assert scores.embeddings.shape == (len(HOSTILE), SMALL.embedding_dim)
    assert np.isfinite(scores.probabilities).all()
    assert np.isfinite(scores.embeddings).all()


def test_no_texts_give_no_scores(classifier):
    scores = classifier.score([])
    assert scores.probabilities.shape == (0, 3)
    assert classifier.decide(scores.probabilities).shape == (0, 3)


def test_probabilities_of_a_single_label_sum_to_one(single_fit):
    sums = single_fit.classifier.score(UNSEEN).probabilities.sum(axis=1)
    assert np.abs(sums - 1).max() < 1e-5


def test_similar_pages_lie_closer_than_different_ones(single_fit):
    texts = ["ship sail harbour today", "ship sail harbour near", "apple bread cheese with"]
    page, edited, other = single_fit.classifier.score(texts).embeddings.astype(np.float64)
    assert page @ edited > page @ other


def bare(taxonomy, thresholds):
    return NgramClassifier(NgramConfig(taxonomy=taxonomy, ngram=SMALL, thresholds=thresholds), {})


def test_the_likeliest_label_is_given_when_there_is_one():
    decisions = bare(SINGLE, (0.5,) * 3).decide(np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]], dtype=np.float32))
    assert decisions.tolist() == [[False, True, False], [True, False, False]]


def test_every_label_at_its_threshold_is_given_when_there_may_be_many():
    decisions = bare(MULTI, (0.5, 0.25, 0.9)).decide(np.array([[0.5, 0.25, 0.8], [0.1, 0.2, 0.3]], dtype=np.float32))
    assert decisions.tolist() == [[True, True, False], [False, False, False]]


@pytest.mark.parametrize("name", [CONFIG_FILE, WEIGHTS_FILE])
def test_a_missing_file_is_named(single_fit, tmp_path, name):
    single_fit.classifier.save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(StoreError, match=name):
        NgramClassifier.load(tmp_path)


@pytest.mark.parametrize("name", [CONFIG_FILE, WEIGHTS_FILE])
@pytest.mark.parametrize("damage", [b"", b"\xff\x00garbage", None])
def test_a_damaged_file_is_refused(single_fit, tmp_path, name, damage):
    single_fit.classifier.save(tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2] if damage is None else damage)
    with pytest.raises(StoreError, match="damaged"):
        NgramClassifier.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "model format 2"),
        ({"kind": "transformer"}, "kind"),
        ({"thresholds": [0.5]}, "thresholds"),
        ({"temperature": 0}, "temperature"),
        ({"ngram": {"hidden_units": 4}}, "does not fit"),
        ({"ngram": {"n_features": 256}}, "buckets"),
    ],
)
def test_a_config_of_another_model_is_refused(single_fit, tmp_path, change, message):
    single_fit.classifier.save(tmp_path)
    config = json.loads((tmp_path / CONFIG_FILE).read_text())
    (tmp_path / CONFIG_FILE).write_text(json.dumps(config | change))
    with pytest.raises(StoreError, match=message):
        NgramClassifier.load(tmp_path)


def test_only_weights_and_config_are_stored(single_fit, tmp_path):
    single_fit.classifier.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [CONFIG_FILE, WEIGHTS_FILE]
    assert sorted(single_fit.classifier.tensors) == ["bias", "feature_ids", "idf", "weight"]
