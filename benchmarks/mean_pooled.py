"""Our network as a model of transformers: what its own Trainer and pipeline need to do the very same work."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModel, BertConfig, BertPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class MeanPooledClassifier(BertPreTrainedModel):
    """An encoder, the mean over its tokens, dropout and a linear head."""

    def __init__(self, config: BertConfig, encoder: Path) -> None:
        super().__init__(config)
        self.bert = AutoModel.from_pretrained(encoder, config=config, add_pooling_layer=False)
        self.dropout = torch.nn.Dropout(config.classifier_dropout)
        self.head = torch.nn.Linear(config.hidden_size, config.num_labels)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None, **_: Any
    ) -> SequenceClassifierOutput:
        """Return logits of shape (B, C), with the cross-entropy where labels are given."""
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, T, H)
        mask = attention_mask.unsqueeze(-1)
        logits = self.head(self.dropout((hidden * mask).sum(dim=1) / mask.sum(dim=1)))
        loss = None if labels is None else torch.nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


def mean_pooled(
    encoder: Path, head: tuple[NDArray[np.float32], NDArray[np.float32]], dropout: float
) -> MeanPooledClassifier:
    """Return the published encoder with a head.

    Args:
        encoder: Its folder.
        head: Weights of shape (C, H) and bias of shape (C,).
        dropout: Before the head; the encoder keeps its own.
    """
    config = BertConfig.from_pretrained(encoder, num_labels=len(head[1]), classifier_dropout=dropout)
    model = MeanPooledClassifier(config, encoder)
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(head[0]))
        model.head.bias.copy_(torch.from_numpy(head[1]))
    return model
