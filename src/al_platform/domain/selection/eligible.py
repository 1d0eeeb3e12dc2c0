"""Which shortlisted candidates may be in one batch together."""

from dataclasses import dataclass
from typing import NamedTuple

import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from al_platform.domain.errors import InputError
from al_platform.domain.selection.diversity import NearDuplicateGroups, is_new
from al_platform.domain.selection.options import SelectionOptions
from al_platform.domain.selection.shortlist import fetch, shortlist
from al_platform.domain.selection.strategies import QueryStrategy, StoredOrder
from al_platform.domain.taxonomy import Taxonomy

WIDEN_FACTOR = 2


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
    """

    predictions: ir.Table
    pages: ir.Table | pa.Table
    excluded: ir.Table | pa.Table
    taxonomy: Taxonomy
    family: str
    cycle: str


class Eligible(NamedTuple):
    """Candidates that may be chosen together, most informative first, and how many others were left out.

    Attributes:
        table: See ``shortlist.Shortlist``.
        exact_duplicates: Left out because another page has the same text.
        capped: Left out because their domain had its share.
        near_duplicates: Left out because their text nearly repeats another.
    """

    table: pa.Table
    exact_duplicates: int
    capped: int
    near_duplicates: int


def eligible_candidates(
    pool: Pool,
    options: SelectionOptions,
    strategy: QueryStrategy,
    drawn: pa.Table,
    unavailable: pa.Table,
    near_duplicate_groups: NearDuplicateGroups | None,
) -> Eligible:
    """Shortlist more and more candidates, until enough may be chosen together or there are no more.

    Args:
        pool: What the month offers.
        options: Budget and limits.
        strategy: Gives the order.
        drawn: ``page_id`` of the random draws, which are in the batch already.
        unavailable: ``page_id`` of all that must not be chosen, drawn ones included.
        near_duplicate_groups: Gives nearly identical texts the same number; None: only exact duplicates go.

    Raises:
        InputError: No candidate has a value in the column of the strategy's order.
    """
    order = strategy.order(is_multi=pool.taxonomy.is_multi)
    needed, cap, factor = options.budget - drawn.num_rows, options.domain_cap, options.overfetch
    while True:
        found = shortlist(
            pool.predictions,
            unavailable,
            order,
            limit=needed * factor,
            domain_cap=None if cap is None else cap * factor,  # a near-duplicate uses up nothing of its domain's share
            salt=f"{pool.cycle}|{options.seed}|{strategy.name}",
        )
        _require_values(found.table, order, strategy.name)
        kept = keep_eligible(found.table, pool, drawn, cap, near_duplicate_groups)
        if kept.table.num_rows >= needed or (found.is_exhausted and not found.capped):
            return kept._replace(
                exact_duplicates=kept.exact_duplicates + found.exact_duplicates, capped=kept.capped + found.capped
            )
        factor *= WIDEN_FACTOR


def keep_eligible(
    candidates: pa.Table,
    pool: Pool,
    drawn: pa.Table,
    cap: int | None,
    near_duplicate_groups: NearDuplicateGroups | None,
) -> Eligible:
    """Drop candidates that repeat the random draws or each other, then those beyond their domain's share."""
    drawn_ids = drawn["page_id"].to_pylist()
    drawn_hashes = fetch(pool.predictions, drawn_ids, ["text_hash"], "Predictions")["text_hash"].drop_null()
    is_repeat = pc.is_in(candidates["text_hash"], value_set=drawn_hashes.combine_chunks())
    distinct = candidates.filter(pc.invert(is_repeat))
    new = distinct
    if near_duplicate_groups is not None:
        texts = _texts(pool, distinct["page_id"].to_pylist())
        new = distinct.filter(pa.array(is_new(texts, _texts(pool, drawn_ids), near_duplicate_groups), type=pa.bool_()))
    kept = new if cap is None else new.filter(pa.array(is_within_cap(new["domain"].to_pylist(), cap), type=pa.bool_()))
    return Eligible(
        kept,
        exact_duplicates=candidates.num_rows - distinct.num_rows,
        capped=new.num_rows - kept.num_rows,
        near_duplicates=distinct.num_rows - new.num_rows,
    )


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


def _require_values(candidates: pa.Table, order: StoredOrder | None, strategy: str) -> None:
    # Missing values come last, so a first one means that all are missing.
    if order and candidates.num_rows and not candidates[order.column][0].is_valid:
        raise InputError(
            f"Strategy {strategy!r} orders pages by {order.column!r}, which is null for every candidate. Compute it "
            f"from the probabilities where the predictions are imported, or set selection.strategy to random."
        )
