"""One stage of one family as notebooks and workers run it."""

import subprocess
import sys
import tarfile

import pytest

from al_platform.config import default_cycle
from al_platform.domain.errors import AlPlatformError, ConfigError
from al_platform.export.databricks.bundle import notebook
from al_platform.export.entry import StageRun, arguments, run_notebook, run_stage
from temporary_project import CYCLE


class TaskValues(dict):
    """Databricks' task values."""

    def set(self, key, value):
        self[key] = value


class Widgets(dict):
    """Databricks' widgets."""

    def getAll(self):  # noqa: N802
        return dict(self)


class Dbutils:
    """What a notebook finds on Databricks."""

    def __init__(self, **widgets):
        self.widgets = Widgets(widgets)
        self.jobs = self
        self.taskValues = TaskValues()


def asked(**given):
    return StageRun.of({"stage": "scoring", "family": "topics", **given})


@pytest.fixture
def inside(project, monkeypatch):
    project.only("topics")
    monkeypatch.chdir(project.path)
    return project


def test_an_empty_cycle_is_the_last_complete_month_before_the_run_was_due():
    assert asked(triggered="2026-11-02").month == "2026-10"
    assert asked(triggered="2026-12-31").month == "2026-11"
    assert asked(triggered="2027-01-01").month == "2026-12"


def test_a_late_repair_keeps_its_cycle_whatever_day_it_is():
    assert asked(triggered="2020-03-05").month == "2020-02"


def test_a_cycle_that_is_given_counts_and_nothing_at_all_is_the_last_complete_month():
    assert asked(cycle="2026-02", triggered="2026-11-02").month == "2026-02"
    assert asked().month == default_cycle()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"cycle": "2026-13"}, "'2026-13', which is no month"),
        ({"triggered": "{{job.trigger.time.iso_date}}"}, "which is no day"),
        ({"month": "2026-10"}, "Parameter 'month' is not known"),
        ({"family": ""}, "family is missing or empty"),
        ({"stage": "train"}, r"no stage 'train'. .*Did you mean 'training'"),
    ],
)
def test_what_cannot_be_run_is_named(given, named):
    with pytest.raises(ConfigError, match=named):
        _ = asked(**given).month


def test_arguments_are_names_and_values_and_a_value_may_hold_an_equals_sign():
    assert arguments(["family=topics", "conf_source=a=b"]) == {"family": "topics", "conf_source": "a=b"}
    with pytest.raises(ConfigError, match="'topics' is not of the form NAME=VALUE"):
        arguments(["topics"])


def test_an_unknown_family_is_named_with_the_known_ones(inside):
    with pytest.raises(ConfigError, match=r"no family 'topic'. Known: topics. Did you mean 'topics'\?"):
        run_stage(StageRun("scoring", "topic", cycle=CYCLE, env="test"))


def test_an_unknown_environment_is_named_with_the_known_ones(inside):
    with pytest.raises(ConfigError, match=r"no environment 'tests' in conf. .*Did you mean 'test'\?"):
        run_stage(StageRun("scoring", "topics", cycle=CYCLE, env="tests"))


def test_outside_a_project_the_configuration_archive_is_enough(inside, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    archive = elsewhere / "conf.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(inside.path / "conf", arcname="conf")
    monkeypatch.chdir(elsewhere)
    asked = {"stage": "scoring", "family": "topics", "cycle": CYCLE, "env": "test", "conf_source": str(archive)}
    words = [f"{name}={value}" for name, value in asked.items()]
    done = subprocess.run(
        [sys.executable, "-m", "al_platform.export.entry", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list((elsewhere / "data" / "test").rglob("scoring/log/000001.json"))


def test_outside_a_project_a_configuration_archive_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="no project"):
        run_stage(StageRun("scoring", "topics"))


def test_on_databricks_widgets_say_what_to_run_and_task_values_what_came_of_it(inside):
    inside.run("select")
    dbutils = Dbutils(family="topics", cycle=CYCLE, env="test", triggered="2026-11-02")
    run_notebook("annotation_ingest", dbutils)
    assert dbutils.taskValues == {"is_new": "true"}
    run_notebook("preparation", Dbutils(family="topics", cycle=CYCLE, env="test"))
    run_notebook("annotation_ingest", dbutils)
    assert dbutils.taskValues == {"is_new": "false"}


def test_one_stage_of_one_family_runs_and_no_other(inside):
    inside.only("topics", "sentiment")
    run_stage(StageRun("scoring", "topics", cycle=CYCLE, env="test"))
    assert inside.head("topics", "scoring") is not None
    assert inside.head("topics", "selection") is None
    assert inside.head("sentiment", "scoring") is None


def test_a_stage_that_fails_fails_the_notebook(inside):
    with pytest.raises(AlPlatformError, match="selection"):
        run_notebook("selection", Dbutils(family="topics", cycle=CYCLE, env="test"))


def test_a_notebook_runs_on_a_laptop_from_a_project(inside):
    file = inside.path / "scoring.py"
    file.write_text(notebook("scoring"))
    done = subprocess.run(
        [sys.executable, str(file), "family=topics", f"cycle={CYCLE}", "env=test"],
        cwd=inside.path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert inside.head("topics", "scoring") is not None
