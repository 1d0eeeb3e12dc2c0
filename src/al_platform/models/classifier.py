"""What a trained classifier is, and the n-gram one, which scores with numpy and scipy alone. None is a pickle."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, Self, TypeVar

import numpy as np
import safetensors.numpy
import scipy  # its submodules are loaded when they are used
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError

from al_platform.domain.errors import StoreError
from al_platform.domain.taxonomy import Taxonomy
from al_platform.models.calibration import probabilities_of
from al_platform.models.features import chunks, count_ngrams, project, projection, tfidf
from al_platform.models.options import NgramOptions

FORMAT_VERSION = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

_Config = TypeVar("_Config", bound="ClassifierConfig")


class ClassifierConfig(BaseModel):
    """What every kind of classifier keeps beside its tensors.

    Attributes:
        format_version: Of the files; another version is refused.
        kind: What kind of model reads the tensors.
        taxonomy: Labels, in the order of the probabilities.
        thresholds: For each label the probability from which it is given; unused when single-label.
        temperature: What logits are divided by.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: Literal[1] = 1
    kind: str
    taxonomy: Taxonomy
    thresholds: tuple[float, ...]
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _threshold_for_each_label(self) -> Self:
        if len(self.thresholds) != len(self.taxonomy.labels):
            raise ValueError(f"{len(self.taxonomy.labels)} labels need as many thresholds, found {self.thresholds}.")
        return self

    def decide(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return the labels given at ``probabilities`` of shape (N, C), as an indicator matrix of the same shape."""
        if self.taxonomy.is_multi:
            return np.asarray(probabilities >= np.array(self.thresholds))
        likeliest = np.argmax(probabilities, axis=1)  # (N,)
        return np.asarray(np.arange(probabilities.shape[1]) == likeliest[:, None])


class NgramConfig(ClassifierConfig):
    """All of an n-gram classifier but its tensors.

    Attributes:
        ngram: What is read of a text.
    """

    kind: Literal["ngram"] = "ngram"
    ngram: NgramOptions


@dataclass(frozen=True)
class Scores:
    """What a classifier says about N texts.

    Attributes:
        probabilities: float32 of shape (N, C), finite; rows sum to 1 when single-label.
        embeddings: float16 of shape (N, E), rows of length 1; zeros where an n-gram model knows no n-gram of a text.
    """

    probabilities: NDArray[np.float32]
    embeddings: NDArray[np.float16]


class Classifier(Protocol):
    """A trained classifier of any kind."""

    @property
    def config(self) -> ClassifierConfig:
        """Taxonomy, thresholds, temperature, and what its kind adds."""
        ...

    @property
    def tensors(self) -> Mapping[str, NDArray[Any]]:
        """The weights by name."""
        ...

    def score(self, texts: Sequence[str]) -> Scores:
        """Return probabilities and embeddings of ``texts``."""
        ...

    def decide(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return the labels given at ``probabilities`` of shape (N, C), as an indicator matrix of the same shape."""
        ...

    def save(self, directory: Path) -> None:
        """Write the model into ``directory``; equal models give equal bytes."""
        ...


@dataclass(frozen=True)
class NgramClassifier:
    """A trained n-gram classifier.

    Attributes:
        config: Taxonomy, features, thresholds and temperature.
        tensors: ``feature_ids`` int64 (F,), ``idf`` (F,), ``weight`` (F, C) and ``bias`` (C,), all float32; with a
            hidden layer of H units ``weight`` is (F, H), ``bias`` (H,), and ``head_weight`` (H, C), ``head_bias`` (C,)
            follow.
    """

    config: NgramConfig
    tensors: Mapping[str, NDArray[Any]]

    def score(self, texts: Sequence[str]) -> Scores:
        """Return probabilities and embeddings of ``texts``, reading a bounded number of them at a time."""
        matrix = projection(self.tensors["feature_ids"], self.config.ngram.embedding_dim)
        probabilities = [np.zeros((0, len(self.config.taxonomy.labels)), dtype=np.float32)]
        embeddings = [np.zeros((0, self.config.ngram.embedding_dim), dtype=np.float16)]
        for chunk in chunks(texts):
            features = self.features(chunk)
            probabilities.append(self._probabilities(features))
            embeddings.append(project(features, matrix))
        return Scores(np.concatenate(probabilities), np.concatenate(embeddings))

    def features(self, texts: Sequence[str]) -> "scipy.sparse.csr_matrix":
        """Return the TF-IDF features of ``texts``, float32 of shape (N, F)."""
        counts = count_ngrams(texts, self.config.ngram)
        return tfidf(counts, self.tensors["feature_ids"], self.tensors["idf"])

    def logits(self, features: "scipy.sparse.csr_matrix") -> NDArray[np.float32]:
        """Return the logits, before the temperature, of features of shape (N, F): shape (N, C)."""
        output = features @ self.tensors["weight"] + self.tensors["bias"]
        if self.config.ngram.hidden_units:
            output = np.maximum(output, 0) @ self.tensors["head_weight"] + self.tensors["head_bias"]
        return np.asarray(output, dtype=np.float32)

    def decide(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return the labels given at ``probabilities`` of shape (N, C), as an indicator matrix of the same shape."""
        return self.config.decide(probabilities)

    def save(self, directory: Path) -> None:
        """Write the model into ``directory``; equal models give equal bytes."""
        write_config(self.config, directory)
        write_tensors(self.tensors, directory)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Return the model that ``save`` wrote into ``directory``.

        Raises:
            StoreError: A file is missing, damaged or of a format that this release does not know.
        """
        config = read_config(directory, NgramConfig)
        tensors = read_tensors(directory / WEIGHTS_FILE)
        _check_shapes(tensors, config, directory)
        return cls(config, tensors)

    def _probabilities(self, features: "scipy.sparse.csr_matrix") -> NDArray[np.float32]:
        return probabilities_of(self.logits(features), self.config.temperature, self.config.taxonomy.is_multi)


def expected_shapes(n_features: int, n_labels: int, hidden_units: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a model."""
    width = hidden_units or n_labels
    shapes: dict[str, tuple[int, ...]] = {
        "feature_ids": (n_features,),
        "idf": (n_features,),
        "weight": (n_features, width),
        "bias": (width,),
    }
    if hidden_units:
        shapes |= {"head_weight": (hidden_units, n_labels), "head_bias": (n_labels,)}
    return shapes


def write_config(config: ClassifierConfig, directory: Path) -> None:
    """Write a classifier's configuration into ``directory``, made if it is not there."""
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(config.model_dump(mode="json"), indent=2, sort_keys=True, ensure_ascii=False)
    (directory / CONFIG_FILE).write_text(f"{text}\n", encoding="utf-8", newline="\n")


def write_tensors(tensors: Mapping[str, NDArray[Any]], directory: Path) -> None:
    """Write a classifier's tensors into ``directory``."""
    ordered = {name: np.ascontiguousarray(tensor) for name, tensor in sorted(tensors.items())}
    (directory / WEIGHTS_FILE).write_bytes(safetensors.numpy.save(ordered))


def read_file(path: Path) -> bytes:
    """Return the content of a model's file.

    Raises:
        StoreError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(
            f"Asked to load a model but cannot read {path}: {error.strerror}. Restore the file or train again."
        ) from error


def read_json(path: Path) -> Any:
    """Return the JSON document in a model's file.

    Raises:
        StoreError: It is missing or damaged.
    """
    try:
        return json.loads(read_file(path))
    except ValueError as error:
        raise StoreError(f"{path} is not JSON ({error}): damaged. Restore the file or train again.") from error


def read_config(directory: Path, kind: type[_Config]) -> _Config:
    """Return the configuration in ``directory``.

    Raises:
        StoreError: It is missing, damaged, or not one of this kind and format.
    """
    path = directory / CONFIG_FILE
    found = read_json(path)
    version = found.get("format_version") if isinstance(found, dict) else None
    if version != FORMAT_VERSION:
        raise StoreError(
            f"{path} has model format {version!r}; this release reads {FORMAT_VERSION}. "
            f"Use the release that wrote the model, or train again."
        )
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        raise StoreError(f"{path} does not describe the classifier that it should: {error}") from error


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors in a safetensors file.

    Raises:
        StoreError: It is missing or damaged.
    """
    try:
        return safetensors.numpy.load(read_file(path))
    except (SafetensorError, ValueError) as error:
        raise StoreError(f"{path} is damaged ({error}). Restore the file or train again.") from error


def _check_shapes(tensors: Mapping[str, NDArray[Any]], config: NgramConfig, directory: Path) -> None:
    found = {name: tensor.shape for name, tensor in tensors.items()}
    n_features = len(tensors.get("feature_ids", ()))
    expected = expected_shapes(n_features, len(config.taxonomy.labels), config.ngram.hidden_units)
    if found != expected:
        raise StoreError(
            f"{directory / WEIGHTS_FILE} does not fit {CONFIG_FILE}: expected the tensors {expected}, found {found}. "
            f"Restore the folder or train again."
        )
    feature_ids = tensors["feature_ids"]
    if n_features and (feature_ids[0] < 0 or feature_ids[-1] >= 2 * config.ngram.n_features):
        raise StoreError(
            f"{directory / WEIGHTS_FILE} names the n-gram buckets {feature_ids[0]} to {feature_ids[-1]}, but "
            f"{CONFIG_FILE} has {2 * config.ngram.n_features}. Restore the folder or train again."
        )
