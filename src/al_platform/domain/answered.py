"""What is known of the answers about each page, carried from cycle to cycle.

A page's row depends on its answers and on the batches that hold it. Of a page that is in no new answer and in no new
batch it is kept; of the others, answers and batch rows are read again from the files that hold them. Labels rest on how
well each annotator answers, so on all pages at once: they are concluded anew from the rows, each cycle.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from itertools import groupby
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from al_platform.domain import annotations as versions
from al_platform.domain.adjudication import ORIGIN, SENT, Checks, known_values, origins_of, split_controls
from al_platform.domain.carried import CarriedBasis
from al_platform.domain.labelled import PagesInFiles
from al_platform.domain.taxonomy import Taxonomy
from al_platform.domain.votes import Answers
from al_platform.schemas import ANNOTATIONS, ANSWERED_PAGES, PULLED_PAGES, conform

# Raise it when a page's row comes out otherwise than before: all are then made anew once.
RULES = 2
_GIVEN = ["page_id", "batch_id", "annotator", "updated_at"]
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


class Changes(NamedTuple):
    """What is known of every page that was sent or answered.

    Attributes:
        answered: Of earlier cycles and this one; see ``schemas.ANSWERED_PAGES``.
        n_kept: Pages that did not change.
        why_anew: Why everything was read, if it was.
    """

    answered: pa.Table
    n_kept: int
    why_anew: str | None


def collect_changes(sources: Sources, earlier: pa.Table, taxonomy: Taxonomy) -> Changes:
    """Return what is known of every page; what changed since the cycle before is read from as few files as hold it.

    Args:
        sources: Ledger and batches.
        earlier: What the cycle before knew; see ``schemas.ANSWERED_PAGES``.
        taxonomy: The family's labels.
    """
    basis = Basis(
        taxonomy=taxonomy,
        cycle=sources.cycle,
        partitions={_cycle(file): digest for file, digest in sources.before.digests.items()},
        batches=sources.batches.files,
    )
    before = Basis.of(earlier)
    why_anew = basis.why_anew(before)
    if before is None or why_anew:
        return _concluded(sources, ANSWERED_PAGES.empty_table(), None, None, basis)._replace(why_anew=why_anew)
    return _concluded(sources, earlier, before, _changed_pages(sources, before), basis)


def of_these_rules(answered: pa.Table) -> pa.Table:
    """Return what an earlier cycle knew, none of it where other rules made it: then it has other columns."""
    basis = Basis.of(answered)
    if basis is None or basis.rules != RULES:
        return ANSWERED_PAGES.empty_table()
    return conform(answered, ANSWERED_PAGES, "answered pages")


def all_answers(answered: pa.Table, taxonomy: Taxonomy) -> Answers:
    """Return the answers that are votes, of all pages."""
    return Answers.of_column(answered, "answers", taxonomy)


def all_checks(answered: pa.Table, taxonomy: Taxonomy) -> Checks:
    """Return the answers about control pages, beside what is known of those."""
    rows = answered.filter(pc.greater(pc.list_value_length(answered["checks"]), 0))
    known = rows["known_values"].to_pylist()
    usable = pa.array([values is not None and taxonomy.problem(values) is None for values in known], pa.bool_())
    rows = rows.filter(usable)
    answers = Answers.of_column(rows, "checks", taxonomy)
    return Checks(answers, taxonomy.encode(rows["known_values"].to_pylist()))


def label_origins(answered: pa.Table, page_ids: Sequence[str], cycle: str | None) -> pa.Table:
    """Return how pages came to be labelled, in their order; of those in no batch, that ``cycle`` concluded so.

    Returns:
        See ``adjudication.ORIGIN``.
    """
    rows = pc.index_in(pa.array(page_ids, pa.string()), value_set=answered["page_id"].combine_chunks())
    origins = answered.select(ORIGIN.names).take(rows)
    place = origins.column_names.index("cycle")
    told = pc.fill_null(origins["cycle"], cycle) if cycle else origins["cycle"]
    return origins.set_column(place, ORIGIN.field("cycle"), told)


def pulled_digests(pulled: pa.Table) -> pa.Table:
    """Return a digest of the versions that a platform shows of the answers about each page, sorted by page.

    Args:
        pulled: See ``schemas.ANNOTATIONS``.

    Returns:
        See ``schemas.PULLED_PAGES``.
    """
    spelled = pa.table({"page_id": pulled["page_id"], "version": versions.spelled(pulled)})
    ordered = spelled.sort_by([("page_id", "ascending"), ("version", "ascending")])
    pairs = zip(*(ordered[name].to_pylist() for name in ordered.column_names), strict=True)
    digests = {page: _digest(version for _, version in rows) for page, rows in groupby(pairs, lambda row: row[0])}
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


def _changed_pages(sources: Sources, before: Basis) -> pa.Array:
    new_partitions = [file for file in sources.before.files if _cycle(file) not in before.cycles]
    new_batches = [file for file in sources.batches.files if file not in before.batches]
    found = [
        sources.annotations["page_id"],
        sources.before.read(["page_id"], files=new_partitions)["page_id"],
        sources.batches.read(["page_id"], files=new_batches)["page_id"],
    ]
    return pc.unique(pa.chunked_array([chunk for column in found for chunk in column.chunks], pa.string()))


def _concluded(
    sources: Sources, earlier: pa.Table, before: Basis | None, changed: pa.Array | None, basis: Basis
) -> Changes:
    """Return what is known of the changed pages, of all where ``changed`` is None, and keep the others' rows."""
    taken = _taken(sources, earlier, before, changed)
    sent = _sent(sources, earlier, before, changed)
    kept = earlier if changed is None else _without(earlier, changed)
    unchanged = conform(kept, ANSWERED_PAGES, "answered pages")
    rows = _rows(taken, sent, basis.taxonomy)
    answered = basis.written_on(pa.concat_tables([rows, unchanged]).sort_by("page_id"))
    return Changes(answered, unchanged.num_rows, None)


def _taken(sources: Sources, earlier: pa.Table, before: Basis | None, changed: pa.Array | None) -> pa.Table:
    """Return every version of answers about the changed pages, and the cycle that took it."""
    own = conform(sources.annotations, ANNOTATIONS, "annotations").select(ANNOTATIONS.names)
    own = own.append_column(_TAKEN.field("cycle"), pa.array([sources.cycle] * own.num_rows, pa.string()))
    files = sources.before.files
    if before and changed is not None:
        files = tuple(_files(files, _cycles_in(earlier, changed, "taken_in"), before.cycles))
    return pa.concat_tables([sources.before.read(_TAKEN.names, changed, files), own])


def _sent(sources: Sources, earlier: pa.Table, before: Basis | None, changed: pa.Array | None) -> pa.Table:
    """Return every batch row that holds a changed page."""
    files = list(sources.batches.files)
    if before and changed is not None:
        holding = _cycles_in(earlier, changed, "sent_in")
        files = [file for file in files if file not in before.batches or _cycle(file) in holding]
    return sources.batches.read(SENT.names, changed, files)


def _rows(taken: pa.Table, sent: pa.Table, taxonomy: Taxonomy) -> pa.Table:
    """Return what is known of each page that was sent or answered; see ``schemas.ANSWERED_PAGES``."""
    voting, checking = split_controls(taken.select(ANNOTATIONS.names), sent)
    votes, invalid_votes = versions.valid_answers(voting, taxonomy)
    checks, invalid_checks = versions.valid_answers(checking, taxonomy)
    ledger = pa.concat_tables([votes, checks])
    n_versions, n_invalid = _count(ledger), _count(pa.concat_tables([invalid_votes, invalid_checks]))
    sent_in, taken_in = _cycles_by_page(sent), _cycles_by_page(taken)
    answers, answers_of_controls = _answers_by_page(votes), _answers_by_page(checks)
    asked, known, origins = _asked_by_page(ledger, sent), known_values(sent), origins_of(votes, sent)
    nowhere = {"reason": None, "inclusion_probability": None, "cycle": None}
    rows = [
        {
            "page_id": page,
            "sent_in": sent_in.get(page, []),
            "taken_in": taken_in.get(page, []),
            "n_versions": n_versions.get(page, 0),
            "n_invalid": n_invalid.get(page, 0),
            "answers": answers.get(page, []),
            "checks": answers_of_controls.get(page, []),
            "known_values": known.get(page),
            "asked": asked.get(page, []),
            **{name: origins.get(page, nowhere)[name] for name in nowhere},
        }
        for page in sorted(sent_in.keys() | taken_in.keys())
    ]
    return pa.Table.from_pylist(rows, ANSWERED_PAGES)


def _answers_by_page(ledger: pa.Table) -> dict[str, list[dict[str, Any]]]:
    """Return the answers that hold about each page, by annotator."""
    rows = versions.without_skipped(versions.fold(ledger)).select(["page_id", "annotator", "values"]).to_pylist()
    return {page: list(answers) for page, answers in groupby(rows, lambda row: row["page_id"])}


def _asked_by_page(ledger: pa.Table, sent: pa.Table) -> dict[str, list[dict[str, Any]]]:
    """Return the batches that hold each page, oldest first, and who has answered or skipped it there."""
    given: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in versions.standing_answers(ledger).select(_GIVEN).to_pylist():
        given.setdefault((row["page_id"], row["batch_id"]), []).append(row)
    asked: dict[str, list[dict[str, Any]]] = {}
    for row in sent.sort_by([("cycle", "ascending"), ("batch_id", "ascending")]).to_pylist():
        answers = given.get((row["page_id"], row["batch_id"]), [])
        times = [answer["updated_at"] for answer in answers if answer["updated_at"] is not None]
        asked.setdefault(row["page_id"], []).append(
            {
                **{name: row[name] for name in ("cycle", "reason", "known_values")},
                "wanted": row["answers_wanted"],
                "answered_by": sorted({answer["annotator"] for answer in answers}),
                "first_at": min(times, default=None),
                "last_at": max(times, default=None),
            }
        )
    return asked


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


def _digest(spelled: Iterable[str]) -> str:
    return sha256("\n".join(dict.fromkeys(spelled)).encode()).hexdigest()[:32]
