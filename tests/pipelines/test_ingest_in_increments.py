"""Months ingested one on another, against the same months ingested from the whole ledger."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, settings
from hypothesis import strategies as st
from tables_in_files import TablesInMemory
from test_preparation_in_increments import file_bytes

from al_platform.annotation import AnnotationOptions, Pulled
from al_platform.catalog.history import with_cycle
from al_platform.catalog.platform import Partition
from al_platform.domain.adjudication import SENT, AdjudicationOptions, adjudicate, split_controls
from al_platform.domain.annotations import new_versions, valid_answers
from al_platform.domain.cycles import shift_cycle
from al_platform.domain.taxonomy import Taxonomy
from al_platform.domain.votes import Answers
from al_platform.pipelines.annotation_ingest import nodes
from al_platform.schemas import ANNOTATIONS, ANSWERED_PAGES, BATCH, LABELS, PULLED_PAGES, QUARANTINE

START = "2026-01"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
PAGES, PEOPLE = "abcde", "xyz"
SINGLE = Taxonomy(task="single", labels=("news", "sport", "tech"))
FEWER = Taxonomy(task="single", labels=("news", "sport"))
MULTI = Taxonomy(task="multi", labels=("news", "sport", "tech"))
OPTIONS = AnnotationOptions(backend="exchange", adjudication=AdjudicationOptions(min_answers=0))


@dataclass(frozen=True)
class Ingested:
    """What one month's ingest committed."""

    annotations: pa.Table
    quarantine: pa.Table
    pulled: pa.Table
    answered: pa.Table
    labels: pa.Table
    report: dict
    digest: str = ""


NOTHING = Ingested(
    *(schema.empty_table() for schema in (ANNOTATIONS, QUARANTINE, PULLED_PAGES, ANSWERED_PAGES, LABELS)), {}
)


@dataclass
class Chain:
    """A platform with its answers, and every month that was ingested from it, each on the one before."""

    cycle: str = START
    clock: int = 0
    taxonomy: Taxonomy = SINGLE
    shown: dict = field(default_factory=dict)
    batches: dict = field(default_factory=dict)
    months: dict = field(default_factory=dict)

    def open(self, taxonomy, options):
        return self

    def pull(self):
        rows = [row for versions in self.shown.values() for row in versions]
        return Pulled(pa.Table.from_pylist(rows, ANNOTATIONS), QUARANTINE.empty_table())

    def happen(self, kind, what):
        getattr(self, f"_{kind}")(what)

    def ingest(self):
        """Ingest the month both ways, and return what the increments made after comparing."""
        earlier = [cycle for cycle in sorted(self.months) if cycle < self.cycle]
        before = self.months[earlier[-1]] if earlier else NOTHING
        found = self._ingested(before)
        anew = self._ingested(NOTHING)
        for name in ("annotations", "pulled", "answered", "labels"):
            assert getattr(found, name).to_pylist() == getattr(anew, name).to_pylist(), name
            assert file_bytes(getattr(found, name)) == file_bytes(getattr(anew, name)), name
        counted = found.report.keys() - {"pages_kept", "all_read_because"}
        assert {name: found.report[name] for name in counted} == {name: anew.report[name] for name in counted}
        self.months[self.cycle] = found
        return found

    def partitions(self):
        tables = {f"f/{c}/a": _with_cycle(month.annotations, c) for c, month in self.months.items() if c < self.cycle}
        # As in the store, an erasure changes a file and not the digest that its manifest tells.
        digests = {f"f/{cycle}/a": month.digest for cycle, month in self.months.items()}
        tables = dict(sorted(tables.items()))
        return TablesInMemory(tables, with_cycle(ANNOTATIONS), {file: digests[file] for file in tables})

    def sent(self):
        cycles = [cycle for cycle in sorted(self.batches) if cycle <= self.cycle]
        tables = {f"f/{c}/b": _with_cycle(pa.Table.from_pylist(self.batches[c], BATCH), c) for c in cycles}
        return TablesInMemory(tables, with_cycle(BATCH))

    def _ingested(self, before):
        own = self.months.get(self.cycle, NOTHING)
        taken = Partition(
            own.annotations, own.quarantine, own.pulled, is_sealed=self.cycle < max(self.months, default="")
        )
        partitions = self.partitions()
        annotations, quarantine, pulled = nodes.pull_annotations(
            None, self, taken, partitions, before.answered, before.pulled, self.taxonomy, OPTIONS
        )
        changes, answered = nodes.collect_answers(
            annotations, partitions, self.sent(), before.answered, self.taxonomy, self.cycle
        )
        labels, quality = nodes.adjudicate_labels(changes, self.taxonomy, OPTIONS, self.cycle)
        digest = sha256(file_bytes(annotations)).hexdigest()
        report = nodes.report_ingest(
            annotations, answered, labels, quality, quarantine, pulled, changes, self.taxonomy, OPTIONS
        )
        return Ingested(annotations, quarantine, pulled, answered, labels, report, digest)

    def _send(self, pages):
        if self.cycle not in self.batches and self.cycle not in self.months:
            reasons = [("audit", 0.5, None), ("strategy", None, None), ("control", None, ["news"])]
            names = ("reason", "inclusion_probability", "known_values")
            self.batches[self.cycle] = [
                {"batch_id": f"b{self.cycle}", "page_id": page, "rank": rank, "answers_wanted": 2}
                | dict(zip(names, reasons[rank % 3], strict=True))
                for rank, page in enumerate(pages)
            ]

    def _answer(self, what):
        page, person, values, batch = what
        holding = [rows[0]["batch_id"] for rows in self.batches.values() if any(r["page_id"] == page for r in rows)]
        batch_id = holding[batch % len(holding)] if holding else "never sent"
        self._version(f"{batch_id}/{page}/{person}", page, person, batch_id, values=values)

    def _again(self, what):
        """Another version of an answer that is there: edited, skipped or deleted."""
        if self.shown:
            kind, at, values = what
            annotation_id = sorted(self.shown)[at % len(self.shown)]
            last = self.shown[annotation_id][-1]
            given = {"edit": {"values": values}, "skip": {"skipped": True}, "delete": {"deleted": True}}[kind]
            self._version(annotation_id, last["page_id"], last["annotator"], last["batch_id"], **given)

    def _version(self, annotation_id, page, person, batch_id, values=(), skipped=False, deleted=False):
        self.clock += 1
        row = {"annotation_id": annotation_id, "page_id": page, "annotator": person, "batch_id": batch_id}
        row |= {"values": list(values), "skipped": skipped, "deleted": deleted}
        row |= {"created_at": BEGIN, "updated_at": BEGIN + timedelta(hours=self.clock)}
        # A platform shows the newest version; a deletion it shows beside what was deleted.
        shown = self.shown.get(annotation_id, [])[-1:] if deleted else []
        self.shown[annotation_id] = [*shown, row]

    def _forget(self, at):
        """The platform no longer shows an answer that it showed."""
        if self.shown:
            del self.shown[sorted(self.shown)[at % len(self.shown)]]

    def _taxonomy(self, taxonomy):
        self.taxonomy = taxonomy

    def _older_version(self, _):
        self.months = {
            cycle: replace(month, answered=NOTHING.answered, pulled=NOTHING.pulled)
            for cycle, month in self.months.items()
        }

    def _erase(self, page):
        keep = pc.field("page_id") != page
        self.shown = {name: rows for name, rows in self.shown.items() if rows[0]["page_id"] != page}
        kept = {cycle: [row for row in rows if row["page_id"] != page] for cycle, rows in self.batches.items()}
        self.batches = {cycle: rows for cycle, rows in kept.items() if rows}
        names = ("annotations", "pulled", "answered", "labels")
        for cycle, month in self.months.items():
            self.months[cycle] = replace(month, **{name: getattr(month, name).filter(keep) for name in names})

    def _run_again(self, back):
        """Ingest an earlier month once more: the newest may have grown, an older one is sealed."""
        if self.months:
            now, self.cycle = self.cycle, sorted(self.months)[-1 - back % len(self.months)]
            if back % len(self.months):
                assert self.ingest().annotations.equals(self.months[self.cycle].annotations)
            self.ingest()
            self.cycle = now


def _with_cycle(table, cycle):
    return table.append_column("cycle", pa.array([cycle] * table.num_rows, pa.string()))


pages = st.sampled_from(PAGES)
values = st.sampled_from([("news",), ("sport",), ("tech",)])
events = st.one_of(
    st.tuples(st.just("send"), st.lists(pages, min_size=1, max_size=4, unique=True)),
    st.tuples(st.just("answer"), st.tuples(pages, st.sampled_from(PEOPLE), values, st.integers(0, 3))),
    st.tuples(st.just("answer"), st.tuples(pages, st.sampled_from(PEOPLE), values, st.integers(0, 3))),
    st.tuples(st.just("again"), st.tuples(st.sampled_from(["edit", "skip", "delete"]), st.integers(0, 9), values)),
    st.tuples(st.just("forget"), st.integers(0, 9)),
    st.tuples(st.just("taxonomy"), st.sampled_from([SINGLE, FEWER, MULTI])),
    st.tuples(st.just("older_version"), st.none()),
    st.tuples(st.just("erase"), pages),
    st.tuples(st.just("run_again"), st.integers(0, 2)),
)
months = st.lists(st.tuples(st.integers(1, 3), st.lists(events, max_size=6)), min_size=2, max_size=6)


@settings(max_examples=100, deadline=None)
@given(months)
def test_months_ingested_one_on_another_equal_months_ingested_from_the_whole_ledger(history):
    chain = Chain()
    for step, happened in history:
        chain.cycle = shift_cycle(chain.cycle, step)
        for event in happened:
            chain.happen(*event)
        found = chain.ingest()
        assert_concluded_from_everything(chain, found)


def assert_concluded_from_everything(chain, found):
    """The same by the rules of the domain, from all partitions and batches at once."""
    whole = pa.concat_tables([*(month.annotations for cycle, month in sorted(chain.months.items()))])
    everything = chain.pull().annotations
    assert new_versions(everything, whole).num_rows == 0
    sent = chain.sent().read(SENT.names)
    voting, checking = (valid_answers(part, chain.taxonomy) for part in split_controls(whole, sent))
    ledger, invalid = (pa.concat_tables(parts) for parts in zip(voting, checking, strict=True))
    labels = adjudicate(ledger, sent, chain.taxonomy, chain.cycle, OPTIONS.adjudication)
    assert found.labels.to_pylist() == labels.to_pylist()
    votes = Answers.of_ledger(voting[0], chain.taxonomy).votes()
    assert found.report["unresolved"] == len(votes.page_ids) - labels.num_rows
    alpha = votes.agreement(chain.taxonomy)
    assert (found.report["agreement"] is None) == (alpha is None)
    assert alpha is None or abs(found.report["agreement"] - alpha) < 1e-9
    assert found.report["answers_in_ledger"] == ledger.num_rows
    assert found.report["quarantined"] == invalid.num_rows
    unanswered = set(sent["page_id"].to_pylist()) - set(ledger["page_id"].to_pylist())
    assert found.report["pending"] == len(unanswered)


def test_a_month_without_news_opens_no_partition_and_no_batch():
    chain = Chain()
    chain.happen("send", ["a", "b"])
    chain.happen("answer", ("a", "x", ("news",), 0))
    first = chain.ingest()
    chain.cycle = "2026-02"
    partitions, batches = chain.partitions(), chain.sent()
    taken = Partition(NOTHING.annotations, NOTHING.quarantine, NOTHING.pulled, is_sealed=False)
    annotations, _, _ = nodes.pull_annotations(
        None, chain, taken, partitions, first.answered, first.pulled, SINGLE, OPTIONS
    )
    changes, _ = nodes.collect_answers(annotations, partitions, batches, first.answered, SINGLE, "2026-02")
    assert (annotations.num_rows, changes.n_kept, changes.why_anew) == (0, 2, None)
    assert not partitions.reads
    assert not batches.reads


def test_an_edited_answer_opens_the_partition_and_the_batch_that_hold_its_page():
    chain = Chain()
    for cycle, page in (("2026-01", "a"), ("2026-02", "b")):
        chain.cycle = cycle
        chain.happen("send", [page])
        chain.happen("answer", (page, "x", ("news",), 0))
        before = chain.ingest()
    chain.cycle = "2026-03"
    chain.happen("again", ("edit", 0, ("sport",)))
    partitions, batches = chain.partitions(), chain.sent()
    taken = Partition(NOTHING.annotations, NOTHING.quarantine, NOTHING.pulled, is_sealed=False)
    annotations, _, _ = nodes.pull_annotations(
        None, chain, taken, partitions, before.answered, before.pulled, SINGLE, OPTIONS
    )
    nodes.collect_answers(annotations, partitions, batches, before.answered, SINGLE, "2026-03")
    assert {file for file, _ in partitions.reads} == {"f/2026-01/a"}
    assert {file for file, _ in batches.reads} == {"f/2026-01/b"}


def two_months():
    chain = Chain()
    chain.batches["2026-02"] = [{"batch_id": "b2", "page_id": "c", "rank": 0, "reason": "strategy"}]
    for cycle, page in (("2026-01", "a"), ("2026-03", "b")):
        chain.cycle = cycle
        chain.happen("send", [page])
        chain.happen("answer", (page, "x", ("news",), 0))
        chain.ingest()
    chain.cycle = "2026-04"
    return chain


def test_a_partition_that_a_slow_run_committed_in_between_is_taken_into_account():
    chain = two_months()
    late = {"annotation_id": "b2/c/x", "page_id": "c", "annotator": "x", "batch_id": "b2", "values": ["tech"]}
    late |= {"skipped": False, "deleted": False, "created_at": BEGIN, "updated_at": BEGIN}
    table = pa.Table.from_pylist([late], ANNOTATIONS)
    chain.months["2026-02"] = replace(NOTHING, annotations=table, digest="late")
    labels = chain.ingest().labels
    assert dict(zip(labels["page_id"].to_pylist(), labels["values"].to_pylist(), strict=True))["c"] == ["tech"]


def test_a_lost_batch_reads_everything_again_and_says_so():
    chain = two_months()
    del chain.batches["2026-01"]
    report = chain.ingest().report
    assert report["all_read_because"] == "files that were read before are missing or changed"
    assert report["pages_kept"] == 0
