"""Whole runs on a tiny synthetic web."""

import json

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from al_platform.domain.cycles import shift_cycle
from temporary_project import CYCLE, make_project


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two months and a quarter of all three families; read only."""
    project = make_project(tmp_path_factory.mktemp("finished"))
    project.run("monthly")
    project.run("quarterly")
    project.run("monthly", cycle=shift_cycle(CYCLE, 1))
    return project


@pytest.mark.parametrize("family", ["topics", "brand_safety", "sentiment"])
def test_every_family_gets_from_nothing_to_a_verdict(finished, family):
    status = finished.status(family, CYCLE)
    assert status["pool"] == 300
    assert status["batch"]["total"] == 40 == sum(status["batch"]["by_reason"].values())
    assert 0 < status["annotated"] <= 40
    assert -1 <= status["agreement"] <= 1
    assert min(status["splits"][name] for name in ("train", "validation", "golden", "audit")) > 0
    assert status["verdict"] in {"promote", "iterate", "reject"}
    figure = status["metrics"]["macro_f1"]
    assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
    assert figure["set"] == "golden"
    assert figure["n"] == status["splits"]["golden"]


def test_without_a_champion_selection_is_a_cold_start_and_with_one_it_is_not(finished):
    assert "cold_start" in finished.status("topics", CYCLE)["batch"]["by_reason"]
    assert finished.status("topics", CYCLE)["champion"] is not None
    later = finished.status("topics", shift_cycle(CYCLE, 1))["batch"]["by_reason"]
    assert "strategy" in later
    assert "cold_start" not in later


def test_the_champion_that_scored_the_next_month_is_the_one_that_was_promoted(finished):
    predictions = finished.load("topics.predictions", shift_cycle(CYCLE, 1)).to_pyarrow()
    digests = set(predictions["model_digest"].to_pylist())
    assert digests == {finished.status("topics")["champion"]}


def test_no_page_is_sent_for_labelling_twice_but_those_that_are_asked_about_again(finished):
    batches = finished.load("topics.batches", shift_cycle(CYCLE, 1)).select(["page_id", "reason"])
    again = pc.is_in(batches["reason"], value_set=pa.array(["control", "relabel", "second_opinion"]))
    assert pc.any(again).as_py()
    batches = batches.filter(pc.invert(again))
    imported = finished.load("topics.imported_labels")
    strategy = batches.filter(pc.field("reason") != "audit")
    assert len(set(strategy["page_id"].to_pylist())) == strategy.num_rows
    assert not set(batches["page_id"].to_pylist()) & set(imported["page_id"].to_pylist())


def test_the_error_analysis_counts_exactly_the_errors_on_its_set(finished):
    analysis, dataset = finished.load("topics.error_analysis"), finished.load("topics.dataset")
    challenger = finished.load("topics.challenger").classifier
    golden = dataset.filter(pc.field("set") == "golden")
    decisions = challenger.decide(challenger.score(golden["text"].to_pylist()).probabilities)
    truth = challenger.config.taxonomy.encode(golden["values"].to_pylist())
    assert analysis["n_errors"] == int((truth != decisions).any(axis=1).sum())
    assert sum(confusion["n"] for confusion in analysis["confusions"]) == analysis["n_errors"]


def test_a_manifest_names_what_the_stage_read_and_with_which_parameters(finished):
    manifest = finished.head("topics", "selection")
    assert (
        manifest.inputs["topics.predictions"].sha256 == finished.head("topics", "scoring").outputs["predictions"].sha256
    )
    assert manifest.parameters["selection"]["budget"] == 40
    assert manifest.environment["kedro"]


def test_the_verdict_lists_where_the_environment_is_looser_than_production(finished):
    verdict = finished.load("topics.verdict")
    assert any("min_golden" in item for item in verdict["loosened"])


def test_status_is_json_of_the_promised_shape(finished):
    from click.testing import CliRunner

    from al_platform.cli import al

    runner = CliRunner()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(finished.path)
        result = runner.invoke(al, ["status", "--json", "--env", "test", "--cycle", CYCLE])
    assert result.exit_code == 0, result.output
    families = json.loads(result.output)["families"]
    assert set(families) == {"topics", "brand_safety", "sentiment"}
    topics = families["topics"]
    assert set(topics["splits"]) == {"train", "validation", "golden", "audit"}
    assert set(topics["batch"]) == {"total", "by_reason"}
    assert set(topics["metrics"]["macro_f1"]) == {"value", "low", "high", "n", "set"}
    assert isinstance(topics["verdict"], str)
    assert len(topics["champion"]) == 64


def test_running_everything_again_changes_no_byte_and_adds_no_log_entry(project):
    project.run("monthly")
    project.run("quarterly")
    before, lengths = project.state(), project.log_lengths()
    project.run("monthly")
    project.run("quarterly")
    assert project.state() == before
    assert project.log_lengths() == lengths


def test_only_missing_outputs_runs_nothing_where_all_is_committed(project):
    project.only("topics")
    project.run("monthly")
    ran = []

    class Watch:
        from kedro.framework.hooks import hook_impl

        @hook_impl
        def before_node_run(self, node):
            ran.append(node.name)

    project.run("monthly", hooks=(Watch(),), only_missing_outputs=True)
    assert ran == []


def test_a_filtered_run_that_lacks_nodes_of_a_stage_commits_nothing(project):
    project.only("topics")
    project.run("scoring")
    nodes = ("open_duel", "find_second_looks", "select_batch", "seal_batch")
    names = [f"topics.selection.{name}" for name in nodes]
    project.run("selection", node_names=names)
    assert project.head("topics", "scoring") is not None
    assert project.head("topics", "selection") is None
    assert not list((project.path / "data/test/labels/topics" / CYCLE).rglob("attempts/*/*"))


def test_a_stage_of_one_family_runs_by_its_namespace(project):
    project.run("scoring", namespaces=["topics.scoring"])
    assert project.head("topics", "scoring") is not None
    assert project.head("sentiment", "scoring") is None


def test_a_new_budget_does_not_change_a_batch_that_was_sent(project):
    project.only("topics")
    project.run("monthly")
    sent = project.load("topics.batch")
    project.run("monthly", parameters={"topics": {"selection": {"budget": 30}}})
    assert project.load("topics.batch").equals(sent)


def test_an_earlier_cycle_that_later_ones_built_on_is_sealed(project):
    project.only("topics")
    project.run("monthly")
    project.run("monthly", cycle=shift_cycle(CYCLE, 1))
    before = project.state()
    project.run("monthly")
    assert project.state() == before


def test_quarterly_before_monthly_says_what_to_run(project):
    project.only("topics")
    with pytest.raises(Exception, match=f"preparation.*--params cycle={CYCLE}"):
        project.run("quarterly")
