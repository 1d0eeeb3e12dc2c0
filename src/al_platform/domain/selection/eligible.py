"""Which shortlisted candidates may be in one batch together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from al_platform.domain.selection.diversity import NearDuplicateGroups, is_new
from al_platform.domain.selection.shortlist import fetch
from al_platform.domain.taxonomy import Taxonomy

Repeats = Callable[[Sequence[str]], NDArray[np.bool_]]


@dataclass(frozen=True)
class Pool:
    """What a month offers.

    Attributes:
        predictions: ``schemas.PREDICTIONS``, the whole month.
        pages: ``schemas.PAGES``, at least the pages of ``predictions``.
        excluded: ``page_id`` of every page labelled or pending before this cycle, or in another set.
        taxonomy: Of the family.
        family: Name of the model family.
        cycle: ``YYYY-MM``.
        thresholds: Multi-label: of the model that made the predictions; None: 0.5 each.
    """

    predictions: ir.Table
    pages: ir.Table | pa.Table
    excluded: ir.Table | pa.Table
    taxonomy: Taxonomy
    family: str
    cycle: str
    thresholds: tuple[float, ...] | None = None


class Month(NamedTuple):
    """The pages of a month, seen from the strategy.

    Attributes:
        frame: All of them; see ``audit.read_frame``.
        drawn: ``page_id`` of the random draws and the duel, which are in the batch already.
        unavailable: ``page_id`` of all that must not be chosen, drawn ones included.
    """

    frame: pa.Table
    drawn: pa.Table
    unavailable: pa.Table


@dataclass(frozen=True)
class Copies:
    """How copies of pages are recognised.

    Attributes:
        groups: Gives nearly identical texts the same number; None: only exact duplicates go.
        repeats_labelled: Tells of texts whether they nearly repeat one that is labelled; None: not asked.
    """

    groups: NearDuplicateGroups | None = None
    repeats_labelled: Repeats | None = None


ONLY_EXACT = Copies()


class Eligible(NamedTuple):
    """Candidates that may be chosen together, in the order of the shortlist, and how many others were left out.

    Attributes:
        table: See ``shortlist.Shortlist``; with ``predicted``, the most likely label.
        exact_duplicates: Left out because another page has the same text.
        capped: Left out because their domain had its share.
        near_duplicates: Left out because their text nearly repeats another, in the batch or labelled.
        label_shares: Share of the pool that each label is expected to have, where the strategy asks for it.
    """

    table: pa.Table
    exact_duplicates: int
    capped: int
    near_duplicates: int
    label_shares: tuple[float, ...] | None = None


def keep_eligible(candidates: pa.Table, pool: Pool, drawn: pa.Table, cap: int | None, copies: Copies) -> Eligible:
    """Drop candidates that repeat the random draws, each other or what is labelled, then those beyond a domain's share.

    Args:
        candidates: The earlier of two copies stays, and earlier rows use up a domain's share.
        pool: Holds the texts.
        drawn: ``page_id`` of the random draws.
        cap: Most pages of a domain.
        copies: Which texts count as the same.
    """
    drawn_ids = drawn["page_id"].to_pylist()
    drawn_hashes = fetch(pool.predictions, drawn_ids, ["text_hash"], "Predictions")["text_hash"]
    distinct = candidates.filter(pa.array(_is_new_hash(candidates["text_hash"], drawn_hashes), type=pa.bool_()))
    new = distinct
    if copies.groups is not None or copies.repeats_labelled is not None:
        texts = _texts(pool, distinct["page_id"].to_pylist())
        new = distinct.filter(pa.array(_is_no_copy(texts, _texts(pool, drawn_ids), copies), type=pa.bool_()))
    kept = new if cap is None else new.filter(pa.array(is_within_cap(new["domain"].to_pylist(), cap), type=pa.bool_()))
    return Eligible(
        kept,
        exact_duplicates=candidates.num_rows - distinct.num_rows,
        capped=new.num_rows - kept.num_rows,
        near_duplicates=distinct.num_rows - new.num_rows,
    )


def _is_new_hash(hashes: pa.ChunkedArray, in_batch: pa.ChunkedArray) -> list[bool]:
    seen = set(in_batch.drop_null().to_pylist())
    is_new = []
    for text_hash in hashes.to_pylist():
        is_new.append(text_hash is None or text_hash not in seen)
        seen.add(text_hash)
    return is_new


def _is_no_copy(texts: list[str | None], batch_texts: list[str | None], copies: Copies) -> NDArray[np.bool_]:
    keep = np.ones(len(texts), dtype=bool)
    if copies.repeats_labelled is not None:
        with_text = [row for row, text in enumerate(texts) if text]
        keep[with_text] = ~copies.repeats_labelled([text for text in texts if text])
    if copies.groups is not None:
        left = np.flatnonzero(keep)
        keep[left] = is_new([texts[row] for row in left], batch_texts, copies.groups)
    return keep


def is_within_cap(domains: list[str | None], cap: int) -> NDArray[np.bool_]:
    """Return for each row whether fewer than ``cap`` earlier rows have its domain; a missing one is never capped."""
    seen: dict[str, int] = {}
    within = np.ones(len(domains), dtype=bool)
    for row, domain in enumerate(domains):
        if domain is not None:
            within[row] = seen.get(domain, 0) < cap
            seen[domain] = seen.get(domain, 0) + 1
    return within


def _texts(pool: Pool, page_ids: list[str]) -> list[str | None]:
    texts: list[str | None] = fetch(pool.pages, page_ids, ["text"], "Pages")["text"].to_pylist()
    return texts
