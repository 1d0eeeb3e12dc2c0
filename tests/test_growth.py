import pytest
from rich.console import Console

from al_platform.growth import all_growth, growth_of, print_growth
from temporary_project import CYCLE


@pytest.fixture
def month(project):
    project.only("topics")
    traffic = {"source": "synthetic", "options": {"pages_per_month": 300, "seed_labels": 240}}
    costs = {"currency": "CHF", "per_answer": 2.0, "per_hour": 3600.0}
    project.configure("globals.yml", {"root": "data/test", "traffic": traffic, "costs": costs})
    project.run("monthly")
    return project


def test_a_cycle_takes_the_bytes_of_its_outputs_and_costs_answers_and_seconds(month):
    found = growth_of(month.loader, "topics", CYCLE)
    stages = ("scoring", "selection", "annotation_ingest", "preparation")
    heads = [month.head("topics", stage) for stage in stages]
    assert found.size_bytes == sum(output.size for head in heads for output in head.outputs.values())
    assert found.answers == month.load("topics.annotations").num_rows > 0
    assert found.cost == pytest.approx(2.0 * found.answers + found.wall_s, abs=0.06)
    assert found.currency == "CHF"


def test_a_cycle_that_never_ran_takes_nothing(month):
    found = growth_of(month.loader, "topics", "2020-01")
    assert (found.size_bytes, found.wall_s, found.answers, found.cost) == (0, 0, 0, 0)


def test_every_cycle_has_a_line(month):
    month.run("monthly", cycle="2026-11")
    growth = all_growth(month.loader)
    assert [(found.family, found.cycle) for found in growth] == [("topics", CYCLE), ("topics", "2026-11")]
    console = Console(width=120, record=True)
    print_growth(growth, console)
    shown = console.export_text()
    assert "2026-11" in shown
    assert "CHF" in shown
