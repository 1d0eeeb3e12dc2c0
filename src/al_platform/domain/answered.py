"""What is known of the answers about each page, carried from cycle to cycle.

A page's row and label depend on its answers and on the batches that hold it. Of a page that is in no new answer and in
no new batch both are kept; of the others, answers and batch rows are read again from the files that hold them.
"""

from collections.abc import Collection, Iterable, Mapping
from hashlib import sha256
from itertools import groupby
from typing import NamedTuple, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from al_platform.domain import annotations as votes
from al_platform.domain.carried import CarriedBasis
from al_platform.domain.labelled import PagesInFiles
from al_platform.domain.taxonomy import Taxonomy
from al_platform.schemas import ANNOTATIONS, ANSWERED_PAGES, LABELS, PULLED_PAGES, conform

# Raise it when a page's row or label comes out otherwise than before: all are then made anew once.
RULES = 1
_TAKEN = pa.schema([*ANNOTATIONS, pa.field("cycle", pa.string(), nullable=False)])


class PartitionsInFiles(PagesInFiles, Protocol):
    """The ledger's partitions of earlier cycles, a file each."""

    digests: Mapping[str, str]
    """What each file hashes to."""


class Basis(CarriedBasis):
    """What all rows rest on.

    Attributes:
        taxonomy: The family's labels.
        cycle: Whose own partition is among them.
        partitions: Digest of each earlier cycle's partition.
        batches: Files of batches.
    """

    key = b"al_platform.answered"

    rules: int = RULES
    taxonomy: Taxonomy
    cycle: str
    partitions: dict[str, str]
    batches: tuple[str, ...]

    @property
    def cycles(self) -> set[str]:
        """The cycles whose partitions are among what the rows rest on."""
        return {*self.partitions, self.cycle}

    def why_anew(self, before: "Basis | None") -> str | None:
        """Return why no row that rests on ``before`` can be kept, or None."""
        if before is None:
            return "there is no earlier cycle to build on"
        if before.rules != self.rules:
            return "rows were made by other rules"
        if before.taxonomy != self.taxonomy:
            return "taxonomy changed"
        if not self.covers(before):
            return "files that were read before are missing or changed"
        return None

    def covers(self, before: "Basis") -> bool:
        """Return whether all that ``before`` rests on is still there."""
        is_same = before.partitions.items() <= self.partitions.items() and before.cycle in self.partitions
        return is_same and {*before.batches} <= {*self.batches}


class Sources(NamedTuple):
    """What labels are concluded from.

    Attributes:
        annotations: This cycle's partition of the ledger; see ``schemas.ANNOTATIONS``.
        before: Those of earlier cycles.
        batches: Every batch up to this cycle; see ``schemas.BATCH``.
        cycle: This cycle.
    """

    annotations: pa.Table
    before: PartitionsInFiles
    batches: PagesInFiles
    cycle: str


class Earlier(NamedTuple):
    """What the cycle before concluded: ``schemas.ANSWERED_PAGES`` and ``schemas.LABELS``."""

    answered: pa.Table
    labels: pa.Table


class Changes(NamedTuple):
    """What must be concluded anew, and what stays.

    Attributes:
        ledger: Valid answer versions about the pages that changed; see ``schemas.ANNOTATIONS``.
        invalid: Their answers that the taxonomy does not allow; see ``schemas.QUARANTINE``.
        sent: The batch rows that hold them; see ``annotations.SENT``.
        answered: Every page that was sent or answered, of earlier cycles and this one; see ``schemas.ANSWERED_PAGES``.
        kept_labels: Labels of the pages that did not change.
        n_kept: Pages that did not change.
        why_anew: Why everything was read, if it was.
    """

    ledger: pa.Table
    invalid: pa.Table
    sent: pa.Table
    answered: pa.Table
    kept_labels: pa.Table
    n_kept: int
    why_anew: str | None


def collect_changes(sources: Sources, earlier: Earlier, taxonomy: Taxonomy) -> Changes:
    """Return what changed since the cycle before, read from as few files as hold it."""
    basis = Basis(
        taxonomy=taxonomy,
        cycle=sources.cycle,
        partitions={_cycle(file): digest for file, digest in sources.before.digests.items()},
        batches=sources.batches.files,
    )
    before = Basis.of(earlier.answered)
    why_anew = basis.why_anew(before)
    if before is None or why_anew:
        nothing = Earlier(ANSWERED_PAGES.empty_table(), LABELS.empty_table())
        return _concluded(sources, nothing, None, None, basis)._replace(why_anew=why_anew)
    return _concluded(sources, earlier, before, _changed_pages(sources, earlier, before), basis)


def conclude_labels(changes: Changes, taxonomy: Taxonomy, cycle: str) -> pa.Table:
    """Return every page's label, sorted by page; see ``annotations.adjudicate``."""
    anew = votes.adjudicate(changes.ledger, changes.sent, taxonomy, cycle)
    return pa.concat_tables([anew, changes.kept_labels]).sort_by("page_id")


def all_votes(answered: pa.Table, taxonomy: Taxonomy) -> votes.Votes:
    """Return the votes of all pages that have any."""
    voted = answered.filter(pc.field("n_votes") > 0).combine_chunks()
    counts = voted["votes"].combine_chunks().flatten().to_numpy().reshape(-1, len(taxonomy.labels))
    return votes.Votes(voted["page_id"].to_pylist(), counts, voted["n_votes"].to_numpy())


def pulled_digests(pulled: pa.Table) -> pa.Table:
    """Return a digest of the versions that a platform shows of the answers about each page, sorted by page.

    Args:
        pulled: See ``schemas.ANNOTATIONS``.

    Returns:
        See ``schemas.PULLED_PAGES``.
    """
    spelled = pa.table({"page_id": pulled["page_id"], "version": votes.spelled(pulled)})
    ordered = spelled.sort_by([("page_id", "ascending"), ("version", "ascending")])
    versions = zip(*(ordered[name].to_pylist() for name in ordered.column_names), strict=True)
    digests = {page: _digest(version for _, version in rows) for page, rows in groupby(versions, lambda row: row[0])}
    return pa.table({"page_id": list(digests), "versions_digest": list(digests.values())}, schema=PULLED_PAGES)


def pages_with_news(digests: pa.Table, digests_before: pa.Table) -> pa.Array:
    """Return the pages of which a platform shows other versions than when the cycle before pulled."""
    seen = zip(*(digests_before[name].to_pylist() for name in PULLED_PAGES.names), strict=True)
    now = zip(*(digests[name].to_pylist() for name in PULLED_PAGES.names), strict=True)
    return pa.array([page for page, _ in sorted({*now} - {*seen})], pa.string())


def known_versions(page_ids: pa.Array, before: PartitionsInFiles, answered: pa.Table) -> pa.Table:
    """Return every version in earlier partitions of answers about these pages; see ``schemas.ANNOTATIONS``.

    Args:
        page_ids: The pages.
        before: The partitions.
        answered: Of the cycle before: tells which partitions need not be opened.
    """
    basis = Basis.of(answered)
    covered = _covered(basis, before) if basis else set()
    holding = _cycles_in(answered, page_ids, "taken_in")
    return before.read(ANNOTATIONS.names, page_ids, _files(before.files, holding, covered))


def _covered(basis: Basis, before: PartitionsInFiles) -> set[str]:
    """Return the cycles whose partitions are still as they were when the rows were made."""
    same = {_cycle(file) for file, digest in before.digests.items() if basis.partitions.get(_cycle(file)) == digest}
    return {*same, basis.cycle}


def _changed_pages(sources: Sources, earlier: Earlier, before: Basis) -> pa.Array:
    new_partitions = [file for file in sources.before.files if _cycle(file) not in before.cycles]
    new_batches = [file for file in sources.batches.files if file not in before.batches]
    # The label of a page that is in no batch tells the cycle of whoever concludes it.
    never_sent = earlier.labels.filter(pc.is_null(earlier.labels["reason"]))
    found = [
        sources.annotations["page_id"],
        sources.before.read(["page_id"], files=new_partitions)["page_id"],
        sources.batches.read(["page_id"], files=new_batches)["page_id"],
        never_sent["page_id"],
    ]
    return pc.unique(pa.chunked_array([chunk for column in found for chunk in column.chunks], pa.string()))


def _concluded(
    sources: Sources, earlier: Earlier, before: Basis | None, changed: pa.Array | None, basis: Basis
) -> Changes:
    """Return what is known of the changed pages, of all where ``changed`` is None, and keep the others' rows."""
    taken = _taken(sources, earlier, before, changed)
    sent = _sent(sources, earlier, before, changed)
    ledger, invalid = votes.valid_answers(taken.select(ANNOTATIONS.names), basis.taxonomy)
    rows = _rows(taken, ledger, invalid, sent, basis.taxonomy)
    kept = earlier if changed is None else Earlier(*(_without(table, changed) for table in earlier))
    unchanged = conform(kept.answered, ANSWERED_PAGES, "answered pages")
    answered = basis.written_on(pa.concat_tables([rows, unchanged]).sort_by("page_id"))
    labels = conform(kept.labels, LABELS, "labels")
    return Changes(ledger, invalid, sent, answered, labels, unchanged.num_rows, None)


def _taken(sources: Sources, earlier: Earlier, before: Basis | None, changed: pa.Array | None) -> pa.Table:
    """Return every version of answers about the changed pages, and the cycle that took it."""
    own = conform(sources.annotations, ANNOTATIONS, "annotations").select(ANNOTATIONS.names)
    own = own.append_column(_TAKEN.field("cycle"), pa.array([sources.cycle] * own.num_rows, pa.string()))
    files = sources.before.files
    if before and changed is not None:
        files = tuple(_files(files, _cycles_in(earlier.answered, changed, "taken_in"), before.cycles))
    return pa.concat_tables([sources.before.read(_TAKEN.names, changed, files), own])


def _sent(sources: Sources, earlier: Earlier, before: Basis | None, changed: pa.Array | None) -> pa.Table:
    """Return every batch row that holds a changed page."""
    files = list(sources.batches.files)
    if before and changed is not None:
        holding = _cycles_in(earlier.answered, changed, "sent_in")
        files = [file for file in files if file not in before.batches or _cycle(file) in holding]
    return sources.batches.read(votes.SENT.names, changed, files)


def _rows(taken: pa.Table, ledger: pa.Table, invalid: pa.Table, sent: pa.Table, taxonomy: Taxonomy) -> pa.Table:
    counted = votes.Votes.of(ledger, taxonomy)
    by_page = dict(
        zip(counted.page_ids, zip(counted.votes.tolist(), counted.n_votes.tolist(), strict=True), strict=True)
    )
    none = ([0] * len(taxonomy.labels), 0)
    sent_in, taken_in = _cycles_by_page(sent), _cycles_by_page(taken)
    versions, faults = _count(ledger), _count(invalid)
    rows = [
        {
            "page_id": page,
            "sent_in": sent_in.get(page, []),
            "taken_in": taken_in.get(page, []),
            "n_versions": versions.get(page, 0),
            "n_invalid": faults.get(page, 0),
            "votes": by_page.get(page, none)[0],
            "n_votes": by_page.get(page, none)[1],
        }
        for page in sorted(sent_in.keys() | taken_in.keys())
    ]
    return pa.Table.from_pylist(rows, ANSWERED_PAGES)


def _cycles_by_page(table: pa.Table) -> dict[str, list[str]]:
    pairs = sorted({*zip(table["page_id"].to_pylist(), table["cycle"].to_pylist(), strict=True)})
    return {page: [cycle for _, cycle in rows] for page, rows in groupby(pairs, lambda pair: pair[0])}


def _count(table: pa.Table) -> dict[str, int]:
    counted = table.group_by("page_id").aggregate([([], "count_all")])
    return dict(zip(counted["page_id"].to_pylist(), counted["count_all"].to_pylist(), strict=True))


def _cycles_in(answered: pa.Table, page_ids: pa.Array, column: str) -> set[str]:
    rows = answered.filter(pc.is_in(answered["page_id"], value_set=page_ids))
    return {cycle for cycles in rows[column].to_pylist() for cycle in cycles}


def _files(files: Iterable[str], holding: Collection[str], covered: Collection[str]) -> list[str]:
    """Return the files that hold what is asked for, and those of which it is not known."""
    return [file for file in files if _cycle(file) in holding or _cycle(file) not in covered]


def _without(table: pa.Table, page_ids: pa.Array) -> pa.Table:
    return table.filter(pc.invert(pc.is_in(table["page_id"], value_set=page_ids)))


def _cycle(file: str) -> str:
    return file.split("/")[1]


def _digest(versions: Iterable[str]) -> str:
    return sha256("\n".join(dict.fromkeys(versions)).encode()).hexdigest()[:32]
