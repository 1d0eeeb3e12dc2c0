"""The shortlist: the best candidates of a month, found where the predictions are.

Engines only compare stored columns: sums, hashes, random numbers and quantiles differ between them, comparisons do not.
The order of steps is fixed: exclude, exact duplicates, cap per domain, limit.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc

from al_platform.domain.errors import InputError
from al_platform.domain.selection.engine import beside, to_arrow
from al_platform.domain.selection.query import StoredOrder
from al_platform.domain.selection.random_order import random_order

HEAD_FACTOR = 4  # rows looked at for each row wanted; more only where duplicates and caps take too many
ROUNDING = 1e-6  # DuckDB reads a number in a query as a decimal, and may miss the very float32 it was written for


class Shortlist(NamedTuple):
    """Candidates, most informative first, and how many rows went on the way.

    Attributes:
        table: ``page_id``, ``domain``, ``text_hash`` and the column of the order.
        exact_duplicates: Rows left out because a better one has the same text.
        capped: Rows left out because their domain had its share.
        is_exhausted: Whether no row was left out by the limit.
    """

    table: pa.Table
    exact_duplicates: int
    capped: int
    is_exhausted: bool


def shortlist(
    predictions: ir.Table,
    excluded: ir.Table | pa.Table,
    order: StoredOrder | None,
    *,
    limit: int,
    domain_cap: int | None = None,
    salt: str = "",
) -> Shortlist:
    """Return the ``limit`` best candidates.

    Only ever looks at a head of the order. That is exact: which of a text's rows is the best, and how many of a domain
    come before a row, depend on earlier rows alone. The head grows until it yields ``limit`` rows.

    Args:
        predictions: ``schemas.PREDICTIONS`` on any Ibis backend.
        excluded: ``page_id`` of pages that must not be chosen.
        order: Of a query strategy; None: random.
        limit: Rows wanted.
        domain_cap: Most rows of one domain; None: no limit. A missing domain is nobody's: never capped.
            Likewise a missing ``text_hash`` is never a duplicate.
        salt: Of the random order: cycle and seed.

    Raises:
        InputError: ``predictions`` lacks a column, or the order's column is not a number.
    """
    columns = ["page_id", "domain", "text_hash", *([order.column] if order else [])]
    require_columns(predictions, columns, "which selection orders or filters by")
    others = beside(_page_ids(excluded), predictions)
    every = predictions.select(*columns)
    ranked = None if order else _random_ranks(every.anti_join(others, "page_id"), salt)
    n_rows = to_arrow(every.aggregate(n=every.count()))["n"][0].as_py() if ranked is None else len(ranked)
    size = HEAD_FACTOR * limit
    while True:
        # Excluded ones go from the head alone: asking every page whether it is one took two thirds of the time.
        head = _stored_head(every, order, size) if order else _random_head(every, ranked, size)
        rows = to_arrow(_keep_best(head.anti_join(others, "page_id"), order, domain_cap).limit(limit))
        n_seen, n_distinct, n_kept = _counts(rows)
        if n_kept >= limit or size >= n_rows:
            break
        size *= HEAD_FACTOR
    table = rows.select(columns)
    if order:
        _require_numbers(table, order.column)
    return Shortlist(table, n_seen - n_distinct, n_distinct - n_kept, n_kept <= limit and size >= n_rows)


def fetch(
    table: ir.Table | pa.Table,
    page_ids: Sequence[str],
    columns: Sequence[str],
    what: str,
    known: Mapping[str, pa.ChunkedArray] | None = None,
) -> pa.Table:
    """Return ``columns`` of the given pages, in the order given.

    Args:
        table: One row a page.
        page_ids: Pages of the table.
        columns: To read.
        what: The table's name in messages.
        known: Numbers that the table holds of these pages. Rows outside their range cannot be meant, and where files
            are sorted by them, an engine decodes hardly any of their other columns.

    Raises:
        InputError: ``table`` lacks a page, or has one twice.
    """
    wanted = pa.array(page_ids, type=pa.string())
    if isinstance(table, pa.Table):
        found = table.filter(pc.is_in(table["page_id"], value_set=wanted)).select(["page_id", *columns])
    else:
        ids = beside(pa.table({"page_id": wanted}), table)
        found = to_arrow(_within(table, known or {}).select("page_id", *columns).semi_join(ids, "page_id"))
    rows = pc.index_in(wanted, value_set=found["page_id"].combine_chunks().cast(pa.string()))
    if rows.null_count:
        missing = wanted.filter(pc.is_null(rows))
        raise InputError(
            f"{what} lack {len(missing)} of {len(wanted)} pages, the first being {missing[0].as_py()!r}. "
            f"Score and select from the same pages."
        )
    if found.num_rows > len(wanted):
        raise InputError(f"{what} hold {found.num_rows} rows for {len(wanted)} pages. Keep one row a page.")
    return found.take(rows).select(columns)


def _within(table: ir.Table, known: Mapping[str, pa.ChunkedArray]) -> ir.Table:
    """Return the rows among which are all that have these values; a column with a null among them tells nothing."""
    for name, values in known.items():
        if len(values) and not values.null_count:
            least, greatest = pc.min_max(values.cast(pa.float64())).as_py().values()
            slack = ROUNDING * max(1, abs(least), abs(greatest))
            table = table.filter(table[name].between(least - slack, greatest + slack))
    return table


def _order_by(table: ir.Table, order: StoredOrder | None) -> list[ir.Value]:
    if order is None:
        return [table["random_rank"]]
    direction = ibis.desc if order.is_descending else ibis.asc
    return [direction(table[order.column], nulls_first=False), table["page_id"].asc()]


def _stored_head(every: ir.Table, order: StoredOrder, size: int) -> ir.Table:
    return every.order_by(_order_by(every, order)).limit(size)


def _random_head(every: ir.Table, ranked: pa.Table, size: int) -> ir.Table:
    return every.inner_join(beside(ranked[:size], every), "page_id")


def _random_ranks(candidates: ir.Table, salt: str) -> pa.Table:
    page_ids = to_arrow(candidates.select("page_id"))["page_id"]
    ordered = page_ids.take(pa.array(random_order(page_ids, salt)))
    return pa.table({"page_id": ordered, "random_rank": pa.array(range(len(ordered)), type=pa.int64())})


def _keep_best(head: ir.Table, order: StoredOrder | None, domain_cap: int | None) -> ir.Table:
    """Drop all but the best row of a text and the best rows of a domain; count the rows before and after."""
    seen = head.mutate(
        n_seen=ibis._.count().over(),
        text_rank=ibis.row_number().over(group_by="text_hash", order_by=_order_by(head, order)),
    )
    distinct = seen.filter((seen.text_rank == 0) | seen.text_hash.isnull())
    counted = distinct.mutate(
        n_distinct=ibis._.count().over(),
        domain_rank=ibis.row_number().over(group_by="domain", order_by=_order_by(distinct, order)),
    )
    if domain_cap is not None:
        counted = counted.filter((counted.domain_rank < domain_cap) | counted.domain.isnull())
    kept = counted.mutate(n_kept=ibis._.count().over())
    return kept.order_by(_order_by(kept, order))


def _counts(rows: pa.Table) -> tuple[int, int, int]:
    if not rows.num_rows:  # the best row is always kept, so there was none
        return 0, 0, 0
    return rows["n_seen"][0].as_py(), rows["n_distinct"][0].as_py(), rows["n_kept"][0].as_py()


def _page_ids(excluded: ir.Table | pa.Table) -> ir.Table | pa.Table:
    if isinstance(excluded, pa.Table):
        return excluded.select(["page_id"]).cast(pa.schema([("page_id", pa.string())]))
    return excluded.select("page_id")


def require_columns(predictions: ir.Table, columns: Sequence[str], why: str) -> None:
    """Raise InputError unless predictions have the columns."""
    missing = [column for column in columns if column not in predictions.columns]
    if missing:
        raise InputError(
            f"Predictions have no column {missing[0]!r}, {why}. Found: {', '.join(predictions.columns)}. "
            f"Score the cycle with a model that writes it, or choose another strategy."
        )


def _require_numbers(table: pa.Table, column: str) -> None:
    is_nan = pc.is_nan(table[column].cast(pa.float64())).fill_null(False)
    if pc.any(is_nan).as_py():
        page_id = table["page_id"].filter(is_nan)[0].as_py()
        raise InputError(
            f"Column {column!r} of page {page_id!r} is NaN, which engines order differently. Write null where a value "
            f"is not known."
        )
