"""What the jobs are, under either scheduler."""

import json
import re

import pytest
import yaml
from databricks.bundles.jobs import Job
from databricks.sdk.service.jobs import JobSettings

from al_platform.domain.errors import ConfigError
from al_platform.export.databricks.check import texts
from al_platform.stages import STAGES

JOB_ID = re.compile(r'"\$\{resources\.jobs\.\w+\.id\}"')
STAGE_JOBS = ("select", "ingest", "train")


def jobs(bundle):
    return bundle.resources["jobs"]


def tasks(bundle, job):
    return {task["task_key"]: task for task in jobs(bundle)[job]["tasks"]}


def before(task):
    return [(edge["task_key"], edge.get("outcome")) for edge in task.get("depends_on", [])]


def clusters(bundle, job):
    return {found["job_cluster_key"]: found["new_cluster"] for found in jobs(bundle)[job]["job_clusters"]}


def test_every_stage_is_a_notebook_task_of_its_job(under_airflow):
    found = {
        (job, task["notebook_task"]["notebook_path"])
        for job in STAGE_JOBS
        for task in jobs(under_airflow)[job]["tasks"]
        if "notebook_task" in task
    }
    assert found == {(stage.job, f"../notebooks/{stage.name}.py") for stage in STAGES}


def test_promotion_waits_for_the_gate_and_the_gate_for_evaluation(under_airflow):
    train = tasks(under_airflow, "train")
    assert before(train["evaluation"]) == [("training", None)]
    assert before(train["gate"]) == [("evaluation", None)]
    assert before(train["promotion"]) == [("gate", "true")]
    assert train["gate"]["condition_task"] == {
        "left": "{{tasks.evaluation.values.is_promotion_due}}",
        "op": "EQUAL_TO",
        "right": "true",
    }


def test_ingest_ends_early_where_preparation_has_read_the_labels_that_are_there(under_airflow):
    ingest = tasks(under_airflow, "ingest")
    assert ingest["is_new"]["condition_task"]["left"] == "{{tasks.annotation_ingest.values.is_new}}"
    assert before(ingest["preparation"]) == [("is_new", "true")]


def test_each_run_has_family_cycle_and_environment_and_keeps_the_day_it_was_due(under_airflow):
    for job in STAGE_JOBS:
        parameters = {found["name"]: found["default"] for found in jobs(under_airflow)[job]["parameters"]}
        assert parameters == {
            "family": "",
            "cycle": "",
            "env": "${var.env}",
            "triggered": "{{job.trigger.time.iso_date}}",
        }


def test_every_family_may_run_at_once_and_what_comes_on_top_waits(under_airflow):
    for job in STAGE_JOBS:
        assert jobs(under_airflow)[job]["max_concurrent_runs"] == 3
        assert jobs(under_airflow)[job]["queue"] == {"enabled": True}


def test_cpu_and_gpu_scoring_grow_with_the_work_and_gpu_training_keeps_its_size(under_airflow):
    assert clusters(under_airflow, "select")["gpu_scoring"]["autoscale"] == {
        "min_workers": 1,
        "max_workers": "${var.gpu_scoring_max_workers}",
    }
    for job, stage in (("select", "selection"), ("ingest", "preparation")):
        assert tasks(under_airflow, job)[stage]["job_cluster_key"] == "cpu"
        assert clusters(under_airflow, job)["cpu"]["autoscale"]["max_workers"] == "${var.cpu_max_workers}"
    training = clusters(under_airflow, "train")["gpu_training"]
    assert "autoscale" not in training
    assert training["num_workers"] == 0
    assert training["spark_conf"]["spark.databricks.cluster.profile"] == "singleNode"


def test_stages_that_one_machine_computes_keep_no_workers_waiting(under_airflow):
    for job, stage in (("ingest", "annotation_ingest"), ("train", "promotion")):
        assert tasks(under_airflow, job)[stage]["job_cluster_key"] == "cpu_single"
        assert clusters(under_airflow, job)["cpu_single"]["num_workers"] == 0


def test_a_single_machine_may_be_on_spot_itself(make):
    bundle = make({"clusters": {"gpu_training": {"node_type": "g5.12xlarge", "on_demand": 0}}})
    assert clusters(bundle, "train")["gpu_training"]["aws_attributes"]["first_on_demand"] == 0


def test_training_on_several_machines_is_of_fixed_size_and_no_single_node(make):
    bundle = make({"clusters": {"gpu_training": {"node_type": "g5.12xlarge", "workers": 3}}})
    training = clusters(bundle, "train")["gpu_training"]
    assert training["num_workers"] == 3
    assert "spark_conf" not in training
    assert "ResourceClass" not in training["custom_tags"]


def test_nothing_runs_when_idle(under_airflow, under_databricks):
    for bundle in (under_airflow, under_databricks):
        for job in jobs(bundle).values():
            assert all("existing_cluster_id" not in task for task in job["tasks"])
            for task in job["tasks"]:
                assert ("job_cluster_key" in task) == ("notebook_task" in task)


def test_machines_are_of_an_ml_runtime_and_workers_on_spot_with_a_driver_that_stays(under_airflow):
    for job in STAGE_JOBS:
        for key, cluster in clusters(under_airflow, job).items():
            kind = key[:3]
            assert cluster["spark_version"] == f"${{var.{kind}_runtime}}"
            assert cluster["aws_attributes"]["availability"] == "SPOT_WITH_FALLBACK"
            assert cluster["aws_attributes"]["first_on_demand"] == 1


def test_secrets_reach_tasks_by_reference_alone(make):
    bundle = make({"secrets": {"WANDB_API_KEY": "wandb"}})
    variables = clusters(bundle, "train")["cpu_single"]["spark_env_vars"]
    assert variables["WANDB_API_KEY"] == "{{secrets/${resources.secret_scopes.al_platform.name}/wandb}}"


def test_under_airflow_databricks_neither_schedules_nor_retries_nor_alerts(under_airflow):
    assert set(jobs(under_airflow)) == set(STAGE_JOBS)
    for job in jobs(under_airflow).values():
        for alarm in ("schedule", "trigger", "continuous", "email_notifications", "webhook_notifications"):
            assert alarm not in job
        for task in job["tasks"]:
            assert task.get("max_retries", 0) == 0
            assert "email_notifications" not in task
            assert "webhook_notifications" not in task
    assert not [text for text in texts(under_airflow.settings) if "webhook" in text]


def test_under_databricks_stages_are_tried_again_as_the_stage_list_says(under_databricks):
    wanted = {(task.job, task.stage): task for task in under_databricks.tasks}
    for (job, stage), expected in wanted.items():
        task = tasks(under_databricks, job)[stage]
        assert task["max_retries"] == expected.retries
        assert task["min_retry_interval_millis"] == 5 * 60_000
        assert task["timeout_seconds"] == expected.timeout_minutes * 60


def test_a_run_outlasts_every_try_of_its_stages_and_counts_as_slow_before_it_ends(under_airflow, under_databricks):
    for bundle in (under_airflow, under_databricks):
        for name in STAGE_JOBS:
            job = jobs(bundle)[name]
            tries = sum((1 + task.get("max_retries", 0)) * task.get("timeout_seconds", 0) for task in job["tasks"])
            assert job["timeout_seconds"] > tries
            assert job["health"]["rules"][0]["value"] < job["timeout_seconds"]


def test_the_month_runs_select_then_ingest_for_families_that_do_not_wait_for_each_other(under_databricks):
    month = tasks(under_databricks, "monthly")
    for family in ("topics", "brand_safety", "sentiment"):
        assert before(month[f"select_{family}"]) == []
        assert before(month[f"ingest_{family}"]) == [(f"select_{family}", None)]
        started = month[f"ingest_{family}"]["run_job_task"]
        assert started["job_id"] == "${resources.jobs.ingest.id}"
        assert started["job_parameters"]["family"] == family
        assert started["job_parameters"]["triggered"] == "{{job.parameters.triggered}}"
    assert [before(task) for task in tasks(under_databricks, "quarterly").values()] == [[], [], []]
    assert set(tasks(under_databricks, "ingest_weekly")) == {"ingest_topics", "ingest_brand_safety", "ingest_sentiment"}


def test_scheduled_jobs_follow_the_crons_in_their_time_zone_once_at_a_time(make):
    schedules = {
        "time_zone": "Europe/Berlin",
        "monthly": "0 3 2 * *",
        "ingest": "0 6 * * 1",
        "quarterly": "5 3 4 1,7 *",
    }
    bundle = make(orchestrator="databricks", schedules=schedules)
    crons = {name: jobs(bundle)[name]["schedule"] for name in ("monthly", "ingest_weekly", "quarterly")}
    assert {name: cron["quartz_cron_expression"] for name, cron in crons.items()} == {
        "monthly": "0 0 3 2 * ?",
        "ingest_weekly": "0 0 6 ? * MON",
        "quarterly": "0 5 3 4 1,7 ?",
    }
    assert {cron["timezone_id"] for cron in crons.values()} == {"Europe/Berlin"}
    assert {jobs(bundle)[name]["max_concurrent_runs"] for name in crons} == {1}


def test_a_familys_failure_alerts_once_and_a_late_month_does(under_databricks):
    month = jobs(under_databricks)["monthly"]
    assert "on_failure" not in month["email_notifications"]
    assert month["email_notifications"]["on_duration_warning_threshold_exceeded"] == ["team@example.org"]
    assert month["health"]["rules"][0]["value"] == 24 * 3600
    for task in month["tasks"]:
        assert task["email_notifications"] == {"on_failure": ["team@example.org"]}
        assert task["webhook_notifications"] == {"on_failure": [{"id": "${var.webhook_on_call}"}]}
    for name in STAGE_JOBS:
        assert not [text for text in texts(jobs(under_databricks)[name]) if "example.org" in text or "webhook" in text]
    destination = under_databricks.settings["variables"]["webhook_on_call"]
    assert destination == {"lookup": {"notification_destination": "On call"}}


def test_a_webhook_given_as_an_address_is_refused(make):
    bundle = make(orchestrator="databricks", notifications={"webhooks": ["https://example.org/hook"]})
    with pytest.raises(ConfigError, match="Make one with this address"):
        bundle.files()


def test_an_extra_that_the_package_lacks_is_named_with_those_it_has(make):
    with pytest.raises(ConfigError, match=r"'transformers', .* Did you mean 'transformer'\?"):
        make({"extras": ["transformers"]}).files()


def test_the_typed_jobs_the_sdk_and_the_file_say_the_same(under_airflow, under_databricks):
    for bundle in (under_airflow, under_databricks):
        files = bundle.files()
        for name, job in jobs(bundle).items():
            assert Job.from_dict(job).as_dict() == job
            deployed = json.loads(JOB_ID.sub("1", json.dumps(job)))
            assert JobSettings.from_dict(deployed).as_dict() == deployed
            assert yaml.safe_load(files[f"databricks/{name}.yml"])["resources"]["jobs"][name] == job
