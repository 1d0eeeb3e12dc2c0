"""A model as the loop passes it around: a classifier and the digest that names it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from al_platform.domain.errors import StoreError, known_names
from al_platform.models.classifier import CONFIG_FILE, Classifier, NgramClassifier, read_json
from al_platform.models.options import NgramOptions
from al_platform.models.transformer.options import TransformerOptions

TRAINING_RECORD = "training.json"


class ModelOptions(BaseModel):
    """Which model a family trains.

    Attributes:
        encoder: ``ngram``: hashed words and characters, trained from nothing on a CPU in seconds. ``transformer``: a
            fine-tuned encoder, beside which the n-gram model is trained too, as the simpler model it must beat.
        ngram: Features and head of the n-gram model; before the first champion also how pages become features.
        transformer: Encoder of the transformer and what it reads of a page.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: Literal["ngram", "transformer"] = "ngram"
    ngram: NgramOptions = NgramOptions()
    transformer: TransformerOptions = TransformerOptions()


@dataclass(frozen=True)
class TrainedModel:
    """A classifier fresh from training, with the record of how it came about.

    Attributes:
        simpler: The n-gram model trained on the same pages, where the classifier is no n-gram model itself.
    """

    classifier: Classifier
    record: Mapping[str, Any] = field(default_factory=dict)
    simpler: "TrainedModel | None" = None


@dataclass(frozen=True)
class Model:
    """A stored classifier; ``digest`` names its files, ``record`` (``training.json``) is not part of it.

    Attributes:
        simpler: The n-gram model trained beside it, where this is a challenger that has one.
        folder: Where its files lie on this machine, or on a disk that others see too; None: nowhere.
    """

    digest: str
    classifier: Classifier
    simpler: "Model | None" = None
    folder: Path | None = field(default=None, compare=False)


def load_classifier(directory: Path) -> Classifier:
    """Return the classifier in ``directory``, of the kind that its ``config.json`` names.

    Raises:
        StoreError: A file is missing, damaged or of a kind or format that this release does not know.
    """
    found = read_json(directory / CONFIG_FILE)
    kind = found.get("kind") if isinstance(found, dict) else None
    if kind == "ngram":
        return NgramClassifier.load(directory)
    if kind == "transformer":
        # Imported here: an n-gram champion is scored without what the transformer needs.
        from al_platform.models.transformer.classifier import TransformerClassifier

        return TransformerClassifier.load(directory)
    raise StoreError(
        f"{directory / CONFIG_FILE} is of kind {kind!r}. {known_names(str(kind), ['ngram', 'transformer'])}"
    )


def directory_digest(directory: Path) -> str:
    """Return the SHA-256 over names and contents of a model's files, all but its training record."""
    digest = sha256()
    for file in sorted(directory.iterdir()):
        # A run that was killed while it wrote leaves a file whose name begins with a dot.
        if file.name != TRAINING_RECORD and not file.name.startswith("."):
            content = file.read_bytes()
            digest.update(f"{file.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
