import pytest
from rich.console import Console

from al_platform.status import next_command, print_status, public_status

KEYS = (
    *("cycle", "pool", "candidates", "batch", "annotated", "pending", "agreement", "simulated"),
    *("rounds", "annotators", "relabelled"),
    *("splits", "evaluated", "metrics", "verdict", "reason", "champion", "loosened", "promoted_in", "growth"),
)


def family(**known):
    return {**dict.fromkeys(KEYS), **known}


def status(env=None, **families):
    return {"families": families, "environment": {"env": env}}


SPLITS = {"train": 5, "validation": 1, "golden": 2, "audit": 1, "control": 0, "excluded": 3}


@pytest.mark.parametrize(
    ("found", "command"),
    [
        (family(), "kedro run --pipelines=monthly"),
        (family(cycle="2026-10", splits=SPLITS), "kedro run --pipelines=quarterly --params cycle=2026-10"),
        (
            family(cycle="2026-12", splits=SPLITS, promoted_in="2026-10"),
            "kedro run --pipelines=monthly --params cycle=2027-01",
        ),
        (
            family(cycle="2027-01", splits=SPLITS, promoted_in="2026-10"),
            "kedro run --pipelines=quarterly --params cycle=2027-01",
        ),
    ],
)
def test_the_next_command_is_the_month_after_or_the_quarter_when_it_is_due(found, command):
    assert next_command(status(topics=found)) == command


def test_the_next_command_names_the_environment_and_repeats_the_month_that_is_not_finished():
    found = status("mine", topics=family(cycle="2026-09"))
    assert next_command(found) == "kedro run --pipelines=monthly --params cycle=2026-09 --env mine"


def test_json_holds_the_four_sets_and_null_for_what_has_not_run():
    shown = public_status(status(topics=family(cycle="2026-10", splits=SPLITS)))["families"]["topics"]
    assert shown["splits"] == {"train": 5, "validation": 1, "golden": 2, "audit": 1}
    assert shown["verdict"] is None
    assert shown["metrics"] is None


def test_the_table_fits_eighty_columns_and_says_where_annotators_are_simulated():
    console = Console(width=80, record=True)
    found = family(cycle="2026-10", splits=SPLITS, simulated=True, batch={"total": 60, "by_reason": {"audit": 60}})
    print_status(status(topics=found, brand_safety=found, sentiment=found), console)
    text = console.export_text()
    assert max(map(len, text.splitlines()[:12])) <= 80
    assert "brand_safety" in text
    assert "Annotators are simulated" in text


def test_the_table_says_what_is_overdue_when_it_will_be_done_and_how_well_annotators_answer():
    console = Console(width=120, record=True)
    late = {"pages": 60, "complete": 20, "state": "late", "due": "2026-11-15T00:00:00+00:00"}
    rounds = {"2026-09": {**late, "state": "closed"}, "2026-10": {**late, "finish": "2026-12-02T00:00:00+00:00"}}
    people = {"ann": {"answers": 120, "quality": 0.934, "checks": 10, "checks_right": 9}}
    doubts = {"asked": 6, "answered": 5, "fixed": 2}
    found = family(cycle="2026-10", rounds=rounds, annotators=people, relabelled=doubts)
    print_status(status(topics=found), console)
    text = " ".join(console.export_text().split())
    assert "2026-10: 20 of 60 pages, late, due 2026-11-15, done about 2026-12-02" in text
    assert "2026-09:" not in text
    assert "ann: 120 (93%, 9/10 known)" in text
    assert "6 asked, 2 fixed" in text
