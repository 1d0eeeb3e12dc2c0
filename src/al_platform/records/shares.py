"""How many pages of a month a model gives each label: counted where the predictions lie, and kept by their digest."""

import json
import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from al_platform.domain.taxonomy import Taxonomy
from al_platform.storage.commit_log import Output, to_json
from al_platform.storage.store import Store

_BATCH_ROWS = 1 << 16
_THRESHOLD = 0.5  # where no model says another one, as with an imported log


class ClassCounts(BaseModel):
    """How many of ``pages`` have each label."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pages: int
    counts: dict[str, int]

    @property
    def shares(self) -> dict[str, float]:
        """The share of pages that have each label."""
        return {label: count / self.pages for label, count in self.counts.items()} if self.pages else {}


class Drift(NamedTuple):
    """How far a month's predictions are from the pages that the model was trained on.

    Attributes:
        predicted: Share of the month's pages by label.
        trained: Share of the training pages by label.
        trained_in: Cycle whose data set that was.
        pages: Scored in the month.
    """

    predicted: Mapping[str, float]
    trained: Mapping[str, float]
    trained_in: str
    pages: int

    @property
    def moves(self) -> dict[str, float]:
        """Predicted minus trained share of each label, the largest distance first."""
        moves = {label: share - self.trained.get(label, 0.0) for label, share in self.predicted.items()}
        return dict(sorted(moves.items(), key=lambda move: (-abs(move[1]), move[0])))

    @property
    def largest(self) -> tuple[str, float]:
        """The label that moved most, and how far."""
        return next(iter(self.moves.items()))


def shares_folder() -> Path:
    """Return where this user's counts are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "al-platform" / "shares"


def predicted_counts(
    store: Store, predictions: Sequence[Output], taxonomy: Taxonomy, thresholds: Sequence[float], cache: Path
) -> ClassCounts:
    """Return how many pages of a month get each label.

    Args:
        store: Of the data sets.
        predictions: Files committed by scoring. Their digests are not checked: ``kedro al doctor`` does that.
        taxonomy: The family's labels, in the order of the probabilities.
        thresholds: Of each label, where a page may have several.
        cache: Folder of what was counted before: what is committed never changes.
    """
    rules = {"labels": list(taxonomy.labels), "task": taxonomy.task, "thresholds": list(thresholds)}
    digests = "".join(output.sha256 for output in predictions)
    file = cache / f"{sha256(digests.encode() + to_json(rules)).hexdigest()}.json"
    if (kept := _kept(file)) is not None:
        return kept
    counted = _counted([store.local(output.path) for output in predictions], taxonomy, thresholds)
    cache.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f"{file.name}.{uuid4().hex}")
    temporary.write_bytes(to_json(counted))
    temporary.replace(file)
    return counted


def thresholds_of(models: Store, family: str, digest: str | None, taxonomy: Taxonomy) -> list[float]:
    """Return from which probability on a model gives each label; a half where the store has no such model."""
    try:
        config = models.read(f"{family}/by_digest/{digest}/config.json")
    except FileNotFoundError:
        return [_THRESHOLD] * len(taxonomy.labels)
    thresholds: list[float] = json.loads(config)["thresholds"]
    return thresholds


def _kept(file: Path) -> ClassCounts | None:
    try:
        return ClassCounts.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None


def _counted(files: Sequence[Path], taxonomy: Taxonomy, thresholds: Sequence[float]) -> ClassCounts:
    decided = np.zeros(len(taxonomy.labels), dtype=np.int64)
    pages = 0
    batches = (pq.ParquetFile(file).iter_batches(_BATCH_ROWS, columns=["probabilities"]) for file in files)
    for batch in chain.from_iterable(batches):
        flat = batch.column(0).drop_null().flatten().to_numpy()
        probabilities = flat.reshape(-1, len(taxonomy.labels))  # (N, C)
        decided += _decided(probabilities, taxonomy, thresholds)
        pages += len(probabilities)
    return ClassCounts(pages=pages, counts=dict(zip(taxonomy.labels, decided.tolist(), strict=True)))


def _decided(probabilities: NDArray[np.float32], taxonomy: Taxonomy, thresholds: Sequence[float]) -> NDArray[np.int64]:
    """Return how many rows are given each label, as ``models.classifier`` decides."""
    if taxonomy.is_multi:
        return np.asarray((probabilities >= np.array(thresholds)).sum(axis=0), dtype=np.int64)
    return np.bincount(probabilities.argmax(axis=1), minlength=len(taxonomy.labels))
