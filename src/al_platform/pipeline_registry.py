"""Pipelines by name: stages, jobs (``select``, ``ingest``, ``train``), ``monthly``, ``quarterly`` and ``replay``."""

from importlib import import_module

from kedro.pipeline import Pipeline

from al_platform.families import family_names
from al_platform.pipelines import replay
from al_platform.stages import CADENCES, JOBS, STAGES, Stage

SHARED = frozenset({"pages"})


def register_pipelines() -> dict[str, Pipeline]:
    """Return every pipeline of the project; ``__default__`` is ``monthly``."""
    families = family_names()
    by_stage = {stage.name: sum((instantiate(family, stage) for family in families), Pipeline([])) for stage in STAGES}
    grouped: dict[str, Pipeline] = {}
    for name in (*CADENCES, *JOBS):
        parts = [by_stage[stage.name] for stage in STAGES if name in (stage.cadence, stage.job)]
        grouped[name] = sum(parts, Pipeline([]))
    return {"__default__": grouped["monthly"], **grouped, **by_stage, "replay": replay.create_pipeline()}


def instantiate(family: str, stage: Stage) -> Pipeline:
    """Return the stage's pipeline for one family, in namespace ``<family>.<stage>``.

    What a stage reads from outside, commits or appends to is named ``<family>.<dataset>``; all else stays inside.
    """
    template: Pipeline = import_module(f"al_platform.pipelines.{stage.name}").create_pipeline()
    parameters = {name for name in template.inputs() if name.startswith("params:")}
    public = {*stage.outputs, *stage.appends}
    return Pipeline(
        template,
        namespace=f"{family}.{stage.name}",
        inputs={name: _public(family, name) for name in template.inputs() - parameters},
        outputs={name: _public(family, name) for name in template.all_outputs() & public},
        parameters={name: name.replace("params:", f"params:{family}.") for name in parameters if name != "params:cycle"}
        | {name: name for name in parameters if name == "params:cycle"},
    )


def _public(family: str, name: str) -> str:
    return name if name in SHARED else f"{family}.{name}"
