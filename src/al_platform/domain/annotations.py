"""The ledger of people's answers.

An *annotation* is one person's answer, in versions; the *ledger* holds every version once.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from al_platform.domain.taxonomy import Taxonomy
from al_platform.schemas import ANNOTATIONS, QUARANTINE, conform

Identity: TypeAlias = tuple[str, int, bool, bool, tuple[str, ...]]
NEVER = np.iinfo(np.int64).min
AFTER_ALL = np.iinfo(np.int64).max
_SEPARATOR = "\x1f"


class Version(NamedTuple):
    """One version of an answer; versions of one annotation sort oldest first.

    A deletion without a time comes after everything, an answer without one before everything; of two versions with the
    same time the deletion is the later. What follows ``values`` only makes the order certain.
    """

    annotation_id: str
    updated_at_us: int
    deleted: bool
    skipped: bool
    values: tuple[str, ...]
    page_id: str
    annotator: str
    rest: str
    row: int

    @property
    def identity(self) -> Identity:
        """What makes two rows the same version; the order of ``values`` does not matter."""
        return self[:5]


def new_versions(pulled: pa.Table, known: pa.Table) -> pa.Table:
    """Return the rows of ``pulled`` that the ledger still lacks, sorted by annotation and time.

    A deletion is new only where the version before it is not a deletion: platforms report a deleted annotation again at
    each pull, some with another time. An annotation that comes back after its deletion needs a later ``updated_at``.

    Args:
        pulled: What the platform holds now; see ``schemas.ANNOTATIONS``. Deleted annotations have ``deleted`` set.
        known: Every version of the ledger's other partitions; same schema.

    Raises:
        SchemaError: A table does not fit the schema.
    """
    pulled, known = _without_known(
        conform(pulled, ANNOTATIONS, "the pulled annotations"), conform(known, ANNOTATIONS, "the annotation ledger")
    )
    seen = {version.identity: version for version in _versions(known)}
    fresh = {version.identity: version for version in reversed(_versions(pulled)) if version.identity not in seen}
    rows = [
        version.row
        for _, history in groupby(sorted([*seen.values(), *fresh.values()]), key=attrgetter("annotation_id"))
        for version in _without_repeated_deletions(history, fresh)
        if version.identity in fresh
    ]
    return pulled.take(pa.array(rows, pa.int64()))


def fold(ledger: pa.Table) -> pa.Table:
    """Return the answers that hold now, one a page and annotator, sorted by page and annotator.

    The newest version of each annotation is taken first and deleted annotations are dropped; of what is left the
    newest annotation of each annotator on each page is kept. A skipped answer stays: it is the annotator's last word,
    though no vote. Folding twice changes nothing.

    Args:
        ledger: Every version of every partition to take into account; see ``schemas.ANNOTATIONS``.

    Raises:
        SchemaError: The table does not fit the schema.
    """
    standing = standing_answers(ledger)
    ranks = [_ranks(standing[name]) for name in ("page_id", "annotator", "annotation_id")]
    page, annotator, annotation = ranks
    order = np.lexsort((annotation, _times(standing), annotator, page))
    return standing.take(order[_ends_of_runs(page[order], annotator[order])])


def standing_answers(ledger: pa.Table) -> pa.Table:
    """Return the newest version of each annotation that was not deleted; one annotator may have several on a page.

    Raises:
        SchemaError: The table does not fit ``schemas.ANNOTATIONS``.
    """
    ledger = conform(ledger, ANNOTATIONS, "the annotation ledger").combine_chunks()
    newest = ledger.take(_newest_versions(ledger))
    return newest.filter(pc.invert(newest["deleted"])).combine_chunks()


def valid_answers(ledger: pa.Table, taxonomy: Taxonomy) -> tuple[pa.Table, pa.Table]:
    """Return the ledger without answers that the taxonomy does not allow, and those answers as ``schemas.QUARANTINE``.

    Only answers that hold now are looked at: a mistake that was corrected or deleted since is none.
    """
    quarantined: list[dict[str, str]] = []
    # Without a mistake, an older answer of the same annotator holds, which may be one too.
    while problems := _problems(ledger, taxonomy):
        quarantined += problems.values()
        keep = pc.invert(pc.is_in(ledger["annotation_id"], value_set=pa.array(list(problems), pa.string())))
        ledger = ledger.filter(keep)
    return ledger, pa.Table.from_pylist(quarantined, QUARANTINE)


def _problems(ledger: pa.Table, taxonomy: Taxonomy) -> dict[str, dict[str, str]]:
    """Return the quarantine's row of each answer that holds and is not valid, by annotation."""
    return {
        row["annotation_id"]: {
            "page_id": row["page_id"],
            "reason": "invalid_answer",
            "detail": f"{row['annotator']}: {taxonomy.problem(row['values'])}",
        }
        for row in taxonomy.outside(without_skipped(fold(ledger))).to_pylist()
    }


def without_skipped(answers: pa.Table) -> pa.Table:
    """Return the answers that say something."""
    return answers.filter(pc.invert(answers["skipped"])).combine_chunks()


def _newest_versions(ledger: pa.Table) -> NDArray[np.int64]:
    """Return the row of the newest version of each annotation."""
    annotation, time = _ranks(ledger["annotation_id"]), _times(ledger)
    deleted, skipped = (ledger[name].to_numpy() for name in ("deleted", "skipped"))
    order = np.lexsort((skipped, deleted, time, annotation))
    ends = _ends_of_runs(annotation[order])
    # Of several that are the newest, the whole order of versions decides, which only Python knows.
    last = order[np.flatnonzero(ends)][annotation]
    is_newest = (time == time[last]) & (deleted == deleted[last]) & (skipped == skipped[last])
    newest = np.flatnonzero(is_newest)
    if len(newest) == np.count_nonzero(ends):
        return newest
    by_annotation = {version.annotation_id: version.row for version in _versions(ledger.take(newest))}
    return newest[sorted(by_annotation.values())]


def _ranks(names: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return the position of each name among the sorted distinct names."""
    encoded = names.combine_chunks().dictionary_encode()
    order = pc.array_sort_indices(encoded.dictionary).to_numpy()
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return np.asarray(rank[encoded.indices.to_numpy()])


def _times(ledger: pa.Table) -> NDArray[np.int64]:
    """Return microseconds; a deletion without a time is last, an answer without one first."""
    never = np.where(ledger["deleted"].to_numpy(), AFTER_ALL, NEVER)
    times = ledger["updated_at"].cast(pa.int64())
    return np.where(pc.is_null(times).to_numpy(), never, pc.fill_null(times, 0).to_numpy())


def _ends_of_runs(*keys: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which rows are the last of their run of equal keys."""
    is_end = np.ones(len(keys[0]), dtype=bool)
    is_end[:-1] = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    return is_end


def _without_known(pulled: pa.Table, known: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Return both tables without the annotations of which every pulled version is known as it is."""
    is_known = pc.is_in(spelled(pulled), value_set=spelled(known))
    changed = pulled.filter(pc.invert(is_known))["annotation_id"]
    rest, seen = (table.filter(pc.is_in(table["annotation_id"], value_set=changed)) for table in (pulled, known))
    return rest, seen


def spelled(ledger: pa.Table) -> pa.Array:
    """Return each version's identity, its values in their stored order, as one text."""
    lists = ledger["values"].combine_chunks()
    escaped = pc.replace_substring(pc.replace_substring(lists.flatten(), "\\", "\\\\"), _SEPARATOR, "\\s")
    values = pc.binary_join(pa.ListArray.from_arrays(pa.array(_offsets(lists)), escaped), _SEPARATOR)
    fields = [ledger[name].combine_chunks().cast(pa.string()) for name in ("deleted", "skipped")]
    time = pc.fill_null(ledger["updated_at"].combine_chunks().cast(pa.int64()).cast(pa.string()), "")
    size = pc.list_value_length(lists).cast(pa.string())
    return pc.binary_join_element_wise(
        ledger["annotation_id"].combine_chunks(), time, *fields, size, values, _SEPARATOR
    )


def _offsets(lists: pa.ListArray) -> NDArray[np.int32]:
    return np.concatenate([[0], np.cumsum(pc.list_value_length(lists).to_numpy())]).astype(np.int32)


def _versions(table: pa.Table) -> list[Version]:
    """Return the versions of a conformed table, oldest first within an annotation."""
    times = table.column("updated_at").cast(pa.int64()).to_pylist()
    rows = table.select(ANNOTATIONS.names).to_pylist()
    return sorted(
        Version(
            annotation_id=row["annotation_id"],
            updated_at_us=time if time is not None else AFTER_ALL if row["deleted"] else NEVER,
            deleted=row["deleted"],
            skipped=row["skipped"],
            values=tuple(sorted(set(row["values"]))),
            page_id=row["page_id"],
            annotator=row["annotator"],
            rest=f"{row['batch_id']} {row['guideline_version']} {row['created_at']}",
            row=index,
        )
        for index, (time, row) in enumerate(zip(times, rows, strict=True))
    )


def _without_repeated_deletions(history: Iterable[Version], fresh: dict[Identity, Version]) -> Iterator[Version]:
    """Yield one annotation's versions, one a run of deletions: one the ledger knows, else the earliest."""
    for deleted, run in groupby(history, key=attrgetter("deleted")):
        versions = list(run)
        yield from [min(versions, key=lambda version: version.identity in fresh)] if deleted else versions
