"""Which files and columns of the store ingest and preparation open in a month, and what comes of it."""

import json
import shutil
from collections import defaultdict

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from kedro.framework.hooks import hook_impl

from al_platform.catalog import stored_table
from al_platform.domain.adjudication import SENT, AdjudicationOptions, adjudicate, split_controls
from al_platform.domain.annotations import valid_answers
from al_platform.domain.answered import of_these_rules
from al_platform.domain.cycles import shift_cycle
from al_platform.domain.errors import StoreError
from al_platform.domain.taxonomy import Taxonomy
from al_platform.domain.votes import Answers
from al_platform.pipelines.preparation.nodes import clean_pages, merge_labels
from al_platform.pipelines.preparation.options import PreparationOptions
from al_platform.schemas import DATASET, DROPPED
from al_platform.storage.store import LocalStore
from temporary_project import CYCLE, Project, make_project

SECOND, THIRD = shift_cycle(CYCLE, 1), shift_cycle(CYCLE, 2)


class Watch:
    """Writes down, by stage, every file that is fetched from the store, and every column that is read of it."""

    def __init__(self, monkeypatch):
        self.fetched, self.columns, self.texts = defaultdict(set), defaultdict(set), defaultdict(set)
        self._stage = "none"
        local, read = LocalStore.local, stored_table._read

        def watched_local(store, path):
            self.fetched[self._stage].add(path)
            return local(store, path)

        def watched_read(file, path, columns, page_ids, engine):
            self.columns[self._stage, path].update(columns)
            if "text" in columns:
                self.texts[self._stage].update(["every page"] if page_ids is None else page_ids.to_pylist())
            return read(file, path, columns, page_ids, engine)

        monkeypatch.setattr(LocalStore, "local", watched_local)
        monkeypatch.setattr(stored_table, "_read", watched_read)

    @hook_impl
    def before_dataset_loaded(self, node):
        self._stage = node.namespace.rpartition(".")[2]

    def brought(self, stage):
        """Batches and imported files that the stage fetched."""
        return {path for path in self.fetched[stage] if "/sealed/" in path or "/imported/" in path}


@pytest.fixture(scope="module")
def months(tmp_path_factory):
    """Three months of one family, and what the third read."""
    project = make_project(tmp_path_factory.mktemp("months"))
    project.only("topics")
    project.run("monthly")
    project.run("monthly", cycle=SECOND)
    with pytest.MonkeyPatch.context() as patch:
        watch = Watch(patch)
        project.run("monthly", cycle=THIRD, hooks=(watch,))
    return project, watch


def test_preparation_opens_this_months_batch_alone(months):
    _, watch = months
    assert watch.brought("preparation") == {f"topics/{THIRD}/selection/sealed/batch.parquet"}


def test_preparation_keeps_the_pages_of_earlier_months_and_says_how_many(months):
    project, _ = months
    first, third = (project.load("topics.preparation_report", cycle) for cycle in (CYCLE, THIRD))
    assert (first["pages_kept"], third["all_read_because"]) == (0, None)
    assert "no data set of an earlier cycle" in first["all_read_because"]
    assert third["pages_read"] <= 42 < 200 < third["pages_kept"]


def asked_again(project, cycle):
    """Return the pages of a batch that are asked about again, and the earlier batches that hold them."""
    batch = project.load("topics.batch", cycle)
    again = batch.filter(pc.is_in(batch["reason"], value_set=pa.array(["control", "relabel", "second_opinion"])))
    before = project.load("topics.batches_before", cycle)
    cycles = before.read(["page_id", "cycle"], again["page_id"])["cycle"].to_pylist()
    return set(again["page_id"].to_pylist()), {f"topics/{each}/selection/sealed/batch.parquet" for each in cycles}


def test_ingest_opens_this_months_batch_and_those_of_pages_asked_about_again_and_none_of_their_texts(months):
    project, watch = months
    columns = {path: read for (stage, path), read in watch.columns.items() if stage == "annotation_ingest"}
    batches = {path for path in columns if path.endswith("/batch.parquet")}
    _, earlier = asked_again(project, THIRD)
    assert batches == {f"topics/{THIRD}/selection/sealed/batch.parquet", *earlier}
    assert not set.union(*columns.values()) & {"text", "title", "url"}


def test_ingest_keeps_the_pages_of_earlier_months_and_says_how_many(months):
    project, _ = months
    first, third = (project.load("topics.annotation_ingest_report", cycle) for cycle in (CYCLE, THIRD))
    assert (first["pages_kept"], third["all_read_because"]) == (0, None)
    assert "no earlier cycle" in first["all_read_because"]
    known, again = project.load("topics.answered_pages", SECOND), asked_again(project, THIRD)[0]
    assert third["pages_kept"] == known.num_rows - len({*known["page_id"].to_pylist()} & again)


def test_labels_that_built_on_others_equal_those_of_the_whole_ledger(months):
    project, _ = months
    partitions = [project.load("topics.annotations", cycle) for cycle in (CYCLE, SECOND, THIRD)]
    taxonomy = Taxonomy.model_validate(project.loader["parameters"]["topics"]["taxonomy"])
    ledger, _ = valid_answers(pa.concat_tables(partitions), taxonomy)
    sent = project.load("topics.batches", THIRD).read(SENT.names)
    votes = Answers.of_ledger(split_controls(ledger, sent)[0], taxonomy).votes()
    labels = project.load("topics.labels", THIRD)
    report = project.load("topics.annotation_ingest_report", THIRD)
    assert labels.to_pylist() == adjudicate(ledger, sent, taxonomy, THIRD, AdjudicationOptions()).to_pylist()
    assert report["agreement"] == pytest.approx(votes.agreement(taxonomy), abs=1e-12)
    assert report["answers_in_ledger"] == ledger.num_rows


def test_selection_reads_texts_of_no_known_page_but_those_that_it_asks_about_again(months):
    project, watch = months
    again, _ = asked_again(project, THIRD)
    assert again
    assert watch.texts["selection"] == again


def test_a_month_that_built_on_others_equals_one_made_anew(months):
    project, _ = months
    committed = (project.load(f"topics.{name}", THIRD) for name in ("dataset", "quarantine"))
    sources = [project.load(f"topics.{name}", THIRD) for name in ("labels", "imported_labels", "batches")]
    parameters = project.loader["parameters"]["topics"]
    taxonomy = Taxonomy.model_validate(parameters["taxonomy"])
    options = PreparationOptions.model_validate(parameters["preparation"])
    labelled, kept, _ = merge_labels(*sources, DATASET.empty_table(), DROPPED.empty_table(), taxonomy, options)
    cleaned, quarantine = clean_pages(labelled, kept)
    dataset, dropped = committed
    assert kept.changed is None
    assert dataset.select(cleaned.column_names).to_pylist() == cleaned.to_pylist()
    assert dropped.to_pylist() == quarantine.to_pylist()


def test_the_manifest_names_every_batch_and_import_that_the_data_set_rests_on(months):
    project, _ = months
    first, third = (project.head("topics", "preparation", cycle).inputs for cycle in (CYCLE, THIRD))
    cycles = [file.path.split("/")[1] for file in third["topics.batches"].files]
    assert cycles == [CYCLE, SECOND, THIRD]
    assert third["topics.imported_labels"] == first["topics.imported_labels"]
    assert {"topics.previous_dataset", "topics.previous_quarantine"} <= third.keys()


def test_another_cleaning_reads_everything_again_and_says_why(months, tmp_path):
    project = copy_of(months, tmp_path)
    project.run("preparation", cycle=THIRD, parameters={"topics": {"preparation": {"cleaning": {"min_words": 4}}}})
    report = project.load("topics.preparation_report", THIRD)
    assert report["all_read_because"] == "cleaning changed"
    assert report["pages_kept"] == 0


def test_a_file_that_was_changed_by_hand_is_found_when_it_is_opened(months, tmp_path):
    project = copy_of(months, tmp_path)
    (file,) = (project.path / "data/test/labels/topics/imported").iterdir()
    file.write_bytes(file.read_bytes() + b" ")
    project.run("preparation", cycle=THIRD)
    with pytest.raises(StoreError, match="was changed after it was written"):
        project.load("topics.imported_labels", THIRD).select(["text"])


def test_a_corrected_answer_opens_the_batch_that_it_answers_and_no_imported_file(months, tmp_path, monkeypatch):
    project, fourth = copy_of(months, tmp_path), shift_cycle(CYCLE, 3)
    inbox = project.path / "data/test/labels/topics/platform/simulated/inbox"
    line = (inbox / f"topics-{CYCLE}-1.jsonl").read_text().splitlines()[0]
    page_id = json.loads(line)["data"]["page_id"]
    (inbox / "later.jsonl").write_text(corrected(line, "tech") + "\n")
    watch = Watch(monkeypatch)
    project.run("monthly", cycle=fourth, hooks=(watch,))
    row = project.load("topics.dataset", fourth).filter(pc.field("page_id") == page_id).to_pylist()
    assert [each["values"] for each in row] == [["tech"]]
    opened = {path.split("/")[1] for path in watch.brought("preparation")}
    assert {CYCLE, fourth} <= opened
    assert "imported" not in opened
    read = {path.split("/")[1] for stage, path in watch.columns if stage == "annotation_ingest"}
    again = {path.split("/")[1] for path in asked_again(project, fourth)[1]}
    assert read == {CYCLE, fourth, *again}


def corrected(line, label):
    """The same task, every answer of which is now this label."""
    task = json.loads(line)
    for answer in task["annotations"]:
        answer["updated_at"] = "2027-02-01T00:00:00+00:00"
        for result in answer["result"]:
            result["value"]["choices"] = [label]
    return json.dumps(task)


def copy_of(months, path):
    project, _ = months
    shutil.copytree(project.path, path / "copy")
    return Project(path / "copy")


# what is asked about again


def test_a_later_month_asks_again_within_its_budget(months):
    project, _ = months
    first, third = (project.load("topics.batch", cycle) for cycle in (CYCLE, THIRD))
    assert first.num_rows == third.num_rows == 40
    assert not {"control", "relabel", "second_opinion"} & {*first["reason"].to_pylist()}
    again = third.filter(pc.is_in(third["reason"], value_set=pa.array(["control", "relabel", "second_opinion"])))
    assert 4 <= again.num_rows <= 6
    assert again["inclusion_probability"].null_count == again.num_rows
    assert all(again["text"].to_pylist())


def test_control_pages_check_annotators_and_nothing_else(months):
    project, _ = months
    controls = set()
    for cycle in (SECOND, THIRD):
        batch = project.load("topics.batch", cycle)
        controls |= {row["page_id"] for row in batch.to_pylist() if row["reason"] == "control"}
    dataset, labels = project.load("topics.dataset", THIRD), project.load("topics.labels", THIRD)
    assert controls
    assert not controls & {*labels["page_id"].to_pylist()}
    rows = [row for row in dataset.to_pylist() if row["page_id"] in controls]
    assert {row["set"] for row in rows} == {"golden"}
    figures = project.load("topics.annotation_ingest_report", THIRD)["annotators"].values()
    # Every control page is answered or skipped by three.
    answered = sum(each["checks"] for each in figures)
    assert 2 * len(controls) <= answered <= 3 * len(controls)
    assert sum(each["checks_right"] for each in figures) > answered / 2


def test_the_careful_simulated_annotator_is_told_from_the_careless(months):
    project, _ = months
    figures = project.load("topics.annotation_ingest_report", THIRD)["annotators"]
    quality = {name: each["quality"] for name, each in figures.items()}
    assert quality["simulated-1"] > quality["simulated-5"]


def test_every_round_of_answered_batches_is_complete(months):
    project, _ = months
    rounds = project.load("topics.annotation_ingest_report", THIRD)["rounds"]
    assert list(rounds) == [CYCLE, SECOND, THIRD]
    assert all(each["complete"] == each["pages"] for each in rounds.values())


def test_labels_in_doubt_are_answered_and_counted(months):
    project, _ = months
    found = project.load("topics.annotation_ingest_report", THIRD)["relabelled"]
    batches = [project.load("topics.batch", cycle) for cycle in (SECOND, THIRD)]
    asked = sum(batch["reason"].to_pylist().count("relabel") for batch in batches)
    assert found["asked"] == found["answered"] == asked
    assert 0 <= found["fixed"] <= asked


def test_what_an_earlier_version_knew_of_answers_asks_nothing_again():
    older = pa.table({"page_id": ["a"], "votes": [[1, 0]]}).replace_schema_metadata({"al_platform.answered": "{}"})
    assert of_these_rules(older).num_rows == 0
