"""A bundle that a workspace would refuse, or accept and never run, is refused at export with all that is wrong."""

import copy
from dataclasses import replace

import pytest

from al_platform.domain.errors import ConfigError
from al_platform.export.databricks.check import merged, require_sound


@pytest.fixture
def rendered(under_databricks):
    found = under_databricks.rendered
    return replace(found, resources=copy.deepcopy(found.resources), changes=copy.deepcopy(found.changes))


def task(rendered, job, key):
    return next(task for task in rendered.resources["jobs"][job]["tasks"] if task["task_key"] == key)


def train(rendered):
    return rendered.resources["jobs"]["train"]


def cluster(rendered, job, key):
    clusters = rendered.resources["jobs"][job]["job_clusters"]
    return next(found["new_cluster"] for found in clusters if found["job_cluster_key"] == key)


def problems(rendered):
    with pytest.raises(ConfigError) as error:
        require_sound(rendered)
    return str(error.value)


def test_what_is_exported_is_sound_under_either_scheduler(under_airflow, under_databricks):
    require_sound(under_airflow.rendered)
    require_sound(under_databricks.rendered)


FAULTS = {
    "an unknown field": (
        lambda r: train(r).update(max_retrys=1),
        "max_retrys",
    ),
    "a value of another type": (
        lambda r: task(r, "train", "training").update(max_retries="often"),
        "often",
    ),
    "a word that is none": (
        lambda r: task(r, "train", "training").update(run_if="SOMETIMES"),
        "SOMETIMES",
    ),
    "a field that the CLI does not know yet": (
        lambda r: train(r).update(duration_target="4h"),
        "the CLI does not know duration_target",
    ),
    "an unknown task": (
        lambda r: task(r, "train", "evaluation").update(depends_on=[{"task_key": "trainning"}]),
        "task evaluation depends on 'trainning', which is not there. Known: evaluation, gate, promotion, training. "
        "Did you mean 'training'?",
    ),
    "two tasks of one name": (
        lambda r: train(r)["tasks"].append(task(r, "train", "training")),
        "two tasks are called 'training'",
    ),
    "a circle": (
        lambda r: task(r, "train", "training").update(depends_on=[{"task_key": "promotion"}]),
        "tasks wait for each other",
    ),
    "a missing cluster": (
        lambda r: task(r, "train", "training").update(job_cluster_key="gpu"),
        "there is no job cluster 'gpu'",
    ),
    "a cluster that no task uses": (
        lambda r: task(r, "train", "promotion").update(job_cluster_key="gpu_training"),
        "no task uses the job cluster 'cpu_single'",
    ),
    "a notebook without a cluster": (
        lambda r: task(r, "train", "promotion").pop("job_cluster_key"),
        "task promotion: it has no cluster",
    ),
    "a cluster for a condition": (
        lambda r: task(r, "train", "gate").update(job_cluster_key="cpu"),
        "task gate: it needs no cluster",
    ),
    "a cluster without machines": (
        lambda r: cluster(r, "select", "cpu").pop("node_type_id"),
        "the job cluster 'cpu' has no node_type_id",
    ),
    "a cluster of two sizes": (
        lambda r: cluster(r, "select", "cpu").update(num_workers=2),
        "the job cluster 'cpu' needs a number of workers or a range of it",
    ),
    "two kinds of task": (
        lambda r: task(r, "train", "promotion").update(spark_python_task={"python_file": "a.py"}),
        "must be of one kind, found notebook_task, spark_python_task",
    ),
    "no kind of task": (
        lambda r: task(r, "train", "gate").pop("condition_task"),
        "task gate: it must be of one kind, found none",
    ),
    "a schedule that is none": (
        lambda r: r.resources["jobs"]["monthly"]["schedule"].update(quartz_cron_expression="0 3 2 * *"),
        "is no Quartz expression",
    ),
    "an unknown time zone": (
        lambda r: r.resources["jobs"]["monthly"]["schedule"].update(timezone_id="Europe/Berlinn"),
        "there is no time zone 'Europe/Berlinn'",
    ),
    "an unknown stage": (
        lambda r: task(r, "train", "training")["notebook_task"].update(notebook_path="../notebooks/trainin.py"),
        "Did you mean 'training'?",
    ),
    "an unknown family": (
        lambda r: task(r, "monthly", "select_topics")["run_job_task"]["job_parameters"].update(family="topic"),
        "there is no family 'topic'. Known: brand_safety, sentiment, topics. Did you mean 'topics'?",
    ),
    "a parameter that the started job lacks": (
        lambda r: task(r, "monthly", "select_topics")["run_job_task"]["job_parameters"].update(month="x"),
        "the job select has no parameter 'month'",
    ),
    "a parameter that the job itself lacks": (
        lambda r: r.resources["jobs"]["monthly"].update(parameters=[{"name": "cycle", "default": ""}]),
        "it has no parameter 'env'",
    ),
    "a job that is not there": (
        lambda r: task(r, "monthly", "select_topics")["run_job_task"].update(job_id="${resources.jobs.selekt.id}"),
        "there is no resource 'jobs.selekt.id'",
    ),
    "a variable that is not declared": (
        lambda r: cluster(r, "select", "cpu").update(node_type_id="${var.cpu_node}"),
        "the variable 'cpu_node' is not declared",
    ),
    "an outcome of what is no condition": (
        lambda r: task(r, "train", "evaluation").update(depends_on=[{"task_key": "training", "outcome": "true"}]),
        "waits for an outcome of training, which is no condition",
    ),
    "a value of a task that does not come before": (
        lambda r: task(r, "train", "gate").update(depends_on=[{"task_key": "training"}]),
        "task gate: it reads a value of 'evaluation', on which it does not depend",
    ),
    "a target's change of what is not there": (
        lambda r: r.changes["prod"]["jobs"].update(score={"permissions": []}),
        "the target prod changes jobs.score, which is not there",
    ),
    "a target's unknown level": (
        lambda r: r.changes["prod"]["jobs"]["train"]["permissions"].append({"group_name": "a", "level": "CAN_ALL"}),
        "CAN_ALL",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_refused_and_named(rendered, fault):
    spoil, named = FAULTS[fault]
    spoil(rendered)
    assert named in problems(rendered)


def test_every_fault_is_listed_at_once(rendered):
    for spoil, _ in (FAULTS["a missing cluster"], FAULTS["an unknown time zone"]):
        spoil(rendered)
    found = problems(rendered)
    assert "there is no job cluster 'gpu'" in found
    assert "there is no time zone" in found


def test_a_targets_change_is_merged_by_task_and_adds_to_other_lists():
    job = {"tasks": [{"task_key": "a", "notebook_task": {"notebook_path": "x"}}, {"task_key": "b"}], "list": [1]}
    change = {"tasks": [{"task_key": "a", "notebook_task": {"source": "GIT"}}], "list": [2], "name": "n"}
    assert merged(job, change) == {
        "tasks": [{"task_key": "a", "notebook_task": {"notebook_path": "x", "source": "GIT"}}, {"task_key": "b"}],
        "list": [1, 2],
        "name": "n",
    }
