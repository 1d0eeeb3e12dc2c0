"""Pages that are asked about again, inside a month's budget: control pages, labels in doubt, answers that disagree.

None of them stands for traffic: they carry no inclusion probability.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from al_platform.domain.label_errors import Suspects
from al_platform.domain.selection.options import SelectionOptions
from al_platform.domain.selection.random_order import random_order
from al_platform.domain.selection.reasons import AUDIT, CONTROL, EXPLORATION, RELABEL, SECOND_OPINION
from al_platform.domain.taxonomy import Taxonomy
from al_platform.schemas import BATCH, STRINGS

LOOKS = pa.schema([BATCH.field(name) for name in ("page_id", "reason", "why", "score", "known_values")])
# Labels of these are held out and never trained on; golden ones were known before anybody here was asked.
CONTROL_SETS = ("golden", "control")
# The labels of other sets measure models: to look again only where a model disagrees would make them agree with it.
DOUBTED_SET = "train"
MOST_OPINIONS = 2


def draw_controls(dataset: pa.Table, cycle: str, options: SelectionOptions) -> pa.Table:
    """Draw pages with known answers at random; see ``LOOKS``.

    Args:
        dataset: See ``schemas.DATASET``; imported pages of the sets that are never trained on are drawn.
        cycle: ``YYYY-MM``.
        options: Size and seed.
    """
    is_known = pc.and_(
        pc.is_in(dataset["set"], value_set=pa.array(CONTROL_SETS)), pc.equal(dataset["source"], "imported")
    )
    known = dataset.filter(is_known)
    rows = random_order(known["page_id"], f"{cycle}|{options.seed}|{CONTROL}")[: options.control_size]
    return _looks(known.take(pa.array(rows)), CONTROL, "the answer is known")


def doubted_pages(dataset: pa.Table, answered: pa.Table) -> pa.Table:
    """Return the pages whose labels may be doubted: of the training set, and not doubted before.

    Args:
        dataset: See ``schemas.DATASET``.
        answered: See ``schemas.ANSWERED_PAGES``.
    """
    doubted_before = pa.array(sorted(_asked_for(answered, RELABEL)), pa.string())
    is_new = pc.invert(pc.is_in(dataset["page_id"], value_set=doubted_before))
    return dataset.filter(pc.and_(pc.equal(dataset["set"], DOUBTED_SET), is_new))


def choose_relabels(pages: pa.Table, suspects: Suspects, taxonomy: Taxonomy, size: int) -> pa.Table:
    """Return the pages whose label is most in doubt; see ``LOOKS``.

    Args:
        pages: What ``suspects`` counts; see ``doubted_pages``.
        suspects: Most doubtful first.
        taxonomy: The family's labels.
        size: How many pages, at most.
    """
    rows = suspects.rows[:size]
    chosen = _looks(pages.take(pa.array(rows)), RELABEL, "")
    labels = chosen["known_values"].to_pylist()
    doubts = [taxonomy.labels[number] for number in suspects.classes[:size].tolist()]
    whys = [_why_doubted(doubt, label, taxonomy) for doubt, label in zip(doubts, labels, strict=True)]
    return chosen.set_column(2, "why", pa.array(whys, pa.string())).set_column(
        3, "score", pa.array(np.round(suspects.scores[:size], 6), pa.float64())
    )


def choose_opinions(answered: pa.Table, labels: pa.Table, cycle: str, options: SelectionOptions) -> pa.Table:
    """Return pages whose answers decided nothing; see ``LOOKS``.

    Random draws come first, as each page without an answer widens what is known of the traffic; then by hash. A page is
    sent back twice at most.

    Args:
        answered: See ``schemas.ANSWERED_PAGES``.
        labels: See ``schemas.LABELS``.
        cycle: ``YYYY-MM``.
        options: Size and seed.
    """
    is_open = pc.and_(
        pc.greater(pc.list_value_length(answered["answers"]), 0),
        pc.invert(pc.is_in(answered["page_id"], value_set=labels["page_id"].combine_chunks())),
    )
    asked = _asked_for(answered, SECOND_OPINION)
    unresolved = answered.filter(is_open)
    again = [asked.get(page, 0) < MOST_OPINIONS for page in unresolved["page_id"].to_pylist()]
    unresolved = unresolved.filter(pa.array(again, pa.bool_()))
    order = random_order(unresolved["page_id"], f"{cycle}|{options.seed}|{SECOND_OPINION}")
    is_random = pc.is_in(unresolved["reason"], value_set=pa.array([AUDIT, EXPLORATION])).to_numpy()
    rows = order[np.argsort(~is_random[order], kind="stable")][: options.second_opinion_size]
    return _looks(unresolved.take(pa.array(rows)), SECOND_OPINION, "annotators disagree")


def together(*looks: pa.Table, size: int) -> pa.Table:
    """Return the first ``size`` of them, each page once: for what it is in first."""
    rows = pa.concat_tables([LOOKS.empty_table(), *looks])
    seen: set[str] = set()
    is_first = [not (page in seen or seen.add(page)) for page in rows["page_id"].to_pylist()]  # type: ignore[func-returns-value]
    return rows.filter(pa.array(is_first, pa.bool_()))[:size]


def _looks(rows: pa.Table, reason: str, why: str) -> pa.Table:
    known = rows["values"] if reason in (CONTROL, RELABEL) else pa.nulls(rows.num_rows, STRINGS)
    columns = {
        "page_id": rows["page_id"],
        "reason": pa.array([reason] * rows.num_rows, pa.string()),
        "why": pa.array([why] * rows.num_rows, pa.string()),
        "score": pa.nulls(rows.num_rows, pa.float64()),
        "known_values": known,
    }
    return pa.table(columns, schema=LOOKS)


def _why_doubted(doubt: str, label: list[str], taxonomy: Taxonomy) -> str:
    if not taxonomy.is_multi:
        return f"labelled {label[0]}, reads like {doubt}"
    return f"labelled {doubt}, does not read like it" if doubt in label else f"reads like {doubt}, not labelled so"


def _asked_for(answered: pa.Table, reason: str) -> dict[str, int]:
    """Return how often each page was sent for a reason."""
    column = answered["asked"].combine_chunks()
    is_asked = pc.equal(column.flatten().field("reason"), reason)
    rows = pc.list_parent_indices(column).filter(is_asked)
    counts = pc.value_counts(answered["page_id"].combine_chunks().take(rows)).to_pylist()
    return {row["values"]: row["counts"] for row in counts}
