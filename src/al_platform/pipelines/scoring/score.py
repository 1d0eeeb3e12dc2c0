"""What becomes of a slice of pages: the same function in this process and on Spark's workers, which get it pickled."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from al_platform.catalog.row_files import RowFiles
from al_platform.catalog.traffic import Pages
from al_platform.domain.pages import page_text
from al_platform.domain.selection.diversity import list_matrix
from al_platform.domain.selection.uncertainty import SCALARS, uncertainty_scalars
from al_platform.domain.taxonomy import Taxonomy
from al_platform.domain.text import text_hash
from al_platform.models.features import embed_texts
from al_platform.models.model import Model, load_classifier
from al_platform.models.options import NgramOptions
from al_platform.schemas import PREDICTIONS, conform

Numbers = NDArray[np.int64]
Columns = dict[str, pa.Array | pa.ChunkedArray]


class Score(Protocol):
    """Gives pages the columns that a model has to say about them."""

    def __call__(self, numbers: Numbers, pages: pa.Table, texts: list[str]) -> Columns:
        """Return columns of ``schemas.PREDICTIONS``.

        Args:
            numbers: The pages' numbers in the month, rising.
            pages: ``schemas.PAGES``.
            texts: What a model reads of each.
        """
        ...


@dataclass(frozen=True)
class ScoreSlice:
    """Scores the pages of a slice, those left out whose id an earlier page has.

    Attributes:
        pages: The month's.
        repeats: Numbers of the pages that are left out, rising.
        score: What the rest are given.
    """

    pages: Pages
    repeats: Numbers
    score: Score

    def __call__(self, start: int, stop: int) -> pa.Table:
        """Return ``schemas.PREDICTIONS`` of the pages from number ``start`` up to ``stop`` that can be scored."""
        is_first = ~np.isin(np.arange(start, stop), self.repeats)
        pages = self.pages.rows(start, stop).filter(pa.array(is_first))
        shown = zip(pages["title"].to_pylist(), pages["text"].to_pylist(), strict=True)
        texts = [page_text(title, text) for title, text in shown]
        columns = {
            "page_id": pages["page_id"],
            "domain": pages["domain"],
            "text_hash": pa.array([text_hash(text) for text in texts], pa.string()),
            **self.score(start + np.flatnonzero(is_first), pages, texts),
        }
        scored = conform(pa.table(columns), PREDICTIONS, "predictions").select(PREDICTIONS.names)
        return scored.filter(pc.or_(pc.is_valid(scored["probabilities"]), pc.is_valid(scored["embedding"])))


@dataclass(frozen=True)
class FeaturesOnly:
    """Embeddings without predictions: there is no champion yet."""

    options: NgramOptions

    def __call__(self, numbers: Numbers, pages: pa.Table, texts: list[str]) -> Columns:
        return {"embedding": _lists(embed_texts(texts, self.options))}


@dataclass(frozen=True)
class ByChampion:
    """What the champion says. Pickled, it is the place of its files: a worker loads it once."""

    model: Model

    def __call__(self, numbers: Numbers, pages: pa.Table, texts: list[str]) -> Columns:
        config = self.model.classifier.config
        scores = self.model.classifier.score(texts)
        scalars = uncertainty_scalars(
            scores.probabilities,
            pages["page_id"].to_pylist(),
            is_multi=config.taxonomy.is_multi,
            thresholds=config.thresholds if config.taxonomy.is_multi else None,
        )
        return {
            "model_digest": pa.array([self.model.digest] * len(texts), pa.string()),
            "probabilities": _lists(scores.probabilities),
            "embedding": _lists(scores.embeddings),
            **{name: scalars[name] for name in SCALARS},
        }

    def __reduce__(self) -> tuple[Callable[..., "ByChampion"], tuple[Path, str]]:
        assert self.model.folder is not None, "a champion comes from a store"
        return _champion_in, (self.model.folder, self.model.digest)


@lru_cache(maxsize=1)
def _champion_in(folder: Path, digest: str) -> ByChampion:
    return ByChampion(Model(digest, load_classifier(folder), folder=folder))


@dataclass(frozen=True)
class FromLog:
    """What the model of somebody else's said, and the scalars that its log lacks.

    Attributes:
        log: A row for each page of the month, in their order; nulls where the log has none.
        taxonomy: The family's labels.
    """

    log: RowFiles
    taxonomy: Taxonomy

    def __call__(self, numbers: Numbers, pages: pa.Table, texts: list[str]) -> Columns:
        if not len(numbers):
            return {}
        start = int(numbers[0])
        rows = self.log.rows(start, int(numbers[-1]) + 1).take(pa.array(numbers - start))
        log = conform(rows, PREDICTIONS, "imported predictions")
        is_known = log["probabilities"].is_valid()
        known = log.filter(is_known)
        matrix = list_matrix(known["probabilities"]).reshape(-1, len(self.taxonomy.labels))
        scalars = uncertainty_scalars(matrix, known["page_id"].to_pylist(), is_multi=self.taxonomy.is_multi)
        place = pc.subtract(pc.if_else(is_known, pc.cumulative_sum(is_known.cast(pa.int64())), None), 1)
        kept = {name: log[name] for name in ("model_digest", "probabilities", "embedding")}
        return {**kept, **{name: scalars[name].take(place) for name in SCALARS}}


def _lists(matrix: np.ndarray[Any, Any]) -> pa.Array:
    offsets = pa.array(np.arange(len(matrix) + 1) * matrix.shape[1], pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(matrix.ravel()))
