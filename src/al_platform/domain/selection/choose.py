"""The choice of a batch: random draws first, then the query strategy's picks for the rest of the budget."""

from collections import Counter
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from al_platform.domain.duel import DuelOfModels
from al_platform.domain.errors import PoolExhaustedError
from al_platform.domain.selection.audit import draw_random_pages, read_frame
from al_platform.domain.selection.diversity import NearDuplicateGroups
from al_platform.domain.selection.eligible import Eligible, Pool, eligible_candidates
from al_platform.domain.selection.options import SelectionOptions
from al_platform.domain.selection.random_order import random_keys, random_order
from al_platform.domain.selection.shortlist import fetch
from al_platform.domain.selection.strategies import QueryStrategy, strategy_named
from al_platform.schemas import BATCH, conform

STRATEGY = "strategy"
COLD_START = "cold_start"
PAGE_COLUMNS = ["url", "domain", "title", "text", "language"]


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
        near_duplicates_removed: Pages left out because their text nearly repeats another.
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
    strategy: str
    is_cold_start: bool


class Selection(NamedTuple):
    """A batch (``schemas.BATCH``) and its summary."""

    batch: pa.Table
    summary: SelectionSummary


def choose_batch(
    pool: Pool,
    options: SelectionOptions,
    near_duplicate_groups: NearDuplicateGroups | None = None,
    duel: DuelOfModels | None = None,
) -> Selection:
    """Choose the pages to label this cycle.

    Audit and exploration are drawn first, from the whole month. Drawn pages that are excluded stay where they are and
    count as non-response. The query strategy fills the rest of the budget. Pages of a duel come on top of it; one that
    is drawn for audit or exploration too serves both.

    Ranks do not tell annotators which pages were drawn at random: those take places drawn by hash; between them the
    strategy's picks keep their order, most informative first.

    Args:
        pool: What the month offers.
        options: Strategy, budget and limits.
        near_duplicate_groups: Gives nearly identical texts the same number; None: only exact duplicates go.
        duel: Drawn from pages of this month that are not excluded; None: there is none.

    Returns:
        Exactly ``options.budget`` rows, and those of the duel, by rank; the same for any order, partitioning or engine
        of the inputs.

    Raises:
        PoolExhaustedError: Fewer candidates than the budget.
        InputError: The pool's tables cannot be used, or do not fit one another.
    """
    frame = read_frame(pool.predictions, pool.taxonomy)
    is_cold_start = frame["top1"].null_count == frame.num_rows
    strategy = strategy_named(options.cold_start_strategy if is_cold_start else options.strategy)
    excluded = _distinct_ids(pool)
    drawn, non_response = _draw(frame, excluded, pool.cycle, options)
    if duel is not None:
        drawn, options = _with_duel(drawn, duel, options)
    unavailable = pa.concat_tables([excluded, drawn.select(["page_id"])])
    eligible = eligible_candidates(pool, options, strategy, drawn, unavailable, near_duplicate_groups)
    is_candidate = pc.invert(pc.is_in(frame["page_id"], value_set=unavailable["page_id"].combine_chunks()))
    summary = SelectionSummary(
        pool=frame.num_rows,
        candidates=pc.sum(is_candidate, min_count=0).as_py(),
        by_reason={**_count(drawn), COLD_START if is_cold_start else STRATEGY: options.budget - drawn.num_rows},
        non_response=_count(non_response),
        exact_duplicates=eligible.exact_duplicates,
        capped=eligible.capped,
        near_duplicates_removed=eligible.near_duplicates,
        strategy=strategy.name,
        is_cold_start=is_cold_start,
    )
    _require_budget(pool, options, drawn.num_rows + eligible.table.num_rows, summary)
    picks = _pick(pool, options, strategy, eligible, options.budget - drawn.num_rows)
    picks = picks.append_column("reason", pa.array([COLD_START if is_cold_start else STRATEGY] * picks.num_rows))
    batch = _assemble(pool, options, picks, drawn)
    return Selection(batch if duel is None else duel.noted_in(batch), summary)


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


def _pick(pool: Pool, options: SelectionOptions, strategy: QueryStrategy, eligible: Eligible, size: int) -> pa.Table:
    candidates = eligible.table
    if strategy.needs_embedding:
        embeddings = fetch(pool.predictions, candidates["page_id"].to_pylist(), ["embedding"], "Predictions")
        candidates = candidates.append_column("embedding", embeddings["embedding"])
    choice = strategy.choose(candidates, size, is_multi=pool.taxonomy.is_multi, seed=options.seed)
    return pa.table(
        {
            "page_id": candidates["page_id"].take(pa.array(choice.rows)),
            "score": pa.array(choice.scores, type=pa.float64(), from_pandas=True),
        }
    )


def _assemble(pool: Pool, options: SelectionOptions, picks: pa.Table, drawn: pa.Table) -> pa.Table:
    """Return the batch by rank, with what an annotator sees."""
    salt = f"{pool.cycle}|{options.seed}|rank"
    shuffled = drawn.take(pa.array(random_order(drawn["page_id"], salt)))
    rows = pa.concat_tables([picks, shuffled], promote_options="default")
    rows = rows.take(pa.array(_places(picks.num_rows, drawn.num_rows, salt)))
    page_ids = rows["page_id"].to_pylist()
    pages = fetch(pool.pages, page_ids, PAGE_COLUMNS, "Pages")
    text = pc.utf8_slice_codeunits(pages["text"], 0, options.text_max_chars)
    columns = {
        **{name: rows[name] for name in rows.column_names},
        **{name: pages[name] for name in PAGE_COLUMNS},
        "text": text,
        "model_digest": fetch(pool.predictions, page_ids, ["model_digest"], "Predictions")["model_digest"],
        "batch_id": [f"{pool.family}-{pool.cycle}-1"] * len(page_ids),
        "rank": pa.array(range(1, len(page_ids) + 1), type=pa.int64()),
    }
    return conform(pa.table(columns), BATCH, "The batch").select(BATCH.names)


def _places(n_picks: int, n_drawn: int, salt: str) -> NDArray[np.int64]:
    """Return the order of picks (0 ...) and draws (n_picks ...): the draws take places drawn by hash."""
    size = n_picks + n_drawn
    keys = random_keys([f"place {place}" for place in range(size)], salt)
    is_draw = np.zeros(size, dtype=bool)
    is_draw[np.argsort(keys, kind="stable")[:n_drawn]] = True
    order = np.empty(size, dtype=np.int64)
    order[~is_draw], order[is_draw] = np.arange(n_picks), np.arange(n_picks, size)
    return order


def _distinct_ids(pool: Pool) -> pa.Table:
    excluded = pool.excluded
    table = excluded if isinstance(excluded, pa.Table) else excluded.select("page_id").to_pyarrow()
    return pa.table({"page_id": pc.unique(table["page_id"].cast(pa.string()).drop_null())})


def _count(rows: pa.Table) -> dict[str, int]:
    return dict(sorted(Counter(rows["reason"].to_pylist()).items()))


def _require_budget(pool: Pool, options: SelectionOptions, found: int, summary: SelectionSummary) -> None:
    if found >= options.budget:
        return
    raise PoolExhaustedError(
        f"Asked for {options.budget} samples but the pool of {pool.family} {pool.cycle} holds {found} "
        f"(of {summary.pool} pages; left out: {summary.exact_duplicates} exact duplicates, "
        f"{summary.near_duplicates_removed} near-duplicates, {summary.capped} over selection.domain_share, the rest "
        f"labelled or pending). Lower selection.budget or add traffic."
    )
