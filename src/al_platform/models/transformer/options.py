"""Options of the transformer: which encoder, what it reads of a text, and how it is fine-tuned."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

STORED = "store:"


class TransformerOptions(BaseModel):
    """Which encoder, and how a page becomes its input.

    Attributes:
        name: A local folder, ``store:NAME`` for the folder ``encoders/NAME`` below the root of models, or an id of the
            Hugging Face hub.
        revision: Of a hub id: a commit, so that the same weights are read each time.
        allow_download: Whether a hub id may be downloaded; otherwise only the local Hugging Face cache is read.
        max_tokens: Of one sequence, special tokens included. Time and memory grow faster than in proportion.
        long_text: What is read of a longer page: its beginning (``truncate``); beginning and end (``head_tail``, Sun et
            al. 2019); or all of it in pieces whose embeddings are pooled (``chunks``).
        head_share: Of ``head_tail``: the share of tokens from the beginning; a quarter was best in Sun et al. 2019.
        max_chunks: Of ``chunks``: the most pieces of a page; what is beyond is not read.
        chunk_overlap: Of ``chunks``: tokens that a piece shares with the one before, so that no sentence is only cut.
        chunk_pooling: Of ``chunks``: ``mean`` where the whole page decides, ``max`` where one passage does.
        pooling: A sequence's embedding: the ``mean`` over its tokens, or that of its first token (``first``).
        max_chars: Characters read of a text, half of them from its end where that is read: one page of 5 MB must not
            stop a run.
        dropout: Before the head.
        frozen_layers: Lower layers, and the token embeddings below them, that keep the weights they start from: half
            of them frozen trains about twice as fast. 0 trains everything.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "sentence-transformers/all-MiniLM-L6-v2"
    revision: str | None = None
    allow_download: bool = False
    max_tokens: int = Field(default=256, ge=4)
    long_text: Literal["truncate", "head_tail", "chunks"] = "truncate"
    head_share: float = Field(default=0.25, gt=0, lt=1)
    max_chunks: int = Field(default=8, ge=1)
    chunk_overlap: int = Field(default=32, ge=0)
    chunk_pooling: Literal["mean", "max"] = "mean"
    pooling: Literal["mean", "first"] = "mean"
    max_chars: int = Field(default=40_000, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    frozen_layers: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _pieces_move_on(self) -> Self:
        if self.long_text == "chunks" and self.chunk_overlap > self.max_tokens // 2:
            raise ValueError(
                f"chunk_overlap {self.chunk_overlap} is more than half of max_tokens {self.max_tokens}. Lower it."
            )
        return self


class TransformerFitOptions(BaseModel):
    """How the transformer is fine-tuned: AdamW, a linear warm-up and a linear fall to zero.

    Attributes:
        start_from: ``base``: the encoder as it was published; ``champion``: the weights in use, where labels and
            encoder are still the same. Warm starts are cheaper, but generalise worse (Ash and Adams 2020).
        max_epochs: Passes over the training pages; fewer when ``patience`` runs out.
        min_epochs: The first epoch that may be kept as the best.
        patience: Epochs without a lower validation loss before training stops.
        batch_size: Pages a step, over all devices together.
        micro_batch_size: Pages that one device reads at a time; gradients add up to those of ``batch_size``. None reads
            a step at once. Where memory runs out it is halved by itself.
        learning_rate: Peak, of the encoder.
        head_learning_rate: Peak, of the new head, which starts from noise.
        warmup_share: Share of all steps in which the rate rises.
        weight_decay: Of AdamW; not of biases and norms.
        max_gradient_norm: Longer gradients are shortened to it.
        loss: ``cross_entropy``, or ``focal``, which counts what is right already for less (Lin et al. 2017).
        focal_gamma: Of the focal loss; 0 is cross-entropy.
        class_weight: ``balanced`` lets each class count the same; ``none`` counts pages.
        max_class_weight: Limit of one class's weight, in shares of an even one.
        accelerator: Where to train; ``auto`` takes GPUs if there are any.
        devices: How many; ``auto`` takes every GPU, or one CPU process.
        precision: ``auto`` is bfloat16 where the GPU has it, ``float32`` elsewhere.
        threads: Of torch on the CPU; None leaves torch's choice. Other numbers may give other last digits.
        deterministic: Prefer operations that give the same result each time; slower on a GPU, free on a CPU.
        checkpoint_steps: Steps between two checkpoints; the end of an epoch is one too.
        store_checkpoints: Whether checkpoints are copied to the store, to outlive the machine.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    start_from: Literal["base", "champion"] = "base"
    max_epochs: int = Field(default=4, ge=1)
    min_epochs: int = Field(default=1, ge=1)
    patience: int = Field(default=2, ge=1)
    batch_size: int = Field(default=32, ge=1)
    micro_batch_size: int | None = Field(default=None, ge=1)
    learning_rate: float = Field(default=5e-5, gt=0)
    head_learning_rate: float = Field(default=1e-3, gt=0)
    warmup_share: float = Field(default=0.1, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)
    max_gradient_norm: float = Field(default=1.0, gt=0)
    loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    focal_gamma: float = Field(default=2.0, ge=0)
    class_weight: Literal["none", "balanced"] = "balanced"
    max_class_weight: float = Field(default=10.0, ge=1)
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: Literal["auto"] | int = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: int | None = Field(default=None, ge=1)
    deterministic: bool = True
    checkpoint_steps: int = Field(default=500, ge=1)
    store_checkpoints: bool = True

    @model_validator(mode="after")
    def _some_device(self) -> Self:
        if self.devices != "auto" and self.devices < 1:
            raise ValueError(f"devices is 'auto' or at least 1, found {self.devices}.")
        return self
