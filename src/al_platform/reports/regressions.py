"""Pages that the champion got right and the challenger gets wrong, and the other way round."""

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from al_platform.domain.evidence import ScoredSet
from al_platform.domain.metrics import BoolArray
from al_platform.domain.taxonomy import Taxonomy
from al_platform.reports.plain import plain

MAX_PAGES = 30
SNIPPET_CHARS = 400


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ChangedPage(_Record):
    """A page that one model has right and the other wrong.

    Attributes:
        set: Golden, audit or validation.
        text: Its beginning.
        confidence: The challenger's, in what it decided wrongly (multi-label: in its surest wrong class).
    """

    page_id: str
    set: str
    text: str
    truth: tuple[str, ...]
    champion: tuple[str, ...]
    challenger: tuple[str, ...]
    confidence: float


class ChangedCounts(_Record):
    """How many pages of a set turned wrong, turned right, are right with both models, and wrong with both."""

    set: str
    n: int
    regressed: int
    improved: int
    both_right: int
    both_wrong: int


class Regressions(_Record):
    """What a promotion would make worse; ``pages`` are the surest mistakes, at most ``MAX_PAGES``."""

    counts: tuple[ChangedCounts, ...]
    pages: tuple[ChangedPage, ...]


def find_regressions(
    scored: Mapping[str, ScoredSet], rows: Mapping[str, pa.Table], taxonomy: Taxonomy, max_pages: int = MAX_PAGES
) -> Regressions | None:
    """Return the pages that the champion has right and the challenger wrong; None without a champion.

    Args:
        scored: Both models on every set.
        rows: The pages of every set, in the order they were scored; see ``schemas.DATASET``.
        taxonomy: The family's labels.
        max_pages: How many to list.
    """
    if all(each.champion is None for each in scored.values()):
        return None
    counts = tuple(_counts(name, each) for name, each in scored.items() if len(each.truth))
    pages = [page for name, each in scored.items() for page in _regressed(name, each, rows[name], taxonomy)]
    surest = sorted(pages, key=lambda page: (-page.confidence, page.set, page.page_id))
    return Regressions(counts=counts, pages=tuple(surest[:max_pages]))


def _is_right(scored: ScoredSet) -> tuple[BoolArray, BoolArray]:
    assert scored.champion is not None
    decisions = (scored.champion.decisions, scored.challenger.decisions)
    champion, challenger = ((scored.truth == decided).all(axis=1) for decided in decisions)
    return np.asarray(champion), np.asarray(challenger)


def _counts(name: str, scored: ScoredSet) -> ChangedCounts:
    champion, challenger = _is_right(scored)
    return ChangedCounts(
        set=name,
        n=len(scored.truth),
        regressed=int((champion & ~challenger).sum()),
        improved=int((~champion & challenger).sum()),
        both_right=int((champion & challenger).sum()),
        both_wrong=int((~champion & ~challenger).sum()),
    )


def _regressed(name: str, scored: ScoredSet, rows: pa.Table, taxonomy: Taxonomy) -> Iterator[ChangedPage]:
    champion, challenger = _is_right(scored)
    assert scored.champion is not None
    confidence = _confidence_in_error(scored, taxonomy)
    decode = taxonomy.decode
    for row in np.flatnonzero(champion & ~challenger).tolist():
        page = rows.slice(row, 1).select(["page_id", "text"]).to_pylist()[0]
        truth, before, now = (
            tuple(decode(decided[row : row + 1])[0])
            for decided in (scored.truth, scored.champion.decisions, scored.challenger.decisions)
        )
        yield ChangedPage(
            page_id=page["page_id"],
            set=name,
            text=plain(page["text"], SNIPPET_CHARS),
            truth=truth,
            champion=before,
            challenger=now,
            confidence=float(confidence[row]),
        )


def _confidence_in_error(scored: ScoredSet, taxonomy: Taxonomy) -> NDArray[np.float64]:
    decided = scored.challenger.decisions
    exact = scored.challenger.probabilities.astype(np.float64)
    if not taxonomy.is_multi:
        return np.asarray((exact * decided).sum(axis=1))
    return np.asarray(np.where(scored.truth != decided, np.where(decided, exact, 1 - exact), 0).max(axis=1))
