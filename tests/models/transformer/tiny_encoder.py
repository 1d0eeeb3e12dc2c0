"""A random encoder of a few thousand weights, its vocabulary written here: no network, and quick."""

import json
from pathlib import Path

import torch
from ngram_texts import FILLER, SINGLE, WORDS, single_texts
from transformers import BertConfig, BertModel, PreTrainedModel

from al_platform.models.transformer.checkpoints import Checkpoints, LocalCheckpoints
from al_platform.models.transformer.fit import TransformerFit, fit_transformer
from al_platform.models.transformer.options import TransformerFitOptions, TransformerOptions

VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *FILLER,
    *(word for words in WORDS.values() for word in words),
]
SHAPE = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
QUICK_FIT = TransformerFitOptions(
    max_epochs=3, batch_size=16, learning_rate=2e-3, head_learning_rate=2e-2, checkpoint_steps=3, threads=1
)


def make_encoder(folder: Path, **changes) -> Path:
    """Write a random BERT into ``folder``."""
    config = BertConfig(max_position_embeddings=64, **{**SHAPE, **changes})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return write_encoder(BertModel(config), folder)


def write_encoder(model: PreTrainedModel, folder: Path) -> Path:
    """Write an encoder with the tokenizer of these tests into ``folder``."""
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    return folder


def reading(encoder: Path, **changes) -> TransformerOptions:
    """Return options that read texts with the encoder in this folder."""
    return TransformerOptions(**{"name": str(encoder), "max_tokens": 24, **changes})


def fit_tiny(encoder: Path, checkpoints: Path | Checkpoints, **changes) -> TransformerFit:
    """Fine-tune the tiny encoder on 120 sentences."""
    where = LocalCheckpoints(checkpoints) if isinstance(checkpoints, Path) else checkpoints
    fit = QUICK_FIT.model_copy(update=changes)
    return fit_transformer(
        single_texts(120, 0), single_texts(60, 1), SINGLE, reading(encoder), fit, 0, checkpoints=where
    )
