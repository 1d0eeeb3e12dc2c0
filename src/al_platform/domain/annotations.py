"""From people's answers to labels: the ledger of answer versions, majority vote, agreement.

An *annotation* is one person's answer, in versions; the *ledger* holds every version once. A *label* is what we
conclude from the newest answers of all annotators of a page.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from al_platform.domain.errors import TaxonomyError
from al_platform.domain.taxonomy import Taxonomy
from al_platform.schemas import ANNOTATIONS, BATCH, LABELS, QUARANTINE, conform

SENT = pa.schema(
    [
        *(BATCH.field(name) for name in ("batch_id", "page_id", "rank", "reason", "inclusion_probability")),
        pa.field("cycle", pa.string(), nullable=False),
    ]
)
UNRESOLVED = pa.schema([LABELS.field("page_id"), LABELS.field("n_annotations")])
MIN_ANSWERS_TO_COMPARE = 2
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
    ledger = conform(ledger, ANNOTATIONS, "the annotation ledger").combine_chunks()
    newest = ledger.take(_newest_versions(ledger))
    standing = newest.filter(pc.invert(newest["deleted"]))
    ranks = [_ranks(standing[name]) for name in ("page_id", "annotator", "annotation_id")]
    page, annotator, annotation = ranks
    order = np.lexsort((annotation, _times(standing), annotator, page))
    return standing.take(order[_ends_of_runs(page[order], annotator[order])])


def valid_answers(ledger: pa.Table, taxonomy: Taxonomy) -> tuple[pa.Table, pa.Table]:
    """Return the ledger without answers that the taxonomy does not allow, and those answers as ``schemas.QUARANTINE``.

    Only answers that hold now are looked at: a mistake that was corrected or deleted since is none.
    """
    answers = _votes(fold(ledger))
    problems = [(row, taxonomy.problem(row["values"])) for row in _outside(answers, taxonomy).to_pylist()]
    invalid = pa.array([row["annotation_id"] for row, _ in problems], pa.string())
    quarantined = [
        {"page_id": row["page_id"], "reason": "invalid_answer", "detail": f"{row['annotator']}: {problem}"}
        for row, problem in problems
    ]
    keep = pc.invert(pc.is_in(ledger["annotation_id"], value_set=invalid))
    return ledger.filter(keep), pa.Table.from_pylist(quarantined, QUARANTINE)


def adjudicate(ledger: pa.Table, batches: pa.Table, taxonomy: Taxonomy, cycle: str) -> pa.Table:
    """Return the label of each page whose votes decide it, sorted by page; see ``schemas.LABELS``.

    Single-label: the answer with most votes. Multi-label: each class that more than half of the annotators chose. An
    exact tie (for any class) gives no label: with two annotators it is the common kind of disagreement, and to settle
    it by label order or by date would teach the model a rule that nobody chose. :meth:`Votes.unresolved` lists those
    pages for relabelling. Skipped answers are no votes.

    ``confidence`` is the winner's share of the votes (multi-label: of its least certain class), ``agreement`` the share
    of pairs of annotators who agree (Fleiss 1971, P_i; multi-label: mean over classes), null for one annotator.

    ``reason``, ``inclusion_probability`` and ``cycle`` say how the page came to be labelled. They are copied from the
    first batch in which it was annotated, a random draw before others of the same cycle, so that a page that is
    relabelled, or drawn again, keeps what it was.

    Args:
        ledger: Answer versions of all partitions up to this cycle; see ``schemas.ANNOTATIONS``.
        batches: Rows of every batch so far, see ``SENT``; later cycles are ignored.
        taxonomy: The family's labels.
        cycle: The cycle to give pages that are in no batch.

    Raises:
        SchemaError: A table does not fit its schema.
        TaxonomyError: An answer is not valid; :func:`valid_answers` separates those.
    """
    ledger = conform(ledger, ANNOTATIONS, "the annotation ledger")
    tally = Votes.of(ledger, taxonomy)
    decided = ~tally.is_tied(taxonomy)
    origins = _origins(ledger, batches, cycle)
    unknown = {"reason": None, "inclusion_probability": None, "cycle": cycle}
    columns = {
        "page_id": [page for page, is_decided in zip(tally.page_ids, decided, strict=True) if is_decided],
        "values": taxonomy.decode(tally.winners(taxonomy)[decided]),
        "confidence": tally.confidence(taxonomy)[decided],
        "n_annotations": tally.n_votes[decided],
        "agreement": pa.array(tally.pair_agreement(taxonomy)[decided], pa.float64(), from_pandas=True),
        "source": ["annotated"] * int(decided.sum()),
    }
    copied = [origins.get(page, unknown) for page in columns["page_id"]]
    columns |= {name: [origin[name] for origin in copied] for name in unknown}
    return pa.table(columns, schema=LABELS)


class Votes(NamedTuple):
    """Votes a page: P pages with at least one vote, C classes."""

    page_ids: list[str]
    votes: NDArray[np.int64]  # (P, C)
    n_votes: NDArray[np.int64]  # (P,)

    @classmethod
    def of(cls, ledger: pa.Table, taxonomy: Taxonomy) -> "Votes":
        """Return the votes that hold now, in the order of pages.

        Raises:
            SchemaError: The ledger does not fit ``schemas.ANNOTATIONS``.
            TaxonomyError: An answer is not valid; :func:`valid_answers` separates those.
        """
        answers = _votes(fold(ledger))
        for row in _outside(answers, taxonomy).to_pylist():
            raise TaxonomyError(
                f"Annotation {row['annotation_id']} of page {row['page_id']}: {taxonomy.problem(row['values'])} "
                f"Correct it on the platform, or set it aside with valid_answers."
            )
        pages = answers["page_id"].combine_chunks().dictionary_encode()
        page, page_ids = pages.indices.to_numpy().astype(np.int64), pages.dictionary.to_pylist()
        votes = np.zeros((len(page_ids), len(taxonomy.labels)), dtype=np.int64)
        np.add.at(votes, page, _encoded(answers["values"], taxonomy).astype(np.int64))
        return cls(page_ids, votes, np.bincount(page, minlength=len(page_ids)))

    def agreement(self, taxonomy: Taxonomy) -> float | None:
        """Return Krippendorff's alpha: 1 is perfect, 0 what chance gives.

        Nominal alpha for a single-label family; for a multi-label one the mean of each class's binary alpha, over the
        classes that were chosen in some answers and not in others (Krippendorff 2011, "Computing Krippendorff's
        Alpha-Reliability").

        Returns:
            None where alpha is undefined: no page has two votes, or all votes on such pages are the same.
        """
        if not taxonomy.is_multi:
            return _alpha(self.votes)
        binary = (_alpha(np.stack([yes, self.n_votes - yes], axis=1)) for yes in self.votes.T)
        defined = [alpha for alpha in binary if alpha is not None]
        return float(np.mean(defined)) if defined else None

    def unresolved(self, taxonomy: Taxonomy) -> pa.Table:
        """Return the pages whose votes are tied, ``page_id`` and ``n_annotations``."""
        tied = self.is_tied(taxonomy)
        pages = [page for page, is_tied in zip(self.page_ids, tied, strict=True) if is_tied]
        return pa.table({"page_id": pages, "n_annotations": self.n_votes[tied]}, schema=UNRESOLVED)

    def winners(self, taxonomy: Taxonomy) -> NDArray[np.bool_]:
        wins = 2 * self.votes > self.n_votes[:, None] if taxonomy.is_multi else self.votes == _most(self.votes)
        return np.asarray(wins, dtype=np.bool_)

    def is_tied(self, taxonomy: Taxonomy) -> NDArray[np.bool_]:
        if taxonomy.is_multi:
            return np.asarray((2 * self.votes == self.n_votes[:, None]).any(axis=1), dtype=np.bool_)
        return np.asarray(self.winners(taxonomy).sum(axis=1) > 1, dtype=np.bool_)

    def confidence(self, taxonomy: Taxonomy) -> NDArray[np.float64]:
        against = self.n_votes[:, None] - self.votes
        winning = np.maximum(self.votes, against).min(axis=1) if taxonomy.is_multi else _most(self.votes)[:, 0]
        return np.asarray(winning / self.n_votes, dtype=np.float64)

    def pair_agreement(self, taxonomy: Taxonomy) -> NDArray[np.float64]:
        """Return the share of agreeing pairs, NaN where there is no pair."""
        agreeing = _ordered_pairs(self.votes)
        if taxonomy.is_multi:
            agreeing = agreeing + _ordered_pairs(self.n_votes[:, None] - self.votes)
        together = agreeing.mean(axis=1) if taxonomy.is_multi else agreeing.sum(axis=1)
        pairs = _ordered_pairs(self.n_votes)
        return np.asarray(np.divide(together, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0))


def _votes(folded: pa.Table) -> pa.Table:
    return folded.filter(pc.invert(folded["skipped"])).combine_chunks()


def _outside(answers: pa.Table, taxonomy: Taxonomy) -> pa.Table:
    """Return the answers that the taxonomy does not allow."""
    values = answers["values"].combine_chunks()
    is_known = pc.is_in(values.flatten(), value_set=pa.array(taxonomy.labels, pa.string()))
    unknown = pc.list_parent_indices(values).filter(pc.invert(is_known))
    is_outside = np.zeros(answers.num_rows, dtype=bool)
    is_outside[unknown.to_numpy()] = True
    if not taxonomy.is_multi:
        is_outside |= pc.list_value_length(values).to_numpy() != 1
    return answers.filter(pa.array(is_outside))


def _encoded(values: pa.ChunkedArray, taxonomy: Taxonomy) -> NDArray[np.bool_]:
    """Return valid answers as an indicator matrix, one row an answer."""
    lists = values.combine_chunks()
    encoded = np.zeros((len(lists), len(taxonomy.labels)), dtype=bool)
    label = pc.index_in(lists.flatten(), value_set=pa.array(taxonomy.labels, pa.string()))
    encoded[pc.list_parent_indices(lists).to_numpy(), label.to_numpy()] = True
    return encoded


def _alpha(votes: NDArray[np.int64]) -> float | None:
    """Return nominal alpha of votes (P, C): Krippendorff 2011, section D, in the coincidence matrix's diagonal."""
    n_votes = votes.sum(axis=1)
    paired = n_votes >= MIN_ANSWERS_TO_COMPARE
    votes, n_votes = votes[paired], n_votes[paired]
    total = int(n_votes.sum())
    observed = float((_ordered_pairs(votes).sum(axis=1) / (n_votes - 1)).sum())
    by_chance = int(_ordered_pairs(votes.sum(axis=0)).sum())
    pairs = total * (total - 1)
    return None if by_chance == pairs else ((total - 1) * observed - by_chance) / (pairs - by_chance)


def _ordered_pairs(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(counts * (counts - 1))


def _most(votes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(votes.max(axis=1, keepdims=True))


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


def _origins(ledger: pa.Table, batches: pa.Table, cycle: str) -> dict[str, dict[str, object]]:
    """Return the batch row of each page that says how it came to be labelled."""
    batches = conform(batches, SENT, "the batches").select(SENT.names)
    annotated_in = set(zip(*(ledger.column(name).to_pylist() for name in ("page_id", "batch_id")), strict=True))
    rows = batches.filter(pc.field("cycle") <= cycle).to_pylist()

    def precedence(row: dict[str, object]) -> tuple[object, ...]:
        answered = (row["page_id"], row["batch_id"]) in annotated_in
        is_random = row["inclusion_probability"] is not None
        return (not answered, row["cycle"], not is_random, row["batch_id"], row["rank"])

    return {str(row["page_id"]): row for row in sorted(rows, key=precedence, reverse=True)}
