"""Encoders of other kinds than BERT, and of which something is missing."""

import pytest
import safetensors.torch
from ngram_texts import SINGLE, single_texts
from tiny_encoder import QUICK_FIT, SHAPE, make_encoder, reading, write_encoder
from transformers import (
    DebertaV2Config,
    DebertaV2Model,
    DistilBertConfig,
    DistilBertModel,
    LongformerConfig,
    LongformerModel,
    RobertaConfig,
    RobertaModel,
    XLNetConfig,
    XLNetModel,
)

from al_platform.domain.errors import ConfigError
from al_platform.models.labelled_texts import LabelledTexts
from al_platform.models.model import load_classifier
from al_platform.models.transformer.base import read_base
from al_platform.models.transformer.checkpoints import LocalCheckpoints, newest_checkpoint
from al_platform.models.transformer.fit import fit_transformer
from al_platform.models.transformer.network import most_tokens

WEIGHTS = "model.safetensors"
SHORT = {"vocab_size": SHAPE["vocab_size"], "max_position_embeddings": 64}


def fit_on(encoder, folder, **changes):
    rows = single_texts(40, 0)
    long = LabelledTexts([f"{text} {'apple ' * 40}" for text in rows.texts], rows.values)
    fit, where = QUICK_FIT.model_copy(update={"max_epochs": 1}), LocalCheckpoints(folder)
    return fit_transformer(long, rows, SINGLE, reading(encoder, **changes), fit, 0, checkpoints=where)


def without(encoder, part):
    tensors = safetensors.torch.load_file(encoder / WEIGHTS)
    kept = {name: tensor for name, tensor in tensors.items() if part not in name}
    assert len(kept) < len(tensors)
    safetensors.torch.save_file(kept, encoder / WEIGHTS, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (DistilBertModel, DistilBertConfig(dim=32, n_layers=2, n_heads=2, hidden_dim=64, **SHORT)),
        (DebertaV2Model, DebertaV2Config(relative_attention=True, pos_att_type=["p2c", "c2p"], **{**SHAPE, **SHORT})),
        (XLNetModel, XLNetConfig(d_model=32, n_layer=2, n_head=2, d_inner=64, vocab_size=SHAPE["vocab_size"])),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_encoders_that_name_their_parts_differently_are_trained_stored_and_read_again(tmp_path, kind, config):
    encoder = write_encoder(kind(config), tmp_path / "encoder")
    found = fit_on(encoder, tmp_path / "fits", frozen_layers=1).classifier
    (tmp_path / "model").mkdir()
    found.save(tmp_path / "model")
    texts = single_texts(8, 1).texts
    again = load_classifier(tmp_path / "model").score(texts)
    assert (again.probabilities == found.score(texts).probabilities).all()


def test_an_encoder_that_lacks_weights_is_refused_and_not_filled_with_noise(tmp_path):
    encoder = make_encoder(tmp_path)
    without(encoder, "layer.1.output.dense")
    with pytest.raises(ConfigError, match=r"lacks 2 weights, such as encoder\.layer\.1\.output\.dense"):
        read_base(encoder)


@pytest.mark.parametrize("content", [b"\xff", b""])
def test_damaged_weights_are_named(tmp_path, content):
    encoder = make_encoder(tmp_path)
    (encoder / WEIGHTS).write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_base(encoder)


def test_weights_of_another_shape_are_named(tmp_path):
    encoder = make_encoder(tmp_path / "one")
    wide = make_encoder(tmp_path / "wide", hidden_size=64)
    (encoder / WEIGHTS).write_bytes((wide / WEIGHTS).read_bytes())
    with pytest.raises(ConfigError, match="cannot be read"):
        read_base(encoder)


def test_the_length_that_transformers_takes_for_granted_is_known():
    assert most_tokens({"model_type": "bert", **SHAPE}) == 512


def test_an_encoder_without_positions_of_its_own_reads_any_length():
    assert most_tokens({"model_type": "xlnet", "vocab_size": 22, "d_model": 32, "n_layer": 1, "n_head": 2}) is None


def test_roberta_reads_as_many_tokens_as_it_has_positions_after_the_padding_s(tmp_path):
    config = RobertaConfig(max_position_embeddings=24, type_vocab_size=1, pad_token_id=0, **SHAPE)
    encoder = write_encoder(RobertaModel(config), tmp_path / "roberta")
    assert fit_on(encoder, tmp_path / "fits", max_tokens=23).history
    with pytest.raises(ConfigError, match=r"24 tokens.*reads 23 at most"):
        fit_on(encoder, tmp_path / "long", max_tokens=24)


def test_an_encoder_with_weights_that_no_page_uses_leaves_checkpoints(tmp_path):
    config = LongformerConfig(max_position_embeddings=64, attention_window=8, pad_token_id=0, **SHAPE)
    encoder = write_encoder(LongformerModel(config), tmp_path / "longformer")
    found = fit_on(encoder, tmp_path / "checkpoints")
    assert newest_checkpoint(tmp_path / "checkpoints" / found.key) is not None
