import json
import shutil
from itertools import pairwise

import pytest
from click.testing import CliRunner

from al_platform.budget.plan import QUARTERS, SUBSETS, Question, plan_budget
from al_platform.budget.standing import Evaluated, comparable, read_standing
from al_platform.budget.subsets import subset_sizes, train_on_subsets
from al_platform.cli import cli
from al_platform.domain.cycles import shift_cycle
from al_platform.domain.errors import ConfigError, NotReadyError
from al_platform.models import fit
from al_platform.parameters import FamilyParameters
from al_platform.stores import Stores
from temporary_project import CYCLE, Project, make_project

YEAR = [shift_cycle(CYCLE, 3 * number) for number in range(4)]


@pytest.fixture(scope="module")
def quarter(tmp_path_factory):
    """A month and a quarter of topics, with many answers a month."""
    project = make_project(tmp_path_factory.mktemp("quarter"))
    project.only("topics")
    project.configure("parameters/topics.yml", {"topics": {"selection": {"budget": 200, "domain_share": None}}})
    project.run("monthly", "quarterly")
    return project


@pytest.fixture(scope="module")
def year(quarter, tmp_path_factory):
    """Three more quarters of it."""
    path = tmp_path_factory.mktemp("year") / "project"
    shutil.copytree(quarter.path, path)
    project = Project(path)
    for cycle in YEAR[1:]:
        project.run("monthly", "quarterly", cycle=cycle)
    return project


def parameters_of(project, **gate):
    found = FamilyParameters.model_validate(project.loader["parameters"]["topics"])
    loosened = found.evaluation.gate.model_copy(update=gate)
    return found.model_copy(update={"evaluation": found.evaluation.model_copy(update={"gate": loosened})})


def standing_of(project, **gate):
    return read_standing(Stores.of_environment(project.loader), parameters_of(project, **gate))


def no_subsets(*_):
    raise NotReadyError("is not asked for")


def said(project, *arguments, exit_code=0):
    done = CliRunner().invoke(cli, ["al", "plan-budget", "--env", "test", *arguments])
    assert done.exit_code == exit_code, done.output
    return done.stdout if exit_code == 0 else done.output


@pytest.fixture
def in_quarter(quarter, monkeypatch):
    monkeypatch.chdir(quarter.path)
    return quarter


def test_an_evaluation_stands_with_the_labels_its_challenger_was_trained_on(year):
    standing = standing_of(year, min_audit=10**6)
    assert [each.cycle for each in standing.evaluations] == YEAR
    assert [each.training_labels for each in standing.evaluations] == [
        year.load("topics.preparation_report", cycle)["splits"]["train"] for cycle in YEAR
    ]
    figures = [year.load("topics.evaluation", cycle)["golden"]["challenger"]["macro_f1"] for cycle in YEAR]
    assert [each.error for each in standing.evaluations] == [1 - figure["value"] for figure in figures]
    assert standing.training_labels == standing.evaluations[-1].training_labels


def test_traffic_is_the_measure_where_it_says_something_and_golden_where_it_does_not(quarter):
    assert {each.set for each in standing_of(quarter, min_audit=10).evaluations} == {"audit"}
    assert {each.set for each in standing_of(quarter, min_audit=10**6).evaluations} == {"golden"}


def test_only_evaluations_like_the_newest_are_compared_with_it():
    def evaluated(cycle, set_name, encoder):
        return Evaluated(cycle, 100, 0.2, 0.02, set_name, 300, encoder)

    old, audit, golden = (
        evaluated("2026-03", "golden", "ngram"),
        evaluated("2026-06", "audit", "transformer"),
        evaluated("2026-06", "golden", "transformer"),
    )
    earlier = evaluated("2026-04", "audit", "transformer")
    assert comparable([old, earlier, golden, audit]) == (earlier, audit)
    assert comparable([old, golden]) == (golden,)


def test_people_who_answer_thrice_a_page_make_a_label_cost_three_answers(quarter):
    report = quarter.load("topics.annotation_ingest_report")
    answers = standing_of(quarter).answers_per_label
    assert answers == report["answers_in_ledger"] / (report["labels"] + report["unresolved"])
    assert 2.5 < answers <= 3
    plan = plan_budget(quarter.loader, (), Question(labels=100), no_subsets).families["topics"]
    assert plan.cost == pytest.approx(100 * answers * 0.08, abs=0.01)


def test_after_one_quarter_the_curve_is_that_of_random_subsets_at_the_level_of_the_evaluation(quarter):
    plan = plan_budget(quarter.loader, (), Question(labels=200, target=0.99, seeds=2)).families["topics"]
    assert plan.answered_by == SUBSETS
    assert "found 1" in plan.missing[QUARTERS]
    answers, newest = plan.curves[SUBSETS], plan.evaluations[-1]
    assert [point.training_labels for point in answers.points] == sorted(
        subset_sizes(plan.training_labels, n_labels=len(parameters_of(quarter).taxonomy.labels))
    )
    assert answers.points[-1].error < answers.points[0].error
    assert answers.macro_f1_now.value == pytest.approx(1 - newest["error"])
    assert 0 <= answers.gain.low <= answers.gain.value <= answers.gain.high < newest["error"]


def test_after_four_quarters_the_curve_of_what_was_selected_counts(year):
    plan = plan_budget(year.loader, ("topics",), Question(), no_subsets).families["topics"]
    assert plan.answered_by == QUARTERS
    points = plan.curves[QUARTERS].points
    assert [point.training_labels for point in points] == [each["training_labels"] for each in plan.evaluations]
    assert points[-1].training_labels > 2 * points[0].training_labels
    assert plan.labels == 200
    assert plan.missing == {SUBSETS: "is not asked for"}


def test_each_subset_is_part_of_the_next_and_a_second_run_finds_the_same(quarter, monkeypatch):
    seen = {}

    def recorded(pages, *rest, real=fit.fit_classifier):
        seen[len(pages.texts), rest[-1]] = set(pages.texts)
        return real(pages, *rest)

    monkeypatch.setattr(fit, "fit_classifier", recorded)
    standing, parameters = standing_of(quarter), parameters_of(quarter)
    first = train_on_subsets(standing.dataset, parameters, seeds=2)
    sizes = subset_sizes(standing.training_labels, len(parameters.taxonomy.labels))
    assert set(seen) == {(max(sizes), 0), *((size, seed) for size in sizes[1:] for seed in (0, 1))}
    for seed in (0, 1):
        for larger, smaller in pairwise(sizes[1:]):
            assert seen[smaller, seed] < seen[larger, seed]
    assert seen[sizes[1], 0] != seen[sizes[1], 1]
    assert (train_on_subsets(standing.dataset, parameters, seeds=2).error == first.error).all()


def test_subsets_are_halved_until_classes_would_be_missing():
    assert subset_sizes(800, 5) == [800, 400, 200, 100, 50, 25]
    assert subset_sizes(799, 10) == [799, 399, 199, 99]
    assert subset_sizes(10, 5) == []


def test_too_few_labels_for_subsets_are_said_and_not_guessed_around(quarter):
    standing = standing_of(quarter)
    with pytest.raises(NotReadyError, match=r"needs 4 training sets of different size.*found 1"):
        train_on_subsets(standing.dataset.slice(0, 60), parameters_of(quarter), seeds=2)


def test_the_command_prints_a_table_and_json_and_writes_nothing(in_quarter):
    before = in_quarter.state()
    shown = said(in_quarter, "--target", "0.97", "--total", "300", "--seeds", "2")
    for expected in ("gain in points", "labels to reach 0.97", "How to share the budget", "random subsets", "EUR"):
        assert expected in shown
    plan = json.loads(said(in_quarter, "--total", "300", "--weight", "topics=2", "--seeds", "2", "--json"))
    assert plan["shares"]["topics"]["answers"] == 300
    assert plan["shares"]["topics"]["weight"] == 2
    assert plan["families"]["topics"]["curves"]["subsets"]["gain"]["value"] > 0
    assert in_quarter.state() == before


def test_a_total_cannot_be_shared_where_no_curve_can_be_told(quarter):
    with pytest.raises(NotReadyError, match="share out 300 answers, but no family"):
        plan_budget(quarter.loader, (), Question(total=300), no_subsets)
    plan = plan_budget(quarter.loader, (), Question(), no_subsets).families["topics"]
    assert (plan.answered_by, plan.curves) == (None, {})


def test_a_family_that_is_not_known_is_named(quarter):
    with pytest.raises(ConfigError, match=r"no family 'topic'.*Did you mean 'topics'"):
        plan_budget(quarter.loader, ("topic",), Question())
    with pytest.raises(ConfigError, match="no family 'sports'"):
        plan_budget(quarter.loader, (), Question(weights={"sports": 2.0}))


def test_a_family_without_labels_or_evaluation_says_what_to_run(project, monkeypatch):
    project.only("topics")
    monkeypatch.chdir(project.path)
    assert "topics has no labelled pages yet. Run: kedro run --pipelines=monthly" in said(project, exit_code=1)
    project.run("monthly")
    assert "topics has no evaluation yet" in said(project, "--family", "topics", exit_code=1)


def test_a_family_that_is_not_ready_does_not_hide_the_others(quarter, tmp_path):
    shutil.copytree(quarter.path, tmp_path / "two")
    project = Project(tmp_path / "two")
    project.only("topics", "sentiment")
    plan = plan_budget(project.loader, (), Question(), no_subsets)
    assert set(plan.families) == {"topics"}
    assert "sentiment has no labelled pages yet" in plan.not_ready["sentiment"]


@pytest.mark.parametrize("weight", ["topics", "topics=many", "topics=0"])
def test_a_weight_that_is_none_is_refused(weight, in_quarter):
    assert "--weight" in said(in_quarter, "--weight", weight, exit_code=2)
