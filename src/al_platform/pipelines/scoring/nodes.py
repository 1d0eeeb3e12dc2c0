"""Nodes of scoring."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from al_platform.catalog.formats import Expression
from al_platform.catalog.traffic import Pages
from al_platform.domain.errors import InputError
from al_platform.domain.pages import page_text
from al_platform.domain.selection.uncertainty import SCALARS, uncertainty_scalars
from al_platform.domain.taxonomy import Taxonomy
from al_platform.domain.text import text_hash
from al_platform.models.features import embed_texts
from al_platform.models.model import Model, ModelOptions
from al_platform.pipelines.scoring.options import ScoringOptions
from al_platform.progress import progress
from al_platform.schemas import PREDICTIONS, conform

Score = Callable[[pa.Table, list[str]], dict[str, pa.Array]]


def score_pages(
    pages: Pages,
    champion: Model | None,
    imported: pa.Table | None,
    taxonomy: Taxonomy,
    model: ModelOptions,
    options: ScoringOptions,
) -> pa.RecordBatchReader:
    """Score every page of the cycle, in batches.

    Args:
        pages: The month's pages. Of pages with the same id the first counts.
        champion: The model in use; None before the first: then only features are written.
        imported: The log of a production model of somebody else's; takes the champion's place.
        taxonomy: The family's labels.
        model: How texts become features before the first champion.
        options: Size of a batch.

    Returns:
        One row a page; see ``schemas.PREDICTIONS``. Pages that an imported log lacks are left out.

    Raises:
        InputError: A probability is no number between 0 and 1.
    """
    score: Score
    if imported is not None:
        score = _from_log(imported, taxonomy)
    elif champion is not None:
        score = _from_champion(champion)
    else:
        score = _features_only(model)
    return pa.RecordBatchReader.from_batches(PREDICTIONS, _scored(pages, score, options.batch_pages))


def report_scoring(
    predictions: Expression, pages: Pages, champion: Model | None, imported: pa.Table | None
) -> dict[str, Any]:
    """Count what was scored, and say by whom.

    Raises:
        InputError: No prediction of an imported log is about a page of this month.
    """
    pool = predictions.count().to_pyarrow().as_py()
    if imported is not None and not pool:
        raise InputError(
            f"None of the {imported.num_rows} imported predictions is about one of the {len(pages)} pages of this "
            f"month. Import pages and predictions with the same --id, or for the same --cycle."
        )
    digests = predictions.select("model_digest").distinct().to_pyarrow().column(0).to_pylist()
    return {
        "pages": len(pages),
        "pool": pool,
        "duplicate_or_unscored_pages": len(pages) - pool,
        "scored_by": "imported log" if imported is not None else "champion" if champion else "nobody yet",
        "model_digests": sorted(digest for digest in digests if digest),
    }


def _scored(pages: Pages, score: Score, batch_pages: int) -> Iterator[pa.RecordBatch]:
    seen: set[str] = set()
    for rows in progress(pages.batches(batch_pages), total=len(pages), what="scoring pages"):
        is_new = [not (page_id in seen or seen.add(page_id)) for page_id in rows["page_id"].to_pylist()]  # type: ignore[func-returns-value]
        fresh = rows.filter(pa.array(is_new, pa.bool_()))
        texts = [page_text(*pair) for pair in zip(fresh["title"].to_pylist(), fresh["text"].to_pylist(), strict=True)]
        hashes = pa.array([text_hash(text) for text in texts], pa.string())
        columns = {"page_id": fresh["page_id"], "domain": fresh["domain"], "text_hash": hashes, **score(fresh, texts)}
        scored = conform(pa.table(columns), PREDICTIONS, "predictions").select(PREDICTIONS.names)
        is_scored = pc.or_(pc.is_valid(scored["probabilities"]), pc.is_valid(scored["embedding"]))
        yield from scored.filter(is_scored).combine_chunks().to_batches()


def _features_only(model: ModelOptions) -> Score:
    def score(_: pa.Table, texts: list[str]) -> dict[str, pa.Array]:
        return {"embedding": _lists(embed_texts(texts, model.ngram))}

    return score


def _from_champion(champion: Model) -> Score:
    config = champion.classifier.config

    def score(rows: pa.Table, texts: list[str]) -> dict[str, pa.Array]:
        scores = champion.classifier.score(texts)
        scalars = uncertainty_scalars(
            scores.probabilities,
            rows["page_id"].to_pylist(),
            is_multi=config.taxonomy.is_multi,
            thresholds=config.thresholds if config.taxonomy.is_multi else None,
        )
        return {
            "model_digest": pa.array([champion.digest] * len(texts), pa.string()),
            "probabilities": _lists(scores.probabilities),
            "embedding": _lists(scores.embeddings),
            **{name: scalars.column(name) for name in SCALARS},
        }

    return score


def _from_log(imported: pa.Table, taxonomy: Taxonomy) -> Score:
    log = conform(imported, PREDICTIONS, "imported predictions")
    row_of = {page_id: row for row, page_id in enumerate(log["page_id"].to_pylist())}

    def score(rows: pa.Table, texts: list[str]) -> dict[str, pa.Array]:
        matches = log.take(pa.array([row_of.get(page_id) for page_id in rows["page_id"].to_pylist()], pa.int64()))
        is_known = matches["probabilities"].is_valid()
        known = matches.filter(is_known)
        matrix = np.array(known["probabilities"].to_pylist(), dtype=np.float32).reshape(-1, len(taxonomy.labels))
        scalars = uncertainty_scalars(matrix, known["page_id"].to_pylist(), is_multi=taxonomy.is_multi)
        position = pc.if_else(is_known, pc.cumulative_sum(is_known.cast(pa.int64())), None)
        place = pc.subtract(position, 1)
        computed = {name: scalars.column(name).take(place) for name in SCALARS}
        kept = {name: matches.column(name) for name in ("model_digest", "probabilities", "embedding")}
        return {**kept, **computed}

    return score


def _lists(matrix: np.ndarray[Any, Any]) -> pa.Array:
    offsets = pa.array(np.arange(len(matrix) + 1) * matrix.shape[1], pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(matrix.ravel()))
