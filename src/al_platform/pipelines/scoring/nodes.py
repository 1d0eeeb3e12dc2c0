"""Nodes of scoring."""

from typing import Any

from al_platform.catalog.engines import DuckDBEngine
from al_platform.catalog.formats import Expression
from al_platform.catalog.partitions import TableInParts
from al_platform.catalog.traffic import ImportedLog, Pages
from al_platform.domain.errors import InputError
from al_platform.domain.taxonomy import Taxonomy
from al_platform.models.model import Model, ModelOptions
from al_platform.pipelines.scoring.options import ScoringOptions
from al_platform.pipelines.scoring.score import ByChampion, FeaturesOnly, FromLog, Score, ScoreSlice
from al_platform.schemas import PREDICTIONS

# Raise it when the same pages and model come out otherwise than before: what was scored by then is not used again.
RULES = 2
# The closest calls lie together, so that selection reads the embeddings of few rows beside the shortlist's.
CLOSEST_FIRST = ("margin", "threshold_distance", "page_id")


def score_pages(
    pages: Pages,
    champion: Model | None,
    imported: ImportedLog | None,
    taxonomy: Taxonomy,
    model: ModelOptions,
    options: ScoringOptions,
) -> TableInParts:
    """Score every page of the cycle, slice by slice, on the engine of the pages.

    Args:
        pages: The month's pages. Of pages with the same id the first counts.
        champion: The model in use; None before the first: then only features are written.
        imported: The log of a production model of somebody else's; takes the champion's place. It is joined on this
            machine, in files.
        taxonomy: The family's labels.
        model: How texts become features before the first champion.
        options: Sizes of parts and slices.

    Returns:
        One row a page, the closest calls of a part first; see ``schemas.PREDICTIONS``. Pages that an imported log lacks
        are left out.

    Raises:
        InputError: A probability is no number between 0 and 1.
    """
    score: Score
    engine, scored_by = pages.engine, champion.digest if champion else None
    if imported is not None:
        score, engine = FromLog(imported.aligned_with(pages, "page_id", PREDICTIONS.names), taxonomy), DuckDBEngine()
        scored_by = imported.digest
    elif champion is not None:
        score = ByChampion(champion)
    else:
        score = FeaturesOnly(model.ngram)
    return TableInParts(
        on_slice=ScoreSlice(pages, pages.repeats("page_id"), score),
        rows=len(pages),
        part_rows=options.part_pages,
        slice_rows=options.batch_pages,
        schema=PREDICTIONS,
        engine=engine,
        basis={
            "rules": RULES,
            "pages": pages.digest,
            "scored_by": scored_by,
            "taxonomy": taxonomy.model_dump(mode="json"),
            "features": model.ngram.model_dump(mode="json"),
        },
        what="scoring pages",
        sorted_by=CLOSEST_FIRST,
    )


def report_scoring(
    predictions: Expression, pages: Pages, champion: Model | None, imported: ImportedLog | None
) -> dict[str, Any]:
    """Count what was scored, and say by whom.

    Raises:
        InputError: No prediction of an imported log is about a page of this month.
    """
    from al_platform.domain.selection.engine import to_arrow  # Ibis takes a third of a second to import

    by_digest = to_arrow(predictions.group_by("model_digest").aggregate(pages=predictions.count())).to_pylist()
    pool = sum(row["pages"] for row in by_digest)
    if imported is not None and not pool:
        raise InputError(
            f"None of the {len(imported)} imported predictions is about one of the {len(pages)} pages of this "
            f"month. Import pages and predictions with the same --id, or for the same --cycle."
        )
    return {
        "pages": len(pages),
        "pool": pool,
        "duplicate_or_unscored_pages": len(pages) - pool,
        "scored_by": "imported log" if imported is not None else "champion" if champion else "nobody yet",
        "model_digests": sorted(row["model_digest"] for row in by_digest if row["model_digest"]),
    }
