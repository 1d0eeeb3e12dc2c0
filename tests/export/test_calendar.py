"""A year by the exported schedules: how often each pipeline is due, and which month it reads."""

import re
from datetime import UTC, datetime
from itertools import pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
import yaml
from cronsim import CronSim
from kedro.framework.startup import bootstrap_project

from al_platform.domain.cycles import shift_cycle
from al_platform.export.airflow.al_airflow.cycles import cycle_of
from al_platform.export.airflow.cli import generated
from al_platform.export.configuration import exported_loader
from al_platform.export.databricks.bundle import Bundle
from al_platform.export.entry import StageRun

YEAR = 2027
MONTHS = [shift_cycle(f"{YEAR - 1}-12", month) for month in range(12)]
QUARTERS = MONTHS[::3]
# The ends of the world's calendar, and two places with summer time on either side of UTC.
ZONES = ["UTC", "Etc/GMT+12", "Pacific/Kiritimati", "Europe/Berlin", "America/New_York"]


def due(cron, zone):
    """Every moment of the year, where the schedule lives, at which a run begins."""
    first = datetime(YEAR, 1, 1, tzinfo=ZoneInfo(zone))
    return list(takewhile(lambda moment: moment.year == YEAR, CronSim(cron, first)))


def airflows(project):
    """The moments and the cycles of each DAG, as its file has them."""
    bootstrap_project(project.path)
    found = {}
    for name, text in generated(project.path, project.env).items():
        if match := re.search(r"_(monthly|ingest|quarterly)_dag\.py$", name):
            [cron] = re.findall(r'schedule=CronTriggerTimetable\("([^"]+)"', text)
            [zone] = re.findall(r'^TIME_ZONE = "([^"]+)"$', text, re.MULTILINE)
            found[match[1]] = [(moment, cycle_of(moment, zone)) for moment in due(cron, zone)]
    return found


def databricks(project):
    """The same of the bundle's scheduled jobs, which tell their tasks the day of UTC on which they were due."""
    found = {}
    for key, job in Bundle.of(exported_loader(project.path, project.env)).jobs.items():
        if schedule := job.as_dict().get("schedule"):
            _, cron = schedule["quartz_cron_expression"].replace("?", "*").split(" ", 1)
            moments = due(cron, schedule["timezone_id"])
            days = [moment.astimezone(UTC).date().isoformat() for moment in moments]
            cycles = [StageRun("scoring", "topics", triggered=day).month for day in days]
            found[key.removesuffix("_weekly")] = list(zip(moments, cycles, strict=True))
    return found


@pytest.fixture(params=[("airflow", airflows), ("databricks", databricks)], ids=lambda side: side[0])
def year(request, project):
    """Return a function that gives the year of the orchestrator, by its schedules, in a time zone."""
    orchestrator, read = request.param
    project.env = "databricks"
    content = yaml.safe_load((project.path / "conf/databricks/export.yml").read_text())

    def of(zone):
        options = {**content, "orchestrator": orchestrator, "schedules": {"time_zone": zone}}
        project.configure("export.yml", options)
        return read(project)

    return of


@pytest.mark.parametrize("zone", ZONES)
def test_a_year_is_twelve_months_and_four_quarters_each_of_the_right_cycle(year, zone):
    runs = year(zone)
    assert [cycle for _, cycle in runs["monthly"]] == MONTHS
    assert [cycle for _, cycle in runs["quarterly"]] == QUARTERS
    monthly = {cycle: moment for moment, cycle in runs["monthly"]}
    assert all(monthly[cycle] < moment for moment, cycle in runs["quarterly"])


def test_answers_are_taken_in_every_week_of_the_year(year):
    moments = [moment for moment, _ in year("UTC")["ingest"]]
    assert len(moments) == 52
    assert {(after - before).days for before, after in pairwise(moments)} == {7}
