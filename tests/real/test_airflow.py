"""The DAGs in a real Airflow, against our Jobs API server: task after task in one process, as ``dag.test`` runs them.

What needs the scheduler, a worker that dies and a run that is late, is in ``test_airflow_scheduler``.
"""

import itertools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kedro.framework.startup import bootstrap_project
from servers.airflow import AirflowSession
from servers.airflow_trial import CHANNEL, QUICK, WRONG_TOKEN, AirflowTrial, Ran, airflow_trial
from servers.databricks_jobs import DatabricksJobsServer, Outcome
from servers.databricks_jobs.bundle import deployed

from al_platform.catalog.champion import champion_log
from al_platform.export.airflow.cli import generated
from al_platform.export.databricks.cli import checked_bundle
from al_platform.export.outcome import CONDITIONS
from al_platform.stages import STAGES
from al_platform.stores import Stores
from temporary_project import CYCLE, ROOT, Project, make_project

pytestmark = pytest.mark.real

FAMILIES = ("topics", "sentiment")
EXAMPLE = (
    "dag_of_yours.py",
    (ROOT / "docs/examples/airflow_dag_of_yours.py").read_text().replace("platform_databricks", "platform_test"),
)
MONTHLY = ("scoring", "selection", "annotation_ingest", "preparation")
COMPUTES = ("cpu", "cpu_single", "gpu_scoring", "gpu_training")
WHEEL = {"whl": '/Volumes/it\'s/"ours"/al_platform-0.1.0-py3-none-any.whl'}
CPU = {
    "spark_version": "17.3.x-cpu-ml-scala2.13",
    "node_type_id": "m5d.xlarge",
    "num_workers": 0,
    "is_single_node": True,
}
NOTEBOOK = {"clusters": dict.fromkeys(COMPUTES, CPU), "libraries": []}
DUE = Outcome(values={"verdict": "promote", "is_promotion_due": "true"})


@dataclass
class Setting:
    """A trial, and the project whose DAGs are tried."""

    trial: AirflowTrial
    project: Project

    @property
    def airflow(self) -> AirflowSession:
        return self.trial.airflow

    @property
    def databricks(self) -> DatabricksJobsServer:
        return self.trial.databricks

    def use(self, *more_files: tuple[str, str], **options: Any) -> None:
        """Generate the DAGs with these options, in place of those that were there."""
        airflow = {**QUICK, **options.pop("airflow", {})}
        notifications = {"emails": [], "webhooks": [CHANNEL], **options.pop("notifications", {})}
        content = {"airflow": airflow, "notifications": notifications, **options}
        self.project.configure("export.yml", content)
        self.trial.home.use({**generated(self.project.path, "test"), **dict(more_files)})

    def run(self, dag_id: str, **conf: str) -> Ran:
        return self.trial.run(dag_id, **conf)


def exported_jobs() -> dict[str, dict[str, Any]]:
    """Return the jobs of the bundle: what the DAGs start by name."""
    bundle = checked_bundle(ROOT, "databricks")
    return {name: deployed(job, bundle.settings) for name, job in bundle.resources["jobs"].items()}


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    folder = tmp_path_factory.mktemp("airflow")
    project = make_project(folder / "project")
    project.only(*FAMILIES)
    bootstrap_project(project.path)
    with airflow_trial(folder) as trial:
        for job in exported_jobs().values():
            trial.create_job(job)
        for stage, value in CONDITIONS.items():
            trial.databricks.script(stage, [Outcome(values={value: "true"})])
        yield Setting(trial, project)


def test_every_family_is_selected_and_then_ingested(setting: Setting) -> None:
    setting.use()
    ran = setting.run("al-platform-monthly", cycle="2026-01")
    assert ran.state == "success"
    started = [(run.job, *(run.parameters[name] for name in ("family", "cycle", "env"))) for run in ran.started]
    assert sorted(started) == [
        (f"al-platform-{job}", family, "2026-01", "test") for job in ("ingest", "select") for family in sorted(FAMILIES)
    ]
    for family in FAMILIES:
        assert [job for job, of, *_ in started if of == family] == ["al-platform-select", "al-platform-ingest"]
    assert ran.alerts == []


@pytest.mark.parametrize("is_deferrable", [False, True])
def test_another_try_runs_what_failed_and_not_the_stages_before_it(setting: Setting, is_deferrable: bool) -> None:
    setting.use(airflow={"is_deferrable": is_deferrable})
    cycle = f"2026-{1 + is_deferrable:02d}"
    setting.databricks.script("evaluation", ["FAILED", "FAILED", DUE], family="topics", cycle=cycle)
    ran = setting.run("al-platform-quarterly", cycle=cycle)
    assert ran.state == "success"
    assert ran.tries["quarterly.topics.train"] == 3
    assert {run.parameters["family"]: run.state for run in ran.started} == dict.fromkeys(FAMILIES, "SUCCESS")
    assert len(ran.started) == len(FAMILIES)
    of_topics = next(run for run in ran.started if run.parameters["family"] == "topics")
    assert setting.trial.tries(of_topics) == {"training": 1, "evaluation": 3, "gate": 1, "promotion": 1}
    assert ran.alerts == []


def test_a_run_that_cannot_be_repaired_is_followed_by_a_new_one(setting: Setting) -> None:
    setting.use()
    setting.databricks.script("al-platform-train", ["FAILED", "SUCCESS"], family="topics", cycle="2026-02")
    setting.databricks.fault("runs/repair", 400, 1)
    ran = setting.run("al-platform-quarterly", cycle="2026-02")
    assert ran.state == "success"
    assert sorted((run.parameters["family"], run.state) for run in ran.started) == [
        ("sentiment", "SUCCESS"),
        ("topics", "FAILED"),
        ("topics", "SUCCESS"),
    ]
    assert ran.alerts == []


def test_a_family_that_always_fails_alerts_once_and_the_others_go_on(setting: Setting) -> None:
    setting.use()
    setting.databricks.script("al-platform-select", ["FAILED"], family="topics", cycle="2026-03")
    ran = setting.run("al-platform-monthly", cycle="2026-03")
    assert ran.state == "failed"
    assert ran.tasks["monthly.topics.select"] == "failed"
    assert ran.tasks["monthly.topics.ingest"] == "upstream_failed"
    assert ran.tasks["monthly.sentiment.ingest"] == "success"
    [failed] = [run for run in ran.started if run.state == "FAILED"]
    assert setting.trial.tries(failed) == {"scoring": 3}
    [alert] = ran.alerts
    assert "al-platform-monthly: monthly.topics.select failed" in alert
    assert failed.url in alert


def test_an_alert_by_mail_holds_the_runs_link(setting: Setting) -> None:
    setting.use(notifications={"emails": ["team@example.org"], "webhooks": []})
    setting.databricks.script("al-platform-ingest", ["FAILED"], family="sentiment", cycle="2026-04")
    ran = setting.run("al-platform-ingest", cycle="2026-04")
    [mail] = ran.mails
    assert mail["To"] == "team@example.org"
    assert mail["Subject"] == "al-platform-ingest: ingest.sentiment.ingest failed"
    [content] = mail.iter_parts()
    [failed] = [run for run in ran.started if run.state == "FAILED"]
    assert failed.url in content.get_content()


@pytest.mark.parametrize("is_deferrable", [False, True])
def test_a_busy_workspace_costs_no_try_and_no_run(setting: Setting, is_deferrable: bool) -> None:
    setting.use(airflow={"is_deferrable": is_deferrable})
    for path, status in (("run-now", 429), ("run-now", 503), ("runs/get", 503), ("jobs/list", 429)):
        setting.databricks.fault(path, status, 1)
    before = len(setting.databricks.calls())
    ran = setting.run("al-platform-quarterly", cycle="2026-05")
    assert ran.state == "success"
    assert set(ran.tries.values()) == {1}
    assert len(ran.started) == len(FAMILIES)
    refused = [call.status for call in setting.databricks.calls()[before:] if call.status != 200]
    assert sorted(refused) == [429] * 2 + [503] * 2


def test_a_token_that_is_not_taken_starts_nothing_and_is_named(setting: Setting) -> None:
    setting.use(airflow={"databricks_connection": WRONG_TOKEN})
    ran = setting.run("al-platform-ingest", cycle="2026-05")
    assert ran.state == "failed"
    assert ran.started == []
    assert len(ran.alerts) == len(FAMILIES)
    for alert in ran.alerts:
        assert "401" in alert
        assert "expired" not in alert


def test_an_answer_that_is_lost_starts_no_second_run(setting: Setting) -> None:
    setting.use()
    setting.databricks.fault("run-now", 503, 1, is_done=True)
    ran = setting.run("al-platform-quarterly", cycle="2026-06")
    assert ran.state == "success"
    assert len(ran.started) == len(FAMILIES)


def test_a_gate_that_says_no_ends_well_without_a_promotion(setting: Setting) -> None:
    setting.use()
    says_no = Outcome(values={"verdict": "reject", "is_promotion_due": "false"})
    setting.databricks.script("evaluation", [says_no], family="topics", cycle="2026-07")
    ran = setting.run("al-platform-quarterly", cycle="2026-07")
    assert ran.state == "success"
    promoted = {run.parameters["family"]: "promotion" in setting.trial.done(run) for run in ran.started}
    assert promoted == {"topics": False, "sentiment": True}


def test_a_wrong_cycle_fails_at_once_with_a_message_and_starts_nothing(setting: Setting) -> None:
    setting.use()
    with pytest.raises(RuntimeError, match=r"2026-13.*does not match"):
        setting.run("al-platform-monthly", cycle="2026-13")


def test_a_wrong_cycle_from_another_dag_fails_its_first_task_once(setting: Setting) -> None:
    setting.use(EXAMPLE)
    ran = setting.run("content-classification", quarter_ends="september")
    assert ran.tasks["train_classifiers.cycle"] == "failed"
    assert ran.started == []
    [alert] = ran.alerts
    assert "Asked for cycle 'september', which is no month. Give it as YYYY-MM" in alert


def test_the_group_runs_inside_another_dag(setting: Setting) -> None:
    setting.use(EXAMPLE)
    ran = setting.run("content-classification", quarter_ends="2026-08")
    assert ran.state == "success"
    assert [run.parameters["cycle"] for run in ran.started] == ["2026-08"] * len(FAMILIES)


@pytest.mark.parametrize("times", [0, 2])
def test_a_job_that_is_missing_or_there_twice_is_named(setting: Setting, times: int) -> None:
    setting.use()
    client, job = setting.databricks.client(), exported_jobs()["ingest"]
    kept = next(found for found in client.jobs.list(name="al-platform-ingest"))
    made = [setting.trial.create_job(job) for _ in range(times)]
    try:
        if not times:
            client.jobs.delete(kept.job_id)
        ran = setting.run("al-platform-ingest", cycle="2026-09")
    finally:
        for job_id in made:
            client.jobs.delete(job_id)
        if not times:
            setting.trial.create_job(job)
    assert ran.started == []
    assert len(ran.alerts) == len(FAMILIES)
    assert all("al-platform-ingest" in alert.partition("\n")[2] for alert in ran.alerts)


@pytest.mark.parametrize("is_deferrable", [False, True])
def test_each_notebook_runs_on_its_kind_of_machine(setting: Setting, is_deferrable: bool) -> None:
    clusters = {**dict.fromkeys(COMPUTES, CPU), "gpu_scoring": {**CPU, "node_type_id": "g5.xlarge"}}
    notebooks = {"folder": '/Workspace/it\'s "ours"', "clusters": clusters, "libraries": [WHEEL]}
    setting.use(airflow={"flavour": "notebook", "notebook": notebooks, "is_deferrable": is_deferrable})
    ran = setting.run("al-platform-monthly", cycle="2026-10")
    assert ran.state == "success"
    submitted = [call.body for call in setting.databricks.calls() if call.path.endswith("/runs/submit")][-8:]
    of_topics = [body["tasks"][0] for body in submitted if body["run_name"].startswith("al-platform-monthly topics")]
    names = [task["notebook_task"]["notebook_path"].rpartition("/") for task in of_topics]
    assert names == [(notebooks["folder"], "/", stage) for stage in MONTHLY]
    assert [task["new_cluster"]["node_type_id"] for task in of_topics] == ["g5.xlarge", *["m5d.xlarge"] * 3]
    for task in of_topics:
        assert task["notebook_task"]["base_parameters"] == {"family": "topics", "cycle": "2026-10", "env": "test"}
        assert task["libraries"] == [WHEEL]


def test_a_notebook_that_fails_once_is_run_again(setting: Setting) -> None:
    setting.use(airflow={"flavour": "notebook", "notebook": NOTEBOOK})
    setting.databricks.script("preparation", ["FAILED", "SUCCESS"])
    ran = setting.run("al-platform-ingest", cycle="2026-11")
    assert ran.state == "success"
    assert sorted(run.state for run in ran.started) == ["FAILED", *["SUCCESS"] * 4]
    assert ran.alerts == []


@pytest.mark.parametrize("flavour", ["workflow", "notebook", "worker"])
def test_every_flavour_is_understood_and_families_do_not_wait_for_each_other(setting: Setting, flavour: str) -> None:
    setting.use(airflow={"flavour": flavour, "notebook": NOTEBOOK})
    found = setting.airflow.parse()
    assert found["errors"] == {}
    assert sorted(found["dags"]) == ["al-platform-ingest", "al-platform-monthly", "al-platform-quarterly"]
    for name, dag in found["dags"].items():
        group = name.removeprefix("al-platform-")
        for task_id, task in dag["tasks"].items():
            family = task_id.split(".")[1]
            assert {other.split(".")[1] for other in task["upstream"]} <= {family, "cycle"}, (group, task_id)


def test_airflow_schedules_retries_and_alerts_where_it_is_the_orchestrator(setting: Setting) -> None:
    setting.use(orchestrator="airflow", airflow={"retry_delay_minutes": 5}, deadlines_hours={"monthly": 36})
    dags = setting.airflow.parse()["dags"]
    monthly = dags["al-platform-monthly"]
    assert (monthly["schedule"], monthly["time_zone"], monthly["catchup"]) == ("0 3 2 * *", "UTC", False)
    assert monthly["deadlines_s"] == [36 * 3600]
    for dag in dags.values():
        for task in dag["tasks"].values():
            assert (task["retries"], task["retry_delay_s"], task["backoff"]) == (2, 300, 2.0)
            assert task["alerts"] == ["WebhookNotifier"]
    select = monthly["tasks"]["monthly.topics.select"]
    assert select["timeout_s"] == 60 * (240 + 120 + 90)
    assert select["deferrable"] is False


def test_airflow_only_starts_what_it_is_told_to_where_databricks_is_the_orchestrator(setting: Setting) -> None:
    setting.use(orchestrator="databricks")
    for dag in setting.airflow.parse()["dags"].values():
        assert (dag["schedule"], dag["deadlines_s"]) == (None, [])
        for task in dag["tasks"].values():
            assert (task["retries"], task["alerts"]) == (0, [])


def test_strings_survive_quoting_and_airflows_templates_stay(setting: Setting) -> None:
    odd = ["team \"R&D\" <'q'>", "a\\b", "{{ ds }}", "é 日本"]
    worker = {"project": '/srv/it\'s "ours"', "python": "{{ var.value.python }}"}
    setting.use(airflow={"flavour": "worker", "tags": odd, "worker": worker})
    found = setting.airflow.parse()
    assert found["errors"] == {}
    monthly = found["dags"]["al-platform-monthly"]
    assert monthly["tags"] == sorted(["al-platform", *odd])
    assert monthly["tasks"]["monthly.topics.scoring"]["project"] == worker["project"]
    assert monthly["tasks"]["monthly.topics.scoring"]["python"] == worker["python"]


def cycle_at(setting: Setting, name: str, **when: str) -> Any:
    task = f"{name}.cycle"
    return setting.airflow.run(f"al-platform-{name}", only=task, **when)["returned"][task]


@pytest.mark.parametrize(
    ("name", "now", "due", "cycle"),
    [
        ("monthly", "2025-12-31T23:59:59+00:00", "2026-01-02T03:00:00+00:00", "2025-12"),
        ("ingest", "2025-12-31T12:00:00+00:00", "2026-01-05T06:00:00+00:00", "2025-12"),
        ("quarterly", "2026-01-04T03:00:01+00:00", "2026-04-04T03:00:00+00:00", "2026-03"),
    ],
)
def test_a_scheduled_run_reads_the_month_before_it(setting: Setting, name: str, now: str, due: str, cycle: str) -> None:
    setting.use()
    run = setting.airflow.due(f"al-platform-{name}", now)
    assert run["run_after"] == run["logical_date"] == due
    assert cycle_at(setting, name, **run) == cycle


@pytest.mark.parametrize(
    ("zone", "moment", "cycle"),
    # Every zone and moment is in tests/export/airflow/test_cycles_of_runs.py.
    [
        ("UTC", "2025-12-31T23:59:59+00:00", "2025-11"),
        ("America/New_York", "2026-01-01T05:00:00+00:00", "2025-12"),
    ],
)
def test_a_run_that_somebody_starts_reads_the_last_complete_month_where_he_lives(
    setting: Setting, zone: str, moment: str, cycle: str
) -> None:
    setting.use(schedules={"time_zone": zone})
    assert cycle_at(setting, "monthly", run_after=moment) == cycle


def test_a_quarter_is_due_after_each_quarter(setting: Setting) -> None:
    setting.use()
    days = ["2026-01-04", "2026-04-04", "2026-07-04", "2026-10-04", "2027-01-04"]
    for before, day in itertools.pairwise(days):
        assert setting.airflow.due("al-platform-quarterly", f"{before}T03:00:01+00:00")["run_after"][:10] == day


def test_a_run_for_a_date_of_the_past_reads_the_month_before_that_date(setting: Setting) -> None:
    setting.use()
    past = {"logical_date": "2025-03-01T00:00:00+00:00", "run_after": "2026-08-15T00:00:00+00:00"}
    assert cycle_at(setting, "quarterly", **past) == "2025-02"


def test_the_worker_runs_a_whole_month_and_quarter_without_databricks(setting: Setting) -> None:
    setting.project.only("topics")
    try:
        setting.use(airflow={"flavour": "worker", "worker": worker_of(setting)})
        monthly = setting.run("al-platform-monthly", cycle=CYCLE)
        again = setting.run("al-platform-ingest", cycle=CYCLE)
        quarterly = setting.run("al-platform-quarterly", cycle=CYCLE)
    finally:
        setting.project.only(*FAMILIES)
    assert (monthly.state, again.state, quarterly.state) == ("success", "success", "success")
    assert monthly.tasks["monthly.topics.preparation"] == "success"
    assert again.tasks["ingest.topics.preparation"] == "skipped"
    assert quarterly.tasks["quarterly.topics.promotion"] == "success"
    stores = Stores.of_environment(setting.project.loader)
    [champion] = champion_log(stores.by_class["champion"], "topics")
    assert champion.cycle == CYCLE
    assert all(setting.project.log_numbers("topics", stage.name) == [1] for stage in STAGES)
    assert monthly.started == again.started == quarterly.started == []


def test_a_stage_that_takes_too_long_is_ended_with_all_that_it_started(setting: Setting, tmp_path: Path) -> None:
    stubborn = tmp_path / "python"
    stubborn.write_text(f"#!/bin/sh\nsleep 600 &\necho $$ $! > {tmp_path}/pids\nwait\n")
    stubborn.chmod(0o700)
    worker = {"project": str(tmp_path), "python": str(stubborn)}
    setting.use(airflow={"flavour": "worker", "worker": worker, "own_retries": 0})
    file = setting.trial.home.dags / "al_platform_test_ingest_dag.py"
    file.write_text(file.read_text().replace("timedelta(minutes=60)", "timedelta(seconds=2)").replace("=2,\n", "=0,\n"))
    ran = setting.run("al-platform-ingest", cycle="2026-12")
    assert ran.tasks["ingest.topics.annotation_ingest"] == "failed"
    for pid in (tmp_path / "pids").read_text().split():
        listed = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True, check=False)
        # What nobody has waited for yet is dead all the same.
        assert listed.stdout.strip()[:1] in ("", "Z")


def worker_of(setting: Setting) -> dict[str, Any]:
    return {"project": str(setting.project.path), "python": sys.executable}


def test_a_stage_that_fails_on_the_worker_alerts_with_the_log_and_the_others_go_on(setting: Setting) -> None:
    setting.use(airflow={"flavour": "worker", "worker": worker_of(setting)}, stages={"training": {"retries": 0}})
    ran = setting.run("al-platform-quarterly", cycle="2020-01")
    assert ran.state == "failed"
    assert {ran.tasks[f"quarterly.{family}.training"] for family in FAMILIES} == {"failed"}
    assert len(ran.alerts) == len(FAMILIES)
    for alert in ran.alerts:
        assert "NotReadyError: Asked for dataset of" in alert
        assert "dag_id=al-platform-quarterly" in alert or "/dags/al-platform-quarterly/" in alert
