import pytest

from al_platform.loop import run_loop


@pytest.fixture
def small(project):
    project.only("topics")
    project.configure(
        "globals.yml",
        {
            "root": "data/test",
            "traffic": {"source": "synthetic", "options": {"pages_per_month": 400, "seed_labels": 300}},
        },
    )
    return project


def test_the_loop_runs_months_and_quarters_and_ends_at_its_cap_with_a_message(small, capsys):
    gate = {"required_gain": 0.9, "min_golden": 20, "min_audit": 10, "replicates": 200}
    small.configure(
        "parameters/family_defaults.yml",
        {"family_defaults": {"selection": {"budget": 30}, "evaluation": {"gate": gate}}},
    )
    assert not run_loop(small.path, "test", "2026-01", max_quarters=2)
    printed = capsys.readouterr().out
    assert "After 2 quarters no family has a second-generation champion" in printed
    assert "first champion, frozen" in printed
    assert small.status(cycle="2026-07")["batch"]["by_reason"]["strategy"] > 0


def test_the_loop_ends_when_a_second_generation_champion_has_chosen(small, capsys):
    gate = {"margin": 0.9, "required_gain": -0.9, "ece_slack": 1.0, "min_golden": 20, "min_audit": 5, "replicates": 200}
    small.configure(
        "parameters/family_defaults.yml",
        {"family_defaults": {"selection": {"budget": 30}, "evaluation": {"gate": gate}}},
    )
    assert run_loop(small.path, "test", "2026-01", max_quarters=3)
    assert "A second-generation champion of topics chose the batch of 2026-07" in capsys.readouterr().out
