"""Months prepared one on another, against the same months made anew from everything there is."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st
from tables_in_files import TablesInMemory

from al_platform.catalog.formats import format_named
from al_platform.catalog.history import with_cycle
from al_platform.domain.cycles import shift_cycle
from al_platform.domain.near_duplicates import NearDuplicateOptions
from al_platform.domain.pages import page_text
from al_platform.domain.splits import SplitOptions
from al_platform.domain.taxonomy import Taxonomy
from al_platform.domain.text import CleaningOptions, cut_text, reason_to_drop
from al_platform.pipelines.preparation import nodes
from al_platform.pipelines.preparation.options import PreparationOptions
from al_platform.schemas import BATCH, DATASET, DROPPED, IMPORTED_LABELS, LABELS, SPLIT_LEDGER, conform

START = "2026-01"
PAGES = "abcdef"
TEXTS = (
    *(
        "",
        "<br/>",
        "one",
        "three good words",
        "four more good words",
        "<b>bold</b> and plain words",
        "a &amp;lt; b c d",
    ),
    *(
        "<bbbbbbbbbbbbbbbbbbbbbbbbbbb>",
        "two words<brrrrrrrrrrrrrrrrrr>",
        "\u00e9t\u00e9 \U0001f600 and some more of it",
    ),
)
SINGLE = Taxonomy(task="single", labels=("news", "sport", "tech"))
FEWER = Taxonomy(task="single", labels=("news", "sport"))
OPTIONS = (
    PreparationOptions(cleaning=CleaningOptions(), splits=SplitOptions(validation_min=2)),
    PreparationOptions(cleaning=CleaningOptions(min_words=2, max_chars=12), splits=SplitOptions(validation_min=2)),
    PreparationOptions(cleaning=CleaningOptions(min_words=1, max_chars=3), splits=SplitOptions(validation_min=2)),
)
NEAR = NearDuplicateOptions()


@dataclass(frozen=True)
class Prepared:
    """What one month made."""

    dataset: pa.Table
    quarantine: pa.Table
    ledger: pa.Table
    card: dict


NOTHING = Prepared(DATASET.empty_table(), DROPPED.empty_table(), SPLIT_LEDGER.empty_table(), {})


@dataclass
class World:
    """Everything that preparation reads."""

    cycle: str = START
    imports: dict = field(default_factory=dict)
    batches: dict = field(default_factory=dict)
    labels: dict = field(default_factory=dict)
    taxonomy: Taxonomy = SINGLE
    options: PreparationOptions = OPTIONS[0]

    def imported(self):
        tables = {file: pa.Table.from_pylist(rows, IMPORTED_LABELS) for file, rows in self.imports.items()}
        return TablesInMemory(tables, IMPORTED_LABELS)

    def sent(self):
        cycles = [cycle for cycle in sorted(self.batches) if cycle <= self.cycle]
        schema = with_cycle(BATCH)
        tables = {
            f"f/{c}/b": pa.Table.from_pylist([{**r, "cycle": c} for r in self.batches[c]], schema) for c in cycles
        }
        return TablesInMemory(tables, schema)

    def concluded(self):
        return conform(pa.Table.from_pylist([self.labels[page] for page in sorted(self.labels)], LABELS), LABELS, "x")

    def prepare(self, rows_before, ledger_before, imported=None, sent=None):
        labelled, kept, labels_before = nodes.merge_labels(
            self.concluded(),
            imported or self.imported(),
            sent or self.sent(),
            rows_before.dataset,
            rows_before.quarantine,
            self.taxonomy,
            self.options,
        )
        cleaned, quarantine = nodes.clean_pages(labelled, kept)
        groups = nodes.group_near_duplicates(cleaned, NEAR)
        ledger = nodes.assign_sets(cleaned, groups, ledger_before, self.options, NEAR, self.cycle)
        dataset = nodes.assemble_dataset(cleaned, groups, ledger, kept)
        card = nodes.describe_dataset(dataset, labels_before, quarantine, self.taxonomy)
        return Prepared(dataset, quarantine, ledger, card), kept


def imported_row(page, values, text):
    return {"page_id": page, "values": values, "title": None, "text": text, "domain": f"{page}.org", "language": "en"}


def sent_row(page, text, rank, title=None):
    base = {"batch_id": "b", "page_id": page, "rank": rank, "reason": "strategy"}
    return {**base, "title": title, "text": text, "domain": f"{page}.com", "language": "de"}


def label_row(page, values, cycle, reason="strategy", probability=None):
    base = {"page_id": page, "values": values, "source": "annotated", "cycle": cycle, "reason": reason}
    return {**base, "inclusion_probability": probability, "n_annotations": 1}


def made_anew(world):
    """What the rows should be, page by page, from everything: the rules written once more."""
    rows, given = {}, {}
    for row in [row for file in world.imports.values() for row in file]:
        older = rows.get(row["page_id"], {"text": ""})
        text = page_text(row["title"], row["text"]) or older["text"]
        rows[row["page_id"]] = {"values": row["values"], "source": "imported", "text": text, "domain": row["domain"]}
        given.setdefault(row["page_id"], set()).add(tuple(row["values"]))
    shown = {row["page_id"]: row for c in sorted(world.batches) if c <= world.cycle for row in world.batches[c]}
    for page, label in world.labels.items():
        row = shown.get(page, {"title": None, "text": None, "domain": None})
        text = page_text(row["title"], row["text"]) or rows.get(page, {"text": ""})["text"]
        rows[page] = {"values": label["values"], "source": "annotated", "text": text, "domain": row["domain"]}
        given.setdefault(page, set()).add(tuple(label["values"]))
    usable, dropped = {}, {}
    for page, row in rows.items():
        text = cut_text(row["text"], world.options.cleaning)
        problem = world.taxonomy.problem(row["values"])
        reason = "label_outside_taxonomy" if problem else reason_to_drop(text, world.options.cleaning)
        if reason:
            dropped[page] = reason
        else:
            usable[page] = {**row, "text": text}
    return usable, dropped, sum(len(values) > 1 for values in given.values())


pages = st.sampled_from(PAGES)
texts = st.one_of(st.sampled_from(TEXTS), st.none())
values = st.sampled_from([["news"], ["sport"], ["tech"]])
several = st.lists(st.tuples(pages, values, texts), min_size=1, max_size=3, unique_by=lambda row: row[0])
events = st.one_of(
    st.tuples(st.just("import"), several),
    st.tuples(st.just("send"), several),
    st.tuples(st.just("send_late"), several),
    st.tuples(st.just("label"), several),
    st.tuples(st.just("label"), several),
    st.tuples(st.just("delete_label"), pages),
    st.tuples(st.just("erase"), pages),
    st.tuples(st.just("taxonomy"), st.sampled_from([SINGLE, FEWER])),
    st.tuples(st.just("options"), st.sampled_from(OPTIONS)),
    st.tuples(st.just("older_version"), st.none()),
    st.tuples(st.just("lose_import"), st.none()),
    st.tuples(st.just("run_again"), st.none()),
)
months = st.lists(st.tuples(st.integers(1, 3), st.lists(events, max_size=5)), min_size=2, max_size=6)


class Chain:
    """A world, and every month that was prepared in it, each on the one before."""

    def __init__(self):
        self.world = World()
        self.prepared = {}
        self.n_imports = 0

    def before(self):
        earlier = [cycle for cycle in sorted(self.prepared) if cycle < self.world.cycle]
        return self.prepared[earlier[-1]] if earlier else NOTHING

    def happen(self, kind, what):
        getattr(self, f"_{kind}")(what)

    def prepare(self):
        """Prepare the month both ways, and return what the increments made after comparing."""
        before = self.before()
        found, kept = self.world.prepare(before, before.ledger)
        anew, _ = self.world.prepare(replace(before, dataset=_without_basis(before.dataset)), before.ledger)
        assert_equal_bytes(found, anew)
        self.prepared[self.world.cycle] = read_back(found)
        return found, kept

    def _import(self, rows):
        self.n_imports += 1  # names hold a digest: none comes twice
        name = f"f/imported/{len(self.world.imports) + 1:04d}-{self.n_imports}"
        self.world.imports[name] = [imported_row(*row) for row in rows]

    def _send(self, rows):
        if self.world.cycle not in self.world.batches:
            self.world.batches[self.world.cycle] = [
                sent_row(page, text, rank) for rank, (page, _, text) in enumerate(rows)
            ]

    def _send_late(self, rows):
        cycle = shift_cycle(self.world.cycle, -1)
        if cycle not in self.world.batches:
            self.world.batches[cycle] = [
                sent_row(page, text, rank, title="late") for rank, (page, _, text) in enumerate(rows)
            ]

    def _label(self, rows):
        for page, answer, text in rows:
            probability = None if text is None else len(text) / 100
            self.world.labels[page] = label_row(page, answer, self.world.cycle, probability=probability)

    def _delete_label(self, page):
        self.world.labels.pop(page, None)

    def _erase(self, page):
        world = self.world
        for files in (world.imports, world.batches):
            for file, rows in files.items():
                files[file] = [row for row in rows if row["page_id"] != page]
        world.labels.pop(page, None)
        keep = pc.field("page_id") != page
        self.prepared = {
            cycle: Prepared(*(table.filter(keep) for table in (old.dataset, old.quarantine, old.ledger)), old.card)
            for cycle, old in self.prepared.items()
        }

    def _taxonomy(self, taxonomy):
        self.world.taxonomy = taxonomy

    def _options(self, options):
        self.world.options = options

    def _older_version(self, _):
        self.prepared = {
            cycle: replace(
                old,
                dataset=_without_basis(old.dataset).select(DATASET.names[:-1]),
                quarantine=old.quarantine.select(["page_id", "reason", "detail"]),
            )
            for cycle, old in self.prepared.items()
        }

    def _lose_import(self, _):
        if self.world.imports:
            del self.world.imports[sorted(self.world.imports)[-1]]

    def _run_again(self, _):
        """Prepare the newest month once more; what changed since then changes it too."""
        if self.prepared:
            now, self.world.cycle = self.world.cycle, max(self.prepared)
            self.prepare()
            self.world.cycle = now


def _without_basis(dataset):
    return dataset.replace_schema_metadata(None)


def read_back(prepared):
    """The same, as it comes out of Parquet files."""
    return replace(prepared, dataset=_stored(prepared.dataset), quarantine=_stored(prepared.quarantine))


def _stored(table):
    return pq.read_table(pa.BufferReader(file_bytes(table)))


def file_bytes(table):
    with TemporaryDirectory() as folder:
        file = Path(folder) / "table.parquet"
        format_named("parquet").dump(table, file)
        return file.read_bytes()


def assert_equal_bytes(found, expected):
    for name in ("dataset", "quarantine", "ledger"):
        assert getattr(found, name).to_pylist() == getattr(expected, name).to_pylist(), name
        assert file_bytes(getattr(found, name)) == file_bytes(getattr(expected, name)), name
    assert found.card == expected.card


@settings(max_examples=100, deadline=None)
@given(months)
def test_months_prepared_one_on_another_equal_months_made_anew_byte_for_byte(history):
    chain = Chain()
    for step, happened in history:
        chain.world.cycle = shift_cycle(chain.world.cycle, step)
        for event in happened:
            chain.happen(*event)
        found, _ = chain.prepare()
        usable, dropped, conflicts = made_anew(chain.world)
        rows = {row["page_id"]: row for row in found.dataset.to_pylist()}
        assert {page: {name: row[name] for name in usable[page]} for page, row in rows.items()} == usable
        assert dict(zip(*(found.quarantine[n].to_pylist() for n in ("page_id", "reason")), strict=True)) == dropped
        assert found.card["label_conflicts"] == conflicts
