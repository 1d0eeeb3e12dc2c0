"""What a model came from, and where a page was used."""

import json
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner
from quarters import FIRST, SECOND, THIRD, data, files_with
from rich.console import Console

from al_platform.catalog.champion import champion_log
from al_platform.cli import UserErrors
from al_platform.domain.errors import ConfigError, NotReadyError
from al_platform.lineage.cli import lineage
from al_platform.lineage.picture import lineage_svg
from al_platform.lineage.render import print_lineage
from al_platform.lineage.stores import SearchedStores
from al_platform.lineage.trace import model_lineage
from al_platform.lineage.trained import trainings
from al_platform.lineage.uses import page_uses
from al_platform.storage.store import open_store


@pytest.fixture(scope="module")
def first(quarters):
    """Digest of the first champion."""
    return champion_log(open_store(quarters.loader.root("champion")), "topics")[0].model_digest


@pytest.fixture(scope="module")
def of_first(quarters, first):
    return model_lineage(quarters.loader, first)


@pytest.fixture(scope="module")
def of_second(quarters):
    return model_lineage(quarters.loader, "topics")


def titles(found):
    return {node.title for node in found.nodes}


def call(project, monkeypatch, *arguments):
    monkeypatch.chdir(project.path)
    group = UserErrors(commands=[lineage])
    return CliRunner().invoke(group, ["lineage", *arguments, "--env", "test"])


def test_the_lineage_of_a_champion_reaches_both_batches_the_labels_and_who_gave_them(of_first):
    assert {f"batch {FIRST}", f"batch {SECOND}", f"labels {FIRST}", f"labels {SECOND}"} <= titles(of_first)
    assert {f"dataset {SECOND}", f"training {SECOND}", "imported labels in topics/imported"} <= titles(of_first)
    assert set(of_first.annotators) == {f"simulated-{number}" for number in range(1, 6)}


def test_the_answers_of_annotators_are_counted_once_each(quarters, of_first):
    ledger = [quarters.load("topics.annotations", cycle) for cycle in (FIRST, SECOND)]
    names = [name for table in ledger for name in table["annotator"].to_pylist()]
    assert of_first.annotators == {name: names.count(name) for name in sorted(set(names))}


def test_the_verdict_the_promotion_and_the_champion_log_belong_to_the_lineage(of_first):
    assert {f"evaluation {SECOND}", f"promotion {SECOND}", "champion 1"} <= titles(of_first)
    evaluation = next(node for node in of_first.nodes if node.kind == "evaluation")
    assert evaluation.facts["verdict"] == "promote"


def test_a_later_batch_leads_to_the_model_that_selected_it(of_second, first):
    edges = {(edge.source, edge.what): edge.target for edge in of_second.edges}
    batch = f"topics/{THIRD}/selection/sealed/batch.parquet"
    champion = edges[edges[batch, "predictions"], "champion"]
    assert edges[champion, "model"] == first
    assert f"training {SECOND}" in titles(of_second)


def test_each_thing_is_there_once_and_every_digest_of_an_untouched_store_fits(of_second):
    ids = [node.id for node in of_second.nodes]
    assert len(ids) == len(set(ids))
    assert not of_second.damaged
    assert {file.state for node in of_second.nodes for file in node.files} <= {"intact", "unrecorded"}


def test_a_run_tells_its_code_parameters_and_times(quarters, of_first):
    manifest = quarters.head("topics", "training", SECOND)
    run = next(node.run for node in of_first.nodes if node.kind == "training")
    assert (run.run_id, run.started_at, run.ended_at) == (manifest.run_id, manifest.started_at, manifest.ended_at)
    assert (run.log_entry, len(run.parameters_sha256)) == (1, 64)


def test_a_tampered_dataset_is_shown_and_the_command_ends_with_1(own, first, monkeypatch):
    file = next(data(own).glob(f"datasets/topics/{SECOND}/preparation/attempts/*/dataset.parquet"))
    file.write_bytes(file.read_bytes() + b"x")
    result = call(own, monkeypatch, first[:12])
    assert result.exit_code == 1
    assert "ALTERED: datasets" in result.output
    assert "dataset.parquet" in result.output


def test_an_entry_of_the_champions_log_is_compared_with_what_the_audit_log_announced(own, of_first, first):
    (entry,) = (node for node in of_first.nodes if node.kind == "champion")
    assert [file.state for file in entry.files] == ["intact"]
    file = data(own) / "champion" / entry.id
    file.write_text(file.read_text().replace('"reason": "gate"', '"reason": "ada"'))
    (damaged,) = model_lineage(own.loader, first).damaged
    assert (damaged.path, damaged.state) == (entry.id, "altered")


def test_a_missing_file_a_missing_manifest_and_a_changed_model_are_shown_not_raised(own, first):
    next(data(own).glob(f"labels/topics/{FIRST}/annotation_ingest/attempts/*/annotations.parquet")).unlink()
    next(data(own).glob(f"datasets/topics/{SECOND}/scoring/attempts/*/manifest.json")).unlink()
    weights = data(own) / "models/topics/by_digest" / first / "config.json"
    weights.write_bytes(weights.read_bytes() + b" ")
    damaged = {(file.path.rpartition("/")[2], file.state) for file in model_lineage(own.loader, first).damaged}
    assert damaged == {("annotations.parquet", "missing"), ("manifest.json", "missing"), (first, "altered")}


def test_the_command_ends_with_0_and_prints_json_that_holds_the_graph(quarters, monkeypatch, first):
    result = call(quarters, monkeypatch, first, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["nodes"][0]["id"] == first == found["model_digest"]
    assert {"source", "target", "what"} == set(found["edges"][0])


def test_a_superseded_training_is_found_by_its_digest_and_the_newest_by_the_family(own, of_second):
    own.run("training", cycle=THIRD, parameters={"topics": {"training": {"seed": 7}}})
    newest = model_lineage(own.loader, "topics").model_digest
    assert newest != of_second.model_digest
    assert model_lineage(own.loader, of_second.model_digest).nodes[0].id == of_second.model_digest
    assert len(trainings(SearchedStores.of(own.loader))) == 3


def test_a_dataset_that_a_re_run_found_equal_is_followed_to_the_committed_one(own, first):
    own.run("preparation", "training", cycle=SECOND, parameters={"topics": {"training": {"seed": 7}}})
    assert own.log_lengths()[str(data(own) / f"datasets/topics/{SECOND}/preparation/log")] == 1
    found = model_lineage(own.loader, "topics")
    assert found.model_digest != first
    assert not found.damaged
    assert {f"dataset {SECOND}", f"batch {FIRST}"} <= titles(found)


def test_an_unknown_model_and_an_ambiguous_beginning_are_errors_that_list_what_there_is(own, first):
    with pytest.raises(ConfigError, match=f"(?s)no model 'xyz'.*{first[:12]}"):
        model_lineage(own.loader, "xyz")
    twin = data(own) / "models/topics/by_digest" / (first[:10] + "0" * 54)
    twin.mkdir()
    (twin / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="2 begin like that"):
        model_lineage(own.loader, first[:10])


def test_a_family_without_a_model_is_told_to_train_one(project):
    with pytest.raises(NotReadyError, match="quarterly"):
        model_lineage(project.loader, "topics")


def test_the_picture_is_xml_that_escapes_what_comes_from_outside(of_first):
    hostile = of_first.model_copy(update={"annotators": {"<script>&\x0b\ud800\"'": 3, "José 日本": 1}})
    svg = ET.fromstring(lineage_svg(hostile))
    texts = [element.text or "" for element in svg.iter()]
    assert not [element for element in svg.iter() if element.tag.endswith("script")]
    assert any("<script>&" in text for text in texts)
    assert any("José 日本" in text for text in texts)
    assert sum(element.tag.endswith("}g") for element in svg.iter()) == len(of_first.nodes)


def test_the_picture_is_written_and_names_nothing_on_a_network(quarters, monkeypatch, tmp_path, first):
    result = call(quarters, monkeypatch, first, "--picture", str(tmp_path / "x.svg"))
    assert result.exit_code == 0, result.output
    text = (tmp_path / "x.svg").read_text()
    assert text.count("http") == 1  # the name of SVG's namespace
    assert "href" not in text


def test_names_from_outside_send_no_escape_sequence_to_the_terminal(of_first):
    console = Console(record=True, width=200)
    print_lineage(of_first.model_copy(update={"annotators": {"\x1b]0;owned\x07[bold]": 1}}), console)
    text = console.export_text()
    assert "\x1b" not in text
    assert "[bold]" in text


@pytest.mark.parametrize("name", ["train", "audit", "validation"])
def test_a_labelled_page_is_found_in_every_file_that_holds_it(quarters, pages, name):
    page_id = pages.annotated(name)
    found = {f"{use.data_class}/{use.path}" for use in page_uses(quarters.loader, page_id) if not use.is_of_model}
    assert found == files_with(quarters, page_id)
    assert len(found) >= 9


def test_a_page_among_the_mistakes_is_found_in_the_error_analysis(quarters, pages):
    uses = page_uses(quarters.loader, pages.mistaken)
    assert "error analysis" in {use.role for use in uses}
    found = {f"{use.data_class}/{use.path}" for use in uses if not use.is_of_model}
    assert found == files_with(quarters, pages.mistaken)


@pytest.mark.parametrize(
    ("name", "role"), [("train", "trained on"), ("validation", "validated on"), ("audit", "tested on")]
)
def test_the_models_that_saw_a_page_are_told_with_what_for_and_which_is_champion(quarters, pages, first, name, role):
    models = [use for use in page_uses(quarters.loader, pages.annotated(name)) if use.is_of_model]
    assert {use.role for use in models} == {role}
    assert (first, SECOND) in {(use.path.rpartition("/")[2], use.cycle) for use in models}
    newest = champion_log(open_store(quarters.loader.root("champion")), "topics")[-1].model_digest
    assert [use.path.rpartition("/")[2] for use in models if use.detail == "champion now"] == [newest]


def test_the_command_shows_the_uses_of_a_page_and_its_set(quarters, pages, monkeypatch):
    result = call(quarters, monkeypatch, "--page", pages.annotated("train"))
    assert result.exit_code == 0, result.output
    assert "sealed batch, topics" in result.output
    assert "set train" in result.output
    assert "trained on, topics" in result.output


def test_a_command_without_model_and_page_says_what_to_give(quarters, monkeypatch):
    result = call(quarters, monkeypatch)
    assert result.exit_code == 2
    assert "Give a MODEL" in result.output
