"""The search for candidates: the shortlist, and more where labels, floors and copies ask for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from al_platform.domain.errors import InputError
from al_platform.domain.selection.eligible import Copies, Eligible, Month, Pool, keep_eligible
from al_platform.domain.selection.engine import beside
from al_platform.domain.selection.label_heads import LabelHeads, label_heads
from al_platform.domain.selection.limits import DOMAIN, Group
from al_platform.domain.selection.options import SelectionOptions
from al_platform.domain.selection.query import QueryStrategy, StoredOrder
from al_platform.domain.selection.shortlist import Shortlist, shortlist

WIDEN_FACTOR = 2


class _Found(NamedTuple):
    """Candidates from all the lists, in the order in which they may use up a domain's share.

    Attributes:
        table: With ``predicted`` and ``place``, the place in the shortlist's own order.
        is_exhausted: Whether the shortlist holds every candidate.
        exhausted: Whether the list of each group holds every candidate of it.
    """

    table: pa.Table
    exact_duplicates: int
    capped: int
    is_exhausted: bool
    exhausted: dict[Group, bool]
    label_shares: tuple[float, ...] | None


@dataclass(frozen=True)
class _Search:
    """Where candidates are looked for, and what is known of all of them."""

    pool: Pool
    options: SelectionOptions
    strategy: QueryStrategy
    month: Month
    groups: tuple[Group, ...]
    needed: int

    @property
    def order(self) -> StoredOrder | None:
        return self.strategy.order(is_multi=self.pool.taxonomy.is_multi)

    @property
    def columns(self) -> list[str]:
        return ["page_id", "domain", "text_hash", *([self.order.column] if self.order else [])]

    def find(self, factor: int) -> _Found:
        """Return ``factor`` times the candidates needed, and as many again of each group and label."""
        first = self._list(self.pool.predictions, self.needed * factor, factor)
        _require_values(first.table, self.order, self.strategy.name)
        others = {
            group: self._list(self._members(group), group.floor * factor or self.needed, factor)
            for group in self.groups
        }
        heads = self._heads(factor)
        tables = [*(found.table for found in others.values()), by_rank([first.table, *heads.tables])]
        return _Found(
            with_places(tables, first.table, self.order, self.month.frame),
            first.exact_duplicates,
            first.capped,
            first.is_exhausted and not first.capped,
            {group: found.is_exhausted and not found.capped for group, found in others.items()},
            heads.shares,
        )

    def _list(self, predictions: ir.Table, limit: int, factor: int) -> Shortlist:
        cap = self.options.domain_cap
        return shortlist(
            predictions,
            self.month.unavailable,
            self.order,
            limit=limit,
            domain_cap=None if cap is None else cap * factor,  # a near-duplicate uses up nothing of its domain's share
            salt=f"{self.pool.cycle}|{self.options.seed}|{self.strategy.name}",
        )

    def _members(self, group: Group) -> ir.Table:
        predictions = self.pool.predictions
        if group.column == DOMAIN:
            return predictions.filter(predictions["domain"] == group.name)
        members = self.month.frame.filter(pc.equal(self.month.frame["predicted"], group.name)).select(["page_id"])
        return predictions.semi_join(beside(members, predictions), "page_id")

    def _heads(self, factor: int) -> LabelHeads:
        if self.strategy.label_score is None:
            return LabelHeads([], None)
        return label_heads(
            self.pool.predictions,
            self.month.unavailable,
            self.columns,
            self.pool.taxonomy,
            self.strategy.label_score,
            limit=self.needed * factor,
            thresholds=self.pool.thresholds,
        )


def eligible_candidates(
    pool: Pool,
    options: SelectionOptions,
    strategy: QueryStrategy,
    month: Month,
    copies: Copies,
    groups: tuple[Group, ...] = (),
) -> Eligible:
    """Shortlist more and more candidates, until enough may be chosen together or there are no more.

    Args:
        pool: What the month offers.
        options: Budget and limits.
        strategy: Gives the order.
        month: All pages, those in the batch already, and those that must not be chosen.
        copies: Which texts count as the same.
        groups: Each has a shortlist of its own, which fills its floor.

    Raises:
        InputError: No candidate has a value in the column of the strategy's order.
    """
    search = _Search(pool, options, strategy, month, groups, options.budget - month.drawn.num_rows)
    factor = options.overfetch
    while True:
        found = search.find(factor)
        kept = keep_eligible(found.table, pool, month.drawn, options.domain_cap, copies)
        is_enough = kept.table.num_rows >= search.needed or found.is_exhausted
        if is_enough and all(
            done or _count(kept.table, group) >= group.floor for group, done in found.exhausted.items()
        ):
            return kept._replace(
                table=kept.table.sort_by("place").drop_columns("place"),
                exact_duplicates=kept.exact_duplicates + found.exact_duplicates,
                capped=kept.capped + found.capped,
                label_shares=found.label_shares,
            )
        factor *= WIDEN_FACTOR


def by_rank(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of all tables, every table's first ones before any second one."""
    ranks = np.concatenate([np.arange(table.num_rows) for table in tables])
    return pa.concat_tables(tables).take(pa.array(np.argsort(ranks, kind="stable")))


def with_places(tables: Sequence[pa.Table], first: pa.Table, order: StoredOrder | None, frame: pa.Table) -> pa.Table:
    """Return the distinct rows of ``tables``, in their order, with ``place`` and ``predicted``.

    Args:
        tables: Of candidates.
        first: The shortlist: in its order are the first places. Where the order is random, the rest follow as they
            come; otherwise all places go by the order's column, ties by page_id.
        order: Of the shortlist.
        frame: Holds the most likely label of each page.
    """
    every = pa.concat_tables(tables)
    seen = pa.array(np.sort(np.unique(np.asarray(every["page_id"].to_pylist(), dtype=object), return_index=True)[1]))
    rows = every.take(seen.cast(pa.int64()))
    known = frame.filter(pc.is_in(frame["page_id"], value_set=rows["page_id"].combine_chunks()))
    predicted = known["predicted"].take(pc.index_in(rows["page_id"], value_set=known["page_id"].combine_chunks()))
    return rows.append_column("predicted", predicted).append_column("place", pa.array(_places(rows, first, order)))


def _places(rows: pa.Table, first: pa.Table, order: StoredOrder | None) -> NDArray[np.int64]:
    if order is None:
        shortlisted = pc.index_in(rows["page_id"], value_set=first["page_id"].combine_chunks())
        keys = np.asarray(shortlisted.fill_null(first.num_rows), dtype=np.int64)
        by_place = np.argsort(keys, kind="stable")
    else:
        direction = "descending" if order.is_descending else "ascending"
        by_place = np.asarray(
            pc.sort_indices(rows, [(order.column, direction), ("page_id", "ascending")]), dtype=np.int64
        )
    places = np.empty(len(by_place), dtype=np.int64)
    places[by_place] = np.arange(len(by_place))
    return places


def _count(candidates: pa.Table, group: Group) -> int:
    return int(pc.sum(pc.equal(candidates[group.column], group.name), min_count=0).as_py())


def _require_values(candidates: pa.Table, order: StoredOrder | None, strategy: str) -> None:
    # Missing values come last, so a first one means that all are missing.
    if order and candidates.num_rows and not candidates[order.column][0].is_valid:
        raise InputError(
            f"Strategy {strategy!r} orders pages by {order.column!r}, which is null for every candidate. Compute it "
            f"from the probabilities where the predictions are imported, or set selection.strategy to random."
        )
