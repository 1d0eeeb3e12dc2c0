import json

import pytest

from al_platform.domain.errors import ConfigError
from al_platform.export.options import export_options
from al_platform.export.outcome import stage_outcome
from al_platform.export.stage_list import stage_list
from al_platform.stages import STAGES
from al_platform.storage.store import open_store


def listed(project):
    return stage_list(project.loader, export_options(project.loader))


def test_every_stage_of_every_family_is_listed_with_what_export_yml_says(project):
    project.configure("export.yml", {"stages": {"training": {"retries": 7}}})
    tasks = listed(project)
    names = [(task.family, task.stage) for task in tasks]
    assert names == [(family, stage.name) for family in project.loader.families for stage in STAGES]
    training = next(task for task in tasks if task.stage == "training")
    assert (training.job, training.cadence, training.compute, training.retries) == (
        "train",
        "quarterly",
        "gpu_training",
        7,
    )


def test_what_a_stage_needs_is_read_off_the_pipelines(project):
    project.only("topics")
    needs = {task.stage: task.needs for task in listed(project)}
    assert needs == {
        "scoring": (),
        "selection": ("scoring",),
        "annotation_ingest": (),
        "preparation": ("annotation_ingest",),
        "training": (),
        "evaluation": ("training",),
        "promotion": ("evaluation",),
    }


def test_a_dataset_between_stages_that_the_catalog_does_not_keep_is_named(project):
    catalog = project.path / "conf" / "base" / "catalog.yml"
    lines = [line for line in catalog.read_text().splitlines() if not line.startswith('"{family}.predictions"')]
    catalog.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=r"selection reads brand_safety\.predictions, which scoring writes"):
        listed(project)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"stages": {"slection": {}}}, r"'slection' is no stage\. .*selection"),
        ({"stages": {"scoring": {"compute": "tpu"}}}, "stages.scoring.compute"),
        ({"schedules": {"monthly": "every month"}}, "schedules.monthly"),
        ({"schedules": {"time_zone": "Asia/Tokyo", "monthly": "0 3 1 * *"}}, "second on"),
        ({"schedules": {"time_zone": "Asia/Tokyo", "quarterly": "0 3 * 1 *"}}, "second on"),
        ({"schedules": {"time_zone": "Europe/Wien"}}, "IANA"),
        ({"orchestrator": "cron"}, "orchestrator"),
        ({"shedules": {}}, "schedules"),
    ],
)
def test_a_mistake_in_export_yml_is_named(project, content, message):
    project.configure("export.yml", content)
    with pytest.raises(ConfigError, match=message):
        export_options(project.loader)


def test_a_stage_without_an_entry_is_named(project):
    base = project.path / "conf" / "base" / "export.yml"
    lines = [line for line in base.read_text().splitlines() if not line.startswith("  selection:")]
    base.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="no entry for selection"):
        export_options(project.loader)


def outcome(project, stage, cycle="2026-10"):
    loader = project.loader
    loader.runtime_params = {"cycle": cycle}
    return stage_outcome(loader, "topics", stage)


def test_preparation_is_due_until_it_has_read_the_labels_that_are_committed(project):
    project.only("topics")
    assert outcome(project, "annotation_ingest") == {"is_new": "true"}
    project.run("select", "annotation_ingest")
    assert outcome(project, "annotation_ingest") == {"is_new": "true"}
    project.run("preparation")
    assert outcome(project, "annotation_ingest") == {"is_new": "false"}


def test_promotion_is_due_where_the_verdict_says_so(project):
    project.only("topics")
    assert outcome(project, "evaluation") == {"verdict": "none", "is_promotion_due": "false"}
    project.run("monthly")
    project.run("training", "evaluation")
    store, manifest = open_store(project.loader.root("models")), project.head("topics", "evaluation")
    verdict = json.loads(store.read(manifest.outputs["verdict"].path))["verdict"]
    assert outcome(project, "evaluation") == {"verdict": verdict, "is_promotion_due": str(verdict == "promote").lower()}


def test_other_stages_say_nothing(project):
    assert outcome(project, "scoring") == {}
