import typing

import pytest
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from pydantic import BaseModel

from al_platform.catalog.outputs import StageOutput, StoreDataset
from al_platform.pipeline_registry import register_pipelines
from al_platform.stages import STAGES


@pytest.fixture
def context(project):
    bootstrap_project(project.path)
    with KedroSession.create(project.path, env="test", runtime_params={"cycle": "2026-10"}) as session:
        yield session.load_context()


def test_monthly_quarterly_and_every_job_and_stage_are_registered(context):
    jobs = {"monthly", "quarterly", "select", "ingest", "train"}
    assert set(pipelines) == {"__default__", "replay", *jobs, *(stage.name for stage in STAGES)}
    assert {node.name for node in pipelines["__default__"].nodes} == {n.name for n in pipelines["monthly"].nodes}


def test_the_jobs_share_out_the_months_and_the_quarters_stages(context):
    named = {name: {node.name for node in pipeline.nodes} for name, pipeline in pipelines.items()}
    assert named["select"] | named["ingest"] == named["monthly"]
    assert not named["select"] & named["ingest"]
    assert named["train"] == named["quarterly"]


def test_every_family_has_every_stage_in_its_namespace(context):
    namespaces = {node.namespace for job in ("monthly", "quarterly") for node in pipelines[job].nodes}
    families = ("topics", "brand_safety", "sentiment")
    assert namespaces == {f"{family}.{stage.name}" for family in families for stage in STAGES}


def test_every_dataset_that_leaves_a_stage_is_in_the_catalog(context):
    catalog = context.catalog
    for stage in STAGES:
        pipeline = pipelines[stage.name]
        for name in pipeline.datasets() - {n for n in pipeline.datasets() if n.startswith("params:")}:
            leaves_the_stage = name in pipeline.inputs() or name.count(".") == 1
            if leaves_the_stage:
                assert isinstance(catalog.get(name), StoreDataset), name


def test_what_a_stage_commits_is_what_its_pipeline_writes(context):
    for stage in STAGES:
        for name in (f"topics.{output}" for output in stage.outputs):
            assert name in pipelines[stage.name].all_outputs()
            dataset = context.catalog.get(name)
            assert isinstance(dataset, StageOutput)
            assert (dataset.key.stage, dataset.name) == (stage.name, name.partition(".")[2])


def test_the_report_is_written_after_everything_else_of_its_stage(context):
    for stage in STAGES:
        pipeline = pipelines[stage.name].only_nodes_with_namespaces([f"topics.{stage.name}"])
        report = next(node for node in pipeline.nodes if f"topics.{stage.report}" in node.outputs)
        upstream = pipeline.to_nodes(report.name)
        assert {node.name for node in upstream.nodes} == {node.name for node in pipeline.nodes}, stage.name


def test_the_hints_of_every_node_can_be_resolved_so_that_kedro_validates_its_parameters(context):
    for pipeline in (pipelines["monthly"], pipelines["quarterly"]):
        for node in pipeline.nodes:
            hints = typing.get_type_hints(node.func)
            assert "return" in hints, node.name


def test_options_reach_nodes_as_typed_objects(context):
    for pipeline in (pipelines["monthly"], pipelines["quarterly"]):
        for node in pipeline.nodes:
            hints = typing.get_type_hints(node.func)
            arguments = list(hints)[: len(node.inputs)]
            for argument, name in zip(arguments, node.inputs, strict=True):
                if name.startswith("params:topics.") and not name.endswith(".family"):
                    assert issubclass(hints[argument], BaseModel), (node.name, argument)


def test_families_come_from_the_configuration(project):
    project.only("sentiment")
    bootstrap_project(project.path)
    with KedroSession.create(project.path, env="test") as session:
        session.load_context()
        assert {node.namespace.split(".")[0] for node in register_pipelines()["monthly"].nodes} == {"sentiment"}
