import json

import numpy as np
import pytest
import torch
from ngram_texts import MULTI, SINGLE, multi_texts, single_texts
from tiny_encoder import QUICK_FIT, make_encoder, reading
from transformers import AutoModel, AutoTokenizer

from al_platform.domain.errors import ConfigError, StoreError
from al_platform.domain.metrics import macro_f1
from al_platform.models.classifier import CONFIG_FILE, WEIGHTS_FILE
from al_platform.models.model import load_classifier
from al_platform.models.transformer.base import base_folder
from al_platform.models.transformer.checkpoints import LocalCheckpoints
from al_platform.models.transformer.classifier import ENCODER_FILE, TOKENIZER_FILE, TransformerClassifier
from al_platform.models.transformer.fit import fit_transformer
from al_platform.models.transformer.options import TransformerOptions

FILES = (CONFIG_FILE, ENCODER_FILE, WEIGHTS_FILE, TOKENIZER_FILE)
UNSEEN = single_texts(40, seed=9)
MIXED = [*UNSEEN.texts, "ship", "", "apple bread " * 9, "\ud800"]


@pytest.fixture
def classifier(tiny_fit) -> TransformerClassifier:
    return tiny_fit.classifier


def test_single_labels_are_learnt(classifier):
    decisions = classifier.decide(classifier.score(UNSEEN.texts).probabilities)
    assert macro_f1(SINGLE.encode(UNSEEN.values), decisions) > 0.9


def test_multiple_labels_are_learnt_and_their_thresholds_stored(encoder, tmp_path):
    fit = QUICK_FIT.model_copy(update={"max_epochs": 8, "loss": "focal"})
    where, rows = LocalCheckpoints(tmp_path), multi_texts(100, 7)
    train, validation = multi_texts(120, 0), multi_texts(60, 1)
    found = fit_transformer(train, validation, MULTI, reading(encoder), fit, 0, checkpoints=where).classifier
    assert macro_f1(MULTI.encode(rows.values), found.decide(found.score(rows.texts).probabilities)) > 0.8
    assert set(found.config.thresholds) != {0.5}


def test_a_page_scores_the_same_alone_and_in_a_batch(classifier):
    together = classifier.score(MIXED)
    alone = np.concatenate([classifier.score([text]).probabilities for text in MIXED])
    assert np.abs(together.probabilities - alone).max() < 1e-5


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_a_page_in_pieces_scores_the_same_alone_and_in_a_batch(encoder, tmp_path, pooling):
    options = reading(encoder, max_tokens=6, long_text="chunks", chunk_overlap=1, chunk_pooling=pooling)
    fit = QUICK_FIT.model_copy(update={"max_epochs": 1})
    where, rows = LocalCheckpoints(tmp_path), single_texts(60, 0)
    classifier = fit_transformer(rows, single_texts(20, 1), SINGLE, options, fit, 0, checkpoints=where).classifier
    alone = np.concatenate([classifier.score([text]).probabilities for text in MIXED])
    assert np.abs(classifier.score(MIXED).probabilities - alone).max() < 1e-5


def test_scores_are_finite_and_embeddings_of_length_one(classifier):
    scores = classifier.score(MIXED)
    assert scores.probabilities.dtype == np.float32
    assert scores.embeddings.dtype == np.float16
    assert scores.embeddings.shape == (len(MIXED), 32)
    assert np.linalg.norm(scores.embeddings.astype(np.float64), axis=1).tolist() == pytest.approx(
        [1] * len(MIXED), abs=2e-3
    )
    assert np.abs(scores.probabilities.sum(axis=1) - 1).max() < 1e-5


def test_no_texts_give_no_scores(classifier):
    assert classifier.score([]).probabilities.shape == (0, 3)
    assert classifier.score([]).embeddings.shape == (0, 32)


def test_embeddings_are_those_of_transformers_with_mean_pooling(encoder, tmp_path):
    fit = QUICK_FIT.model_copy(update={"max_epochs": 1})
    options = reading(encoder, frozen_layers=2)
    where = LocalCheckpoints(tmp_path)
    train = single_texts(30, 0)
    classifier = fit_transformer(train, train, SINGLE, options, fit, 0, checkpoints=where).classifier
    model, tokenizer = AutoModel.from_pretrained(encoder).eval(), AutoTokenizer.from_pretrained(encoder)
    batch = tokenizer(UNSEEN.texts, padding=True, return_tensors="pt")
    mask = batch["attention_mask"].unsqueeze(-1)
    with torch.inference_mode():
        pooled = (model(**batch).last_hidden_state * mask).sum(dim=1) / mask.sum(dim=1)
    expected = (pooled / pooled.norm(dim=1, keepdim=True)).numpy()
    assert np.abs(classifier.score(UNSEEN.texts).embeddings - expected).max() < 1e-3


def test_a_loaded_model_scores_the_same_and_saves_the_same_bytes(classifier, tmp_path):
    classifier.save(tmp_path / "first")
    loaded = load_classifier(tmp_path / "first")
    loaded.save(tmp_path / "second")
    assert sorted(file.name for file in (tmp_path / "first").iterdir()) == sorted(FILES)
    for name in FILES:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    assert (classifier.score(MIXED).probabilities == loaded.score(MIXED).probabilities).all()


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(classifier, tmp_path, name):
    classifier.save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(StoreError, match=name):
        load_classifier(tmp_path)


def test_weights_of_another_encoder_are_refused(classifier, tmp_path):
    classifier.save(tmp_path)
    shape = json.loads((tmp_path / ENCODER_FILE).read_text())
    (tmp_path / ENCODER_FILE).write_text(json.dumps({**shape, "num_hidden_layers": 3}))
    with pytest.raises(StoreError, match="do not fit the encoder"):
        load_classifier(tmp_path).score(["ship"])


def test_an_unknown_kind_is_refused(classifier, tmp_path):
    classifier.save(tmp_path)
    config = json.loads((tmp_path / CONFIG_FILE).read_text())
    (tmp_path / CONFIG_FILE).write_text(json.dumps({**config, "kind": "oracle"}))
    with pytest.raises(StoreError, match=r"'oracle'.*ngram, transformer"):
        load_classifier(tmp_path)


def test_an_encoder_of_the_hub_is_not_downloaded_unless_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=r"'acme/encoder'.*may not be downloaded.*allow_download: true"):
        base_folder(TransformerOptions(name="acme/encoder"), lambda name: tmp_path)


def test_an_encoder_with_pickled_weights_only_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ConfigError, match="safetensors"):
        base_folder(TransformerOptions(name=str(tmp_path)), lambda name: tmp_path)


def test_an_encoder_comes_from_the_store_by_its_name(tmp_path):
    make_encoder(tmp_path / "tiny")
    found = base_folder(TransformerOptions(name="store:tiny"), LocalCheckpoints(tmp_path, tmp_path).encoder)
    assert found == tmp_path / "tiny"


def test_more_tokens_than_the_encoder_reads_are_refused(encoder, tmp_path):
    rows = single_texts(20, 0)
    with pytest.raises(ConfigError, match=r"100 tokens.*reads 64 at most"):
        fit_transformer(
            rows, rows, SINGLE, reading(encoder, max_tokens=100), QUICK_FIT, 0, checkpoints=LocalCheckpoints(tmp_path)
        )
