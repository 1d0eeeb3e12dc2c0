"""A model as the loop passes it around: a classifier and the digest that names it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from al_platform.models.classifier import Classifier
from al_platform.models.options import NgramOptions

TRAINING_RECORD = "training.json"


class ModelOptions(BaseModel):
    """Which model a family trains.

    Attributes:
        encoder: ``ngram``: hashed words and characters, trained from nothing on a CPU in seconds.
        ngram: Its features and head.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: Literal["ngram"] = "ngram"
    ngram: NgramOptions = NgramOptions()


@dataclass(frozen=True)
class TrainedModel:
    """A classifier fresh from training, with the record of how it came about."""

    classifier: Classifier
    record: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """A stored classifier; ``digest`` names its files, ``record`` (``training.json``) is not part of it."""

    digest: str
    classifier: Classifier


def directory_digest(directory: Path) -> str:
    """Return the SHA-256 over names and contents of a model's files, all but its training record."""
    digest = sha256()
    for file in sorted(directory.iterdir()):
        # A run that was killed while it wrote leaves a file whose name begins with a dot.
        if file.name != TRAINING_RECORD and not file.name.startswith("."):
            content = file.read_bytes()
            digest.update(f"{file.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
