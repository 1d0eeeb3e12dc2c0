"""The choice of a batch: random draws first, then the query strategy's picks for the rest of the budget."""

from collections import Counter
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from al_platform.domain.duel import DUEL, DuelOfModels
from al_platform.domain.errors import PoolExhaustedError
from al_platform.domain.selection.audit import draw_random_pages, read_frame
from al_platform.domain.selection.costs import affordable, costs_of
from al_platform.domain.selection.diversity import list_matrix
from al_platform.domain.selection.eligible import ONLY_EXACT, Copies, Eligible, Month, Pool
from al_platform.domain.selection.engine import beside, to_arrow
from al_platform.domain.selection.freshness import too_old
from al_platform.domain.selection.limits import Limits, Picks, choose_within, limits_of
from al_platform.domain.selection.options import SelectionOptions
from al_platform.domain.selection.query import Query, QueryStrategy
from al_platform.domain.selection.random_order import random_keys, random_order
from al_platform.domain.selection.reasons import AUDIT, COLD_START, EXPLORATION, STRATEGY
from al_platform.domain.selection.search import eligible_candidates
from al_platform.domain.selection.second_looks import LOOKS
from al_platform.domain.selection.shortlist import fetch, require_columns
from al_platform.domain.selection.strategies import strategy_named
from al_platform.schemas import BATCH, conform

PAGE_COLUMNS = ["url", "domain", "title", "text", "language"]
_LOOKS_SHOWN = pa.schema([*LOOKS, *(BATCH.field(name) for name in PAGE_COLUMNS)])


class SelectionSummary(BaseModel):
    """Counts of a choice.

    Attributes:
        pool: Pages scored this month.
        candidates: Those that the strategy could choose from: not excluded, not drawn at random.
        by_reason: Pages in the batch for each reason.
        non_response: Pages drawn at random that are labelled or pending already, so stay where they are, by reason.
        exact_duplicates: Pages left out because another has the same text. This and the next two count what was
            looked at, not the whole pool.
        capped: Pages left out because their domain had its share.
        near_duplicates_removed: Pages left out because their text nearly repeats another, in the pool, in the batch or
            labelled.
        too_old: Candidates left out because they were fetched too long ago.
        cost: Price of the batch without the duel, where pages have one.
        strategy: Query strategy used.
        is_cold_start: Whether there were no predictions to go by.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pool: int
    candidates: int
    by_reason: dict[str, int]
    non_response: dict[str, int]
    exact_duplicates: int
    capped: int
    near_duplicates_removed: int
    too_old: int
    cost: float | None
    strategy: str
    is_cold_start: bool


class Selection(NamedTuple):
    """A batch (``schemas.BATCH``) and its summary."""

    batch: pa.Table
    summary: SelectionSummary


def choose_batch(
    pool: Pool,
    options: SelectionOptions,
    copies: Copies = ONLY_EXACT,
    duel: DuelOfModels | None = None,
    looks: pa.Table | None = None,
) -> Selection:
    """Choose the pages to label this cycle.

    Audit and exploration are drawn first, from the whole month. Drawn pages that are excluded stay where they are and
    count as non-response. Then come pages of earlier months that are asked about again, and the query strategy fills
    the rest of the budget. Pages of a duel come on top of it; one that
    is drawn for audit or exploration too serves both.

    Ranks do not tell annotators which pages were drawn at random or are asked about again: those take places drawn by
    hash; between them the strategy's picks keep their order, most informative first.

    Args:
        pool: What the month offers.
        options: Strategy, budget and limits.
        copies: Which texts count as the same.
        duel: Drawn from pages of this month that are not excluded; None: there is none.
        looks: Pages to ask about again, excluded ones, with what annotators see; ``second_looks.LOOKS`` and
            ``PAGE_COLUMNS``.

    Returns:
        Exactly ``options.budget`` rows, fewer only where the money ends first, and those of the duel, by rank; the same
        for any order, partitioning or engine of the inputs.

    Raises:
        PoolExhaustedError: Fewer candidates than the budget, or a limit that cannot be kept.
        ConfigError: A floor names no label.
        InputError: The pool's tables cannot be used, or do not fit one another.
    """
    again = _LOOKS_SHOWN.empty_table() if looks is None else looks.select(_LOOKS_SHOWN.names)
    start = _start(pool, options, duel, again)
    eligible = eligible_candidates(pool, start.options, start.strategy, start.month, copies, start.limits.groups)
    _require_budget(pool, start, eligible)
    candidates = _with_columns(pool, eligible.table, start.strategy)
    picks = choose_within(start.strategy, candidates, _query(pool, start, eligible), start.limits, pool.taxonomy.labels)
    chosen, cost = _paid_for(pool, start, candidates, picks)
    batch = _assemble(pool, start.options, chosen, start.month.drawn, again)
    return Selection(batch if duel is None else duel.noted_in(batch), _summary(start, eligible, chosen.num_rows, cost))


class _Start(NamedTuple):
    """What is settled before the strategy chooses.

    Attributes:
        options: With a budget that holds the duel too, and no page that is asked about again.
        reason: Of the strategy's picks.
        random_ids: Pages of the random draws, without those that only a duel drew.
        n_too_old: Candidates that are.
        again: Pages that are asked about again.
    """

    options: SelectionOptions
    strategy: QueryStrategy
    limits: Limits
    month: Month
    reason: str
    taken: pa.Table
    random_ids: list[str]
    non_response: pa.Table
    n_too_old: int
    again: pa.Table

    @property
    def size(self) -> int:
        """Pages that the strategy is to choose."""
        return int(self.options.budget - self.month.drawn.num_rows)

    @property
    def n_candidates(self) -> int:
        return _count_others(self.month.frame, self.month.unavailable)


def _start(pool: Pool, options: SelectionOptions, duel: DuelOfModels | None, again: pa.Table) -> _Start:
    """Draw at random, and see what may be chosen besides, by which strategy and within which limits."""
    frame = read_frame(pool.predictions, pool.taxonomy)
    is_cold_start = frame["top1"].null_count == frame.num_rows
    strategy = strategy_named(options.cold_start_strategy if is_cold_start else options.strategy)
    require_columns(pool.predictions, strategy.reads, f"which strategy {strategy.name!r} reads")
    limits = limits_of(options, pool.taxonomy, is_cold_start=is_cold_start)
    excluded = _distinct_ids(pool)
    drawn, non_response = _draw(frame, excluded, pool.cycle, options)
    random_ids = drawn["page_id"].to_pylist()
    if duel is not None:
        drawn, options = _with_duel(drawn, duel, options)
    options = options.model_copy(update={"budget": options.budget - again.num_rows})
    taken = pa.concat_tables([excluded, drawn.select(["page_id"])])
    unavailable = pa.concat_tables([taken, too_old(pool.pages, pool.cycle, options.max_age_days)])
    n_too_old = _count_others(frame, taken) - _count_others(frame, unavailable)
    reason = COLD_START if is_cold_start else STRATEGY
    month = Month(frame, drawn, unavailable)
    return _Start(options, strategy, limits, month, reason, taken, random_ids, non_response, n_too_old, again)


def _summary(start: _Start, eligible: Eligible, n_chosen: int, cost: float | None) -> SelectionSummary:
    return SelectionSummary(
        pool=start.month.frame.num_rows,
        candidates=start.n_candidates,
        by_reason={**_count(start.month.drawn), **_count(start.again), start.reason: n_chosen},
        non_response=_count(start.non_response),
        exact_duplicates=eligible.exact_duplicates,
        capped=eligible.capped,
        near_duplicates_removed=eligible.near_duplicates,
        too_old=start.n_too_old,
        cost=cost,
        strategy=start.strategy.name,
        is_cold_start=start.reason == COLD_START,
    )


def _draw(frame: pa.Table, excluded: pa.Table, cycle: str, options: SelectionOptions) -> tuple[pa.Table, pa.Table]:
    """Return the random draws that go into the batch, and those that are somewhere else already."""
    draws = draw_random_pages(frame, cycle, options)
    is_elsewhere = pc.is_in(draws["page_id"], value_set=excluded["page_id"].combine_chunks())
    return draws.filter(pc.invert(is_elsewhere)), draws.filter(is_elsewhere)


def _with_duel(drawn: pa.Table, duel: DuelOfModels, options: SelectionOptions) -> tuple[pa.Table, SelectionOptions]:
    """Return the random draws with the duel's other pages, and the options with a budget that holds these too."""
    pages = duel.pages
    others = pages.filter(pc.invert(pc.is_in(pages["page_id"], value_set=drawn["page_id"].combine_chunks())))
    columns = [name for name in drawn.column_names if name in others.column_names]
    both = pa.concat_tables([drawn, others.select(columns)], promote_options="default")
    return both, options.model_copy(update={"budget": options.budget + others.num_rows})


def _query(pool: Pool, start: _Start, eligible: Eligible) -> Query:
    return Query(
        start.size,
        is_multi=pool.taxonomy.is_multi,
        seed=start.options.seed,
        thresholds=pool.thresholds,
        label_shares=eligible.label_shares,
        taken=_taken_embeddings(pool, start.taken) if start.strategy.compares_taken else None,
        rare_share=start.options.rare_share,
    )


def _taken_embeddings(pool: Pool, taken: pa.Table) -> NDArray[np.float32]:
    """Return the embeddings of this month's pages that are labelled, pending or in the batch."""
    ids = beside(taken.select(["page_id"]), pool.predictions)
    found = to_arrow(pool.predictions.select("page_id", "embedding").semi_join(ids, "page_id")).sort_by("page_id")
    return list_matrix(found["embedding"].drop_null(), "Embeddings")


def _with_columns(pool: Pool, candidates: pa.Table, strategy: QueryStrategy) -> pa.Table:
    """Return the candidates with what the strategy reads of the shortlist alone."""
    order = strategy.order(is_multi=pool.taxonomy.is_multi)
    known = {order.column: candidates[order.column]} if order else {}
    read = fetch(pool.predictions, candidates["page_id"].to_pylist(), strategy.reads, "Predictions", known)
    for name in strategy.reads:
        candidates = candidates.append_column(name, read[name])
    return candidates


def _paid_for(pool: Pool, start: _Start, candidates: pa.Table, picks: Picks) -> tuple[pa.Table, float | None]:
    """Return the picks that the money pays for, and what the batch costs; None where pages have no price."""
    ids = candidates["page_id"].take(pa.array(picks.rows)).to_pylist()
    kept, cost = _affordable(pool, start, ids, picks.is_floor)
    chosen = {
        "page_id": pa.array([ids[row] for row in kept], pa.string()),
        "score": pa.array(picks.scores[kept], type=pa.float64(), from_pandas=True),
        "why": pa.array([picks.whys[row] for row in kept], pa.string()),
        "reason": pa.array([start.reason] * len(kept), pa.string()),
    }
    return pa.table(chosen), cost


def _affordable(
    pool: Pool, start: _Start, ids: list[str], is_floor: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], float | None]:
    cost = start.options.cost
    every = np.arange(len(ids))
    if not cost.has_price:
        return every, None
    prices = costs_of(pool.pages, [*ids, *start.random_ids], cost, start.options.text_max_chars)
    spent = float(prices[len(ids) :].sum()) + _price_of_looks(start, prices)
    prices = prices[: len(ids)]
    if cost.limit is not None:
        floors_first = np.argsort(~is_floor, kind="stable")
        every = np.sort(floors_first[: affordable(prices[floors_first], spent, int(is_floor.sum()), cost.limit)])
    return every, round(spent + float(prices[every].sum()), 6)


def _price_of_looks(start: _Start, prices: NDArray[np.float64]) -> float:
    """Return the price of the pages that are asked about again; those of earlier months have no price column."""
    cost, again = start.options.cost, start.again
    if cost.column is not None or not again.num_rows:
        return again.num_rows * float(prices.mean()) if len(prices) else 0.0
    own = costs_of(again, again["page_id"].to_pylist(), cost, start.options.text_max_chars)
    return float(own.sum())


def _assemble(pool: Pool, options: SelectionOptions, picks: pa.Table, drawn: pa.Table, again: pa.Table) -> pa.Table:
    """Return the batch by rank, with what an annotator sees."""
    salt = f"{pool.cycle}|{options.seed}|rank"
    drawn = drawn.append_column("why", _why_drawn(drawn))
    months = _shown(pool, pa.concat_tables([picks, drawn], promote_options="default"), options)
    hidden = pa.concat_tables([months[picks.num_rows :], _cut(again, options)], promote_options="default")
    shuffled = hidden.take(pa.array(random_order(hidden["page_id"], salt)))
    rows = pa.concat_tables([months[: picks.num_rows], shuffled], promote_options="default")
    rows = rows.take(pa.array(_places(picks.num_rows, shuffled.num_rows, salt)))
    columns = {
        **{name: rows[name] for name in rows.column_names},
        "batch_id": [f"{pool.family}-{pool.cycle}-1"] * rows.num_rows,
        "rank": pa.array(range(1, rows.num_rows + 1), type=pa.int64()),
    }
    return conform(pa.table(columns), BATCH, "The batch").select(BATCH.names)


def _shown(pool: Pool, rows: pa.Table, options: SelectionOptions) -> pa.Table:
    """Return pages of this month with what an annotator sees, and who made their predictions."""
    page_ids = rows["page_id"].to_pylist()
    pages = fetch(pool.pages, page_ids, PAGE_COLUMNS, "Pages")
    for name in PAGE_COLUMNS:
        rows = rows.append_column(name, pages[name].cast(pa.string()))
    digests = fetch(pool.predictions, page_ids, ["model_digest"], "Predictions")["model_digest"]
    return _cut(rows.append_column("model_digest", digests.cast(pa.string())), options)


def _cut(rows: pa.Table, options: SelectionOptions) -> pa.Table:
    text = pc.utf8_slice_codeunits(rows["text"], 0, options.text_max_chars)
    return rows.set_column(rows.column_names.index("text"), "text", text)


def _places(n_picks: int, n_drawn: int, salt: str) -> NDArray[np.int64]:
    """Return the order of picks (0 ...) and draws (n_picks ...): the draws take places drawn by hash."""
    size = n_picks + n_drawn
    keys = random_keys([f"place {place}" for place in range(size)], salt)
    is_draw = np.zeros(size, dtype=bool)
    is_draw[np.argsort(keys, kind="stable")[:n_drawn]] = True
    order = np.empty(size, dtype=np.int64)
    order[~is_draw], order[is_draw] = np.arange(n_picks), np.arange(n_picks, size)
    return order


def _why_drawn(drawn: pa.Table) -> pa.Array:
    words = {AUDIT: "random draw of {stratum}", EXPLORATION: "random draw of all pages", DUEL: "the models differ"}
    return pa.array([words[row["reason"]].format(**row) for row in drawn.to_pylist()], pa.string())


def _distinct_ids(pool: Pool) -> pa.Table:
    excluded = pool.excluded
    table = excluded if isinstance(excluded, pa.Table) else to_arrow(excluded.select("page_id"))
    return pa.table({"page_id": pc.unique(table["page_id"].cast(pa.string()).drop_null())})


def _count(rows: pa.Table) -> dict[str, int]:
    return dict(sorted(Counter(rows["reason"].to_pylist()).items()))


def _count_others(frame: pa.Table, pages: pa.Table) -> int:
    is_among = pc.is_in(frame["page_id"], value_set=pages["page_id"].combine_chunks())
    return int(frame.num_rows - pc.sum(is_among, min_count=0).as_py())


def _require_budget(pool: Pool, start: _Start, eligible: Eligible) -> None:
    budget, found = start.options.budget, start.month.drawn.num_rows + eligible.table.num_rows
    if found >= budget:
        return
    raise PoolExhaustedError(
        f"Asked for {budget} samples but the pool of {pool.family} {pool.cycle} holds {found} "
        f"(of {start.month.frame.num_rows} pages; left out: {eligible.exact_duplicates} exact duplicates, "
        f"{eligible.near_duplicates} near-duplicates, {eligible.capped} over selection.domain_share, "
        f"{start.n_too_old} older than selection.max_age_days, the rest labelled or pending). "
        f"{_what_binds(eligible, start.n_too_old, budget - found)}Lower selection.budget or add traffic."
    )


def _what_binds(eligible: Eligible, n_too_old: int, lacking: int) -> str:
    """Return a sentence about the limits each of which alone leaves out as many pages as are lacking."""
    limits = {
        "selection.domain_share": eligible.capped,
        "selection.max_age_days": n_too_old,
        "near_duplicates.threshold": eligible.near_duplicates,
    }
    names = [option for option, count in limits.items() if count >= lacking]
    return f"Without {' or '.join(names)} there would be enough. " if names else ""
