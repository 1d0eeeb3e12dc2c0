"""Options of the n-gram classifier: what it reads of a text, and how it is trained."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

NgramRange = tuple[int, int]


class NgramOptions(BaseModel):
    """What the classifier reads of a text and the shape of its head.

    Attributes:
        word_ngrams: Shortest and longest word n-gram. Bigrams carry negation and names.
        char_ngrams: Shortest and longest character n-gram inside a word. They forgive spelling, inflection and scripts
            without spaces: 1 to 5 points of macro-F1 over words alone at 1,000 labels.
        n_features: Hash buckets of the word block, and as many of the character block; a power of two. At 2**20 fewer
            than one bucket in ten is shared by the n-grams of 1,000 pages.
        max_features: Buckets kept after training, those in most texts first. Bounds the weights to
            ``max_features`` x labels x 4 bytes; four times as many were no more accurate on 15,000 texts.
        max_chars: Characters read of a text. Topic and tone show early, and one page of 5 MB must not stop a run.
        hidden_units: Width of a hidden layer; 0 is a linear head, which was as accurate or better at 1,000 labels.
        embedding_dim: Width of the embedding that selection compares pages by. 128 keeps a cosine within about 0.09.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    word_ngrams: NgramRange = (1, 2)
    char_ngrams: NgramRange = (3, 5)
    n_features: int = Field(default=2**20, ge=2**8, le=2**24)
    max_features: int = Field(default=2**17, ge=1)
    max_chars: int = Field(default=10_000, ge=1)
    hidden_units: int = Field(default=0, ge=0)
    embedding_dim: int = Field(default=128, ge=2)

    @field_validator("n_features")
    @classmethod
    def _power_of_two(cls, n_features: int) -> int:
        if n_features & (n_features - 1):
            below = 2 ** (n_features.bit_length() - 1)
            raise ValueError(f"n_features must be a power of two, found {n_features}. Use {below} or {2 * below}.")
        return n_features

    @field_validator("word_ngrams", "char_ngrams")
    @classmethod
    def _ordered(cls, ngrams: NgramRange) -> NgramRange:
        if not 1 <= ngrams[0] <= ngrams[1]:
            raise ValueError(f"n-grams go from the shortest to the longest and start at 1, found {ngrams}.")
        return ngrams


class FitOptions(BaseModel):
    """How the classifier is trained: stochastic gradient descent whose rate falls to zero at ``max_epochs``.

    Adam's own rate for each weight overfits rare n-grams: it lost 3 to 8 points of macro-F1 with a linear head at 1,000
    labels. A hidden layer, which starts from noise, is trained with AdamW all the same: it needs that to move.

    Attributes:
        max_epochs: Passes over the training rows; fewer when ``patience`` runs out.
        min_epochs: The first epoch that may be kept as the best. While the rate is high the loss of a small validation
            set jumps: 5 cost up to 2 points of macro-F1 on 20 topics, 1 up to 20 on rare classes.
        patience: Epochs without a lower validation loss before training stops.
        batch_size: Rows a step.
        learning_rate: First step size of the linear head; rows of length 1 allow a large one.
        hidden_learning_rate: The same with a hidden layer.
        momentum: Nesterov momentum of the linear head.
        inverse_regularization: C of logistic regression: weight decay is 1 / (C x training rows), so that the same C
            suits any number of rows.
        class_weight: ``balanced`` lets each class count the same, which macro-F1 asks for; ``none`` counts rows.
        max_class_weight: Limit of one class's weight, in shares of an even one; above it a handful of rows would steer
            each step.
        deterministic: Refuse operations that differ from run to run; slower on a GPU, free on a CPU.
        threads: Of torch on the CPU. One gives the same weights whatever the number of cores; a second saved little on
            an idle machine, and on a busy one its waiting made training ten times slower.
        accelerator: Where to train; ``auto`` takes a GPU if there is one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_epochs: int = Field(default=15, ge=1)
    min_epochs: int = Field(default=10, ge=1)
    patience: int = Field(default=4, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=3.0, gt=0)
    hidden_learning_rate: float = Field(default=0.003, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    inverse_regularization: float = Field(default=3.0, gt=0)
    class_weight: Literal["none", "balanced"] = "balanced"
    max_class_weight: float = Field(default=10.0, ge=1)
    deterministic: bool = True
    threads: int = Field(default=1, ge=1)
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
