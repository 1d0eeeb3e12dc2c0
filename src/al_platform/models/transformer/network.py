"""The network: an encoder, pooling over tokens and pieces, and a linear head."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from al_platform.domain.errors import ConfigError
from al_platform.models.transformer.batches import TokenBatch
from al_platform.models.transformer.options import TransformerOptions

HEAD_STD = 0.02
MIN_LENGTH = 1e-12
POOLER = "add_pooling_layer"
POSITIONS = "position_embeddings"


class PageNetwork(nn.Module):
    """Logits of pages."""

    def __init__(self, encoder: nn.Module, n_labels: int, options: TransformerOptions) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(encoder.config.hidden_size, n_labels)  # type: ignore[union-attr, arg-type]
        self.options = options

    def forward(self, batch: TokenBatch) -> Tensor:
        """Return the logits of a batch, shape (B, C)."""
        return self.logits(self.embed(batch))

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return the logits of embeddings of shape (B, H): shape (B, C)."""
        logits: Tensor = self.head(self.dropout(embeddings))
        return logits

    def embed(self, batch: TokenBatch) -> Tensor:
        """Return the pooled embeddings of a batch, shape (B, H)."""
        hidden = self.encoder(input_ids=batch.token_ids, attention_mask=batch.attention).last_hidden_state  # (S, T, H)
        sequences = _pool_tokens(hidden, batch.attention, self.options.pooling)
        return _pool_pieces(sequences, batch, self.options.chunk_pooling)


def build_network(encoder_config: Mapping[str, Any], n_labels: int, options: TransformerOptions) -> PageNetwork:
    """Return a network of this shape with weights that mean nothing; torch's random state is left as it was.

    Raises:
        ConfigError: The installed transformers does not know this kind of encoder.
    """
    from transformers import AutoConfig, AutoModel

    shape = dict(encoder_config)
    try:
        config = AutoConfig.for_model(shape.pop("model_type"), **shape)
    except ValueError as error:
        raise ConfigError(f"The encoder cannot be built: {error} Install the release that trained it.") from error
    with torch.random.fork_rng(devices=[]):
        return PageNetwork(AutoModel.from_config(config, **pooler_options(config)), n_labels, options)


def most_tokens(encoder_config: Mapping[str, Any]) -> int | None:
    """Return the longest sequence that an encoder of this shape reads; None where nothing limits it.

    Raises:
        ConfigError: The installed transformers does not know this kind of encoder.
    """
    # A shape may leave out transformers' defaults, and only the network tells which positions are not for tokens.
    with torch.device("meta"):
        encoder = build_network(encoder_config, 1, TransformerOptions()).encoder
    most = getattr(encoder.config, "max_position_embeddings", None) or 0  # -1 where positions are relative
    if most < 1:
        return None
    tables = [module for name, module in encoder.named_modules() if name.endswith(POSITIONS)]
    # RoBERTa and its kin count positions from the one after the padding token's.
    taken = [each.padding_idx + 1 for each in tables if isinstance(each, nn.Embedding) and each.padding_idx is not None]
    return int(most) - max(taken, default=0)


def pooler_options(config: Any) -> dict[str, bool]:
    """Return what keeps an encoder from adding a pooling layer of its own: pages are pooled here."""
    from transformers import MODEL_MAPPING

    kind = MODEL_MAPPING.get(type(config), None)
    return {POOLER: False} if kind and POOLER in inspect.signature(kind.__init__).parameters else {}


def start_head(head: nn.Linear, seed: int) -> None:
    """Fill a new head with small seeded noise."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head.weight.normal_(0, HEAD_STD, generator=generator)
        head.bias.zero_()


def freeze(network: PageNetwork, n_layers: int) -> None:
    """Keep the token embeddings and the lower ``n_layers`` as they are; nothing is frozen at 0.

    Raises:
        ConfigError: The encoder has fewer layers, or its layers are not found.
    """
    if not n_layers:
        return
    prefix, layers = _layers(network.encoder)
    if n_layers > len(layers):
        raise ConfigError(f"Asked to freeze {n_layers} layers, the encoder has {len(layers)}. Lower frozen_layers.")
    frozen = (*(f"{prefix}.{index}." for index in range(n_layers)),)
    for name, parameter in network.encoder.named_parameters():
        if name.startswith(frozen) or (not name.startswith(f"{prefix}.") and "embed" in name):
            parameter.requires_grad_(False)


def train_mode(network: PageNetwork) -> None:
    """Switch dropout on, but for modules all of whose weights are frozen."""
    network.train()
    for module in network.encoder.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def unit_length(embeddings: Tensor) -> Tensor:
    """Return embeddings of shape (B, H) with rows of length 1."""
    found: Tensor = embeddings / embeddings.norm(dim=1, keepdim=True).clamp(min=MIN_LENGTH)
    return found


def _layers(encoder: nn.Module) -> tuple[str, nn.ModuleList]:
    expected = encoder.config.num_hidden_layers  # type: ignore[union-attr]
    for name, module in encoder.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == expected:
            return name, module
    raise ConfigError(f"The layers of {type(encoder).__name__} are not found. Set frozen_layers to 0.")


def _pool_tokens(hidden: Tensor, attention: Tensor, pooling: str) -> Tensor:
    if pooling == "first":
        return hidden[:, 0]
    weights = attention.unsqueeze(-1).to(hidden.dtype)  # (S, T, 1)
    pooled: Tensor = (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
    return pooled


def _pool_pieces(sequences: Tensor, batch: TokenBatch, pooling: str) -> Tensor:
    if len(sequences) == batch.n_pages:
        return sequences
    # Each page a row of pieces: no sum depends on the order in which a GPU adds.
    shape = (batch.n_pages, int(batch.piece.max()) + 1)
    rows = sequences.new_zeros(*shape, sequences.shape[1]).index_put((batch.page, batch.piece), sequences)  # (B, K, H)
    is_piece = torch.zeros(shape, dtype=torch.bool, device=sequences.device)
    is_piece[batch.page, batch.piece] = True
    if pooling == "max":
        return rows.masked_fill(~is_piece.unsqueeze(-1), float("-inf")).amax(dim=1)
    pooled: Tensor = rows.sum(dim=1) / is_piece.sum(dim=1, keepdim=True)
    return pooled
