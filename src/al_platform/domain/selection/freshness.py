"""Pages that were fetched too long ago to be worth a label."""

from datetime import UTC, datetime, timedelta

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc

from al_platform.domain.cycles import shift_cycle
from al_platform.domain.selection.engine import to_arrow


def too_old(pages: ir.Table | pa.Table, cycle: str, max_age_days: int | None) -> pa.Table:
    """Return ``page_id`` of the pages fetched more than ``max_age_days`` before the end of the cycle.

    A page without a date is not among them.
    """
    if max_age_days is None:
        return pa.table({"page_id": pa.array([], pa.string())})
    end = datetime.fromisoformat(f"{shift_cycle(cycle, 1)}-01").replace(tzinfo=UTC)
    oldest = end - timedelta(days=max_age_days)
    if isinstance(pages, pa.Table):
        found = pages.filter(pc.less(pages["fetched_at"], pa.scalar(oldest)))
    else:
        found = to_arrow(pages.filter(pages["fetched_at"] < ibis.literal(oldest)).select("page_id"))
    return found.select(["page_id"]).cast(pa.schema([("page_id", pa.string())]))
