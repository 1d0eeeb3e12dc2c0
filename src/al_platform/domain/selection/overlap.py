"""How many annotators are asked about each page of a batch."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from al_platform.domain.selection.random_order import random_order
from al_platform.domain.selection.reasons import AUDIT, COLD_START, EXPLORATION, STRATEGY
from al_platform.schemas import BATCH

_MAY_HAVE_ONE = (STRATEGY, COLD_START, AUDIT, EXPLORATION)


def with_answers_wanted(batch: pa.Table, answers_per_page: int, overlap_share: float, salt: str) -> pa.Table:
    """Return the batch with ``answers_wanted``: several of a share of the pages drawn at random, one of the others.

    The draw does not look at how a page came into the batch, so that agreement on the drawn pages stands for all, and
    random draws keep their inclusion probabilities. Pages that settle something (duel, second opinion, relabel) or
    check people (control) are asked about as often as any.

    Args:
        batch: See ``schemas.BATCH``.
        answers_per_page: How many are several.
        overlap_share: Share of the pages that get them.
        salt: Of the draw.
    """
    may_have_one = pc.is_in(batch["reason"], value_set=pa.array(_MAY_HAVE_ONE)).to_numpy()
    wanted = np.full(batch.num_rows, answers_per_page, dtype=np.int64)
    order = random_order(batch["page_id"], f"{salt}|overlap")
    drawn = order[may_have_one[order]]
    wanted[drawn[round(overlap_share * len(drawn)) :]] = 1
    place = batch.column_names.index("answers_wanted")
    return batch.set_column(place, BATCH.field("answers_wanted"), pa.array(wanted, pa.int64()))
