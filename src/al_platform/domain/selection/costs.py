"""What annotating pages costs, and how far the money goes."""

import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from al_platform.domain.errors import InputError, PoolExhaustedError
from al_platform.domain.selection.options import CostOptions
from al_platform.domain.selection.shortlist import fetch

CHARS_PER_PRICE = 1_000
EPSILON = 1e-9  # prices in cents add up to a little more than their sum


def costs_of(
    pages: ir.Table | pa.Table, page_ids: list[str], options: CostOptions, text_max_chars: int
) -> NDArray[np.float64]:
    """Return the price of each page.

    Raises:
        InputError: The pages have no such column, or a price is missing or negative.
    """
    if options.column is None:
        shown = pc.utf8_slice_codeunits(fetch(pages, page_ids, ["text"], "Pages")["text"], 0, text_max_chars)
        chars = pc.utf8_length(shown).fill_null(0).to_numpy()
        return np.asarray(options.per_page + options.per_1000_chars * chars / CHARS_PER_PRICE, dtype=np.float64)
    columns = pages.column_names if isinstance(pages, pa.Table) else pages.columns
    if options.column not in columns:
        raise InputError(
            f"selection.cost.column is {options.column!r}, which pages do not have. Found: {', '.join(columns)}."
        )
    prices = fetch(pages, page_ids, [options.column], "Pages")[options.column].cast(pa.float64()).to_numpy()
    is_price = prices >= 0
    if not is_price.all():
        row = int(np.argmin(is_price))
        raise InputError(
            f"Page {page_ids[row]!r} has the price {prices[row]} in column {options.column!r}. Give each page one that "
            f"is not negative, or set selection.cost.per_page."
        )
    return np.asarray(prices, dtype=np.float64)


def affordable(prices: NDArray[np.float64], spent: float, n_needed: int, limit: float) -> int:
    """Return how many of the pages, in their order, the money pays for.

    Args:
        prices: Of the strategy's picks, those of floors first.
        spent: On random draws, which are paid first.
        n_needed: Picks that floors ask for.
        limit: All the money.

    Raises:
        PoolExhaustedError: It does not pay for the random draws, the floors and one pick.
    """
    n = int(np.searchsorted(np.cumsum(prices), limit - spent + EPSILON, side="right"))
    if n < min(len(prices), max(1, n_needed)):
        raise PoolExhaustedError(
            f"selection.cost.limit is {limit:g}, but random draws cost {spent:g} and the next "
            f"{max(1, n_needed)} pages {prices[: max(1, n_needed)].sum():g}. Raise the limit, or lower "
            f"selection.audit_share, selection.exploration_share or the floors."
        )
    return n
