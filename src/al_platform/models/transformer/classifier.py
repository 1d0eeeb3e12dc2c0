"""The fine-tuned transformer: scores texts in one pass over pages sorted by length."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from al_platform.domain.errors import StoreError
from al_platform.models.calibration import probabilities_of
from al_platform.models.classifier import (
    WEIGHTS_FILE,
    ClassifierConfig,
    Scores,
    read_config,
    read_file,
    read_json,
    read_tensors,
    write_config,
    write_tensors,
)
from al_platform.models.transformer.options import TransformerOptions
from al_platform.models.transformer.texts import PageTokenizer, TokenLayout

if TYPE_CHECKING:
    from al_platform.models.transformer.network import PageNetwork

ENCODER_FILE = "encoder.json"
TOKENIZER_FILE = "tokenizer.json"
ENCODER = "encoder."
TEXTS_AT_A_TIME = 4_096  # bounds the memory of token ids
CPU_TOKENS = 2_048  # of a padded batch: larger ones leave the processor's cache
GPU_TOKENS = 65_536


class TransformerConfig(ClassifierConfig):
    """All of a transformer classifier but its files.

    Attributes:
        transformer: What is read of a text, and how it is pooled.
        layout: What goes around a text's tokens.
        base: Digest of the published encoder that it goes back to.
    """

    kind: Literal["transformer"] = "transformer"
    transformer: TransformerOptions
    layout: TokenLayout
    base: str


@dataclass(frozen=True)
class TransformerClassifier:
    """A fine-tuned encoder with a linear head.

    Attributes:
        config: Taxonomy, reading, thresholds and temperature.
        encoder_config: The encoder's shape, as Hugging Face writes it.
        tokenizer_definition: The tokenizer, as the library ``tokenizers`` writes it.
        tensors: ``encoder.*`` as the encoder names them, ``head.weight`` (C, H) and ``head.bias`` (C,), all float32.
    """

    config: TransformerConfig
    encoder_config: Mapping[str, Any]
    tokenizer_definition: str
    tensors: Mapping[str, NDArray[Any]]

    def score(self, texts: Sequence[str]) -> Scores:
        """Return probabilities and embeddings of ``texts``; a text scores the same alone and among others."""
        n_labels, width = self.tensors["head.weight"].shape
        logits, embeddings = np.zeros((len(texts), n_labels), np.float32), np.zeros((len(texts), width), np.float16)
        for start in range(0, len(texts), TEXTS_AT_A_TIME):
            part = slice(start, start + TEXTS_AT_A_TIME)
            logits[part], embeddings[part] = self._logits_and_embeddings(texts[part])
        probabilities = probabilities_of(logits, self.config.temperature, self.config.taxonomy.is_multi)
        return Scores(probabilities, embeddings)

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the logits of ``texts``, before the temperature, shape (N, C)."""
        return self._logits_and_embeddings(texts)[0]

    def decide(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return the labels given at ``probabilities`` of shape (N, C), as an indicator matrix of the same shape."""
        return self.config.decide(probabilities)

    def save(self, directory: Path) -> None:
        """Write the model into ``directory``; equal models give equal bytes."""
        write_config(self.config, directory)
        write_tensors(self.tensors, directory)
        shape = json.dumps(self.encoder_config, indent=2, sort_keys=True)
        (directory / ENCODER_FILE).write_text(f"{shape}\n", encoding="utf-8", newline="\n")
        (directory / TOKENIZER_FILE).write_text(self.tokenizer_definition, encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Return the model that ``save`` wrote into ``directory``.

        Raises:
            StoreError: A file is missing, damaged or of a format that this release does not know.
        """
        config = read_config(directory, TransformerConfig)
        encoder_config = read_json(directory / ENCODER_FILE)
        tensors = read_tensors(directory / WEIGHTS_FILE)
        definition = read_file(directory / TOKENIZER_FILE).decode("utf-8")
        # Only the network knows how wide it is: encoders name that differently, and it is asked when it is built.
        n_labels, found = len(config.taxonomy.labels), getattr(tensors.get("head.weight"), "shape", ())
        if found[:1] != (n_labels,):
            raise StoreError(
                f"{directory / WEIGHTS_FILE} does not fit: expected a head of {n_labels} labels, found one of shape "
                f"{found}. Restore the folder or train again."
            )
        return cls(config, encoder_config, definition, tensors)

    @cached_property
    def tokenizer(self) -> PageTokenizer:
        """How texts become the encoder's input."""
        return PageTokenizer(self.tokenizer_definition, self.config.layout)

    @cached_property
    def _network(self) -> "PageNetwork":
        import torch

        network = network_of(self.encoder_config, self.tensors, self.config.transformer)
        return network.eval().to("cuda" if torch.cuda.is_available() else "cpu")

    def _logits_and_embeddings(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
        import torch

        from al_platform.models.transformer.batches import Rows, batches_within, halved_to_fit, pad
        from al_platform.models.transformer.network import unit_length

        pages = self.tokenizer.encode(texts, self.config.transformer)
        network, device = self._network, self._network.head.weight.device
        n_labels, width = self.tensors["head.weight"].shape
        logits, embeddings = np.zeros((len(texts), n_labels), np.float32), np.zeros((len(texts), width), np.float16)

        def embed(rows: Rows) -> torch.Tensor:
            return network.embed(pad(pages, rows, self.config.layout.padding).to(device))  # (B, H)

        with torch.inference_mode():
            for batch in batches_within(pages.lengths, GPU_TOKENS if device.type == "cuda" else CPU_TOKENS):
                for rows, embedded in halved_to_fit(batch, embed):
                    logits[rows] = network.logits(embedded).cpu().numpy()
                    embeddings[rows] = unit_length(embedded).cpu().numpy().astype(np.float16)
        return logits, embeddings


def network_of(
    encoder_config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], options: TransformerOptions
) -> "PageNetwork":
    """Return the network with these weights, on the CPU.

    Raises:
        StoreError: The weights are not those of such an encoder.
    """
    import torch

    from al_platform.models.transformer.network import build_network

    network = build_network(encoder_config, len(tensors["head.bias"]), options)
    # Cloned: arrays read from a file need not begin where vector instructions want them.
    state: dict[str, torch.Tensor] = {name: torch.from_numpy(array).clone() for name, array in tensors.items()}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise StoreError(f"The weights do not fit the encoder: {error}. Restore the folder or train again.") from error
    return network
