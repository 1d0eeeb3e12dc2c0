"""The ML Test Score of real stores: evidence is looked at, and what is deleted counts no more."""

import json
import shutil
import subprocess
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from al_platform.catalog.champion import champion_log
from al_platform.cli import al
from al_platform.dashboard.publish import publish
from al_platform.domain.cycles import shift_cycle
from al_platform.domain.errors import ConfigError
from al_platform.monitoring.monitor import monitor
from al_platform.selfcheck.checks import CHECKS, grade_all
from al_platform.selfcheck.evidence import PlatformEvidence
from al_platform.selfcheck.grade import SECTIONS
from al_platform.storage.commit_log import to_json
from al_platform.storage.store import LocalStore
from temporary_project import CYCLE, Project, make_project

NEXT = shift_cycle(CYCLE, 1)
NOW = datetime(2026, 12, 5, tzinfo=UTC)
JUNIT = """<testsuites><testsuite timestamp="{at}">
<testcase classname="tests.models.test_features" name="a"/><testcase classname="tests.test_whole_loop" name="b"/>
<testcase classname="tests.rebuild.test_rebuild" name="c">{outcome}</testcase></testsuite></testsuites>"""


def git(folder, *command):
    person = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *person, *command], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def looked_after(tmp_path_factory):
    """A family with a month, a quarter and the month after, monitored and shown, from a checkout whose tests passed."""
    project = make_project(tmp_path_factory.mktemp("selfcheck"))
    project.only("topics")
    project.configure("selfcheck.yml", {"reviewed_branch": "main"})
    project.configure("monitoring.yml", {"min_pages": 10, "psi_limit": 10})
    git(project.path, "init", "--initial-branch=main")
    git(project.path, "add", "conf", "pyproject.toml")
    git(project.path, "commit", "--message=conf")
    project.run("monthly")
    project.run("quarterly")
    project.run("monthly", cycle=NEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        monitor(project.loader)
        publish(project.loader)
    write_tests(project)
    return project


@pytest.fixture
def copy(looked_after, tmp_path):
    """A copy of it, to take things away from."""
    shutil.copytree(looked_after.path, tmp_path / "copy", symlinks=True)
    return Project(tmp_path / "copy")


def write_tests(project, at="2026-12-01T00:00:00", outcome=""):
    file = project.path / "build" / "tests.xml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(JUNIT.format(at=at, outcome=outcome))


def graded(project, now=NOW):
    return grade_all(PlatformEvidence.of(project.loader, now))


def grades(project, names, now=NOW):
    wanted = [check for check in CHECKS if check.id in names]
    return {check.id: check.grade for check in grade_all(PlatformEvidence.of(project.loader, now), wanted).checks}


def grade(project, name, now=NOW):
    return grades(project, [name], now)[name]


@pytest.fixture(scope="module")
def whole(looked_after):
    return {check.id: check.grade.points for check in graded(looked_after).checks}


def test_there_are_seven_checks_in_each_of_four_sections():
    assert {section: sum(check.section == section for check in CHECKS) for section in SECTIONS} == dict.fromkeys(
        SECTIONS, 7
    )
    assert len({check.id for check in CHECKS}) == 28


def test_an_empty_platform_scores_nothing_and_is_told_what_to_do(project):
    found = graded(project)
    assert (found.value, found.band) == (0, "more of a research project than a productionized system")
    assert dict(found.sections) == dict.fromkeys(SECTIONS, 0)
    assert all(check.grade.seen and check.grade.todo for check in found.checks)


def test_a_loop_that_is_looked_after_scores_in_every_section(looked_after):
    sections = graded(looked_after).sections
    least = {"data": 4, "model": 1.5, "infrastructure": 5, "monitoring": 5}
    assert {name: points for name, points in sections.items() if points < least[name]} == {}


def test_what_is_less_than_a_point_comes_with_what_to_do(looked_after):
    assert all(bool(check.grade.todo) == (check.grade.points < 1) for check in graded(looked_after).checks)


def test_a_full_point_names_its_evidence(looked_after):
    assert grade(looked_after, "reviewed").seen.endswith("which is on main")
    champion = champion_log(LocalStore(looked_after.loader.root("champion")), "topics")[-1]
    assert champion.model_digest[:12] in grade(looked_after, "validated").seen


@pytest.mark.parametrize(
    ("deleted", "checks"),
    [
        (f"datasets/topics/{NEXT}/preparation/attempts/*/dataset.parquet", ["schema"]),
        (f"datasets/topics/{NEXT}/preparation/attempts/*/quarantine.parquet", ["schema", "invariants"]),
        (f"datasets/topics/{NEXT}/scoring/attempts/*/predictions.parquet", ["schema", "stable"]),
        (f"datasets/topics/{CYCLE}/preparation/log/*", ["meta_level"]),
        (f"models/topics/{CYCLE}/evaluation/attempts/*/verdict.json", ["cost", "validated", "simpler"]),
        (f"models/topics/{CYCLE}/evaluation/attempts/*/manifest.json", ["cost", "validated", "quick_features"]),
        (f"models/topics/{CYCLE}/evaluation/attempts/*/evaluation.json", ["canaried"]),
        (f"models/topics/{CYCLE}/evaluation/attempts/*/evaluated_pages.parquet", ["debuggable"]),
        (f"models/topics/{CYCLE}/training/attempts/*/training_report.json", ["debuggable", "stable"]),
        (f"models/topics/{CYCLE}/training/log/*", ["reviewed", "fresh", "reproducible"]),
        ("models/topics/by_digest/*/*.safetensors", ["reproducible"]),
        ("models/topics/by_digest/*/training.json", ["reproducible"]),
        ("champion/topics/log/*", ["validated", "canaried"]),
        ("logs/monitoring/topics/*", ["correlate", "canaried", "invariants", "skew", "quality"]),
        ("logs/dashboard/index.html", ["fresh"]),
        ("logs/audit/000002.json", ["privacy"]),
    ],
)
def test_deleted_evidence_lowers_its_grades(copy, whole, deleted, checks):
    files = list((copy.path / "data/test").glob(deleted))
    assert files
    for file in files:
        file.unlink()
    found = {name: grade.points for name, grade in grades(copy, checks).items()}
    assert all(found[name] < whole[name] for name in checks), (found, {name: whole[name] for name in checks})


def test_changed_evidence_counts_no_more(copy, whole):
    (verdict,) = (copy.path / "data/test/models/topics" / CYCLE / "evaluation/attempts").glob("*/verdict.json")
    verdict.write_text(verdict.read_text().replace('"iterate"', '"promote"') + " ")
    found = grade(copy, "validated")
    assert (found.points, whole["validated"]) == (0, 1)
    assert "was changed" in found.seen


def test_a_run_that_was_killed_is_found(copy, whole):
    ended = sorted((copy.path / "data/test/logs/runs").glob("*/ended.json"))[-1]
    ended.unlink()
    started = ended.with_name("started.json")
    # As if another process of this number had begun it.
    started.write_text(json.dumps({**json.loads(started.read_text()), "process_started": 1}))
    found = grade(copy, "performance")
    assert found.points == 0 < whole["performance"]
    assert ended.parent.name in found.seen


def test_a_stage_that_is_late_is_named(looked_after):
    found = grade(looked_after, "fresh", datetime(2027, 3, 1, tzinfo=UTC))
    assert found.points == 0
    assert "scoring 90 days after its month, 35 allowed" in found.seen


def test_drift_is_half_a_point_and_says_what_to_do(copy):
    (kept,) = (copy.path / "data/test/logs/monitoring/topics").glob("*.json")
    content = json.loads(kept.read_text())
    content["drift"][0]["has_drifted"] = True
    kept.write_text(json.dumps({**content, "proposes": True}))
    found = grade(copy, "skew")
    assert (found.points, found.todo) == (0.5, "Run the quarterly early.")
    assert content["drift"][0]["feature"] in found.seen


def test_a_former_champion_that_is_whole_is_half_a_way_back_and_a_rollback_all_of_it(copy):
    champions = LocalStore(copy.loader.root("champion"))
    (first,) = champion_log(champions, "topics")
    models = copy.path / "data/test/models/topics/by_digest"
    shutil.copytree(models / first.model_digest, models / ("f" * 64))
    second = first.model_copy(update={"number": 2, "model_digest": "f" * 64, "previous": first.model_digest})
    champions.create("topics/log/000002.json", to_json(second))
    assert grade(copy, "rolled_back").points == 0.5
    back = {"number": 3, "kind": "rollback", "actor": "eve", "reason": "complaints", "previous": "f" * 64}
    champions.create("topics/log/000003.json", to_json(first.model_copy(update=back)))
    assert grade(copy, "rolled_back").points == 1
    assert grade(copy, "validated").points == 0.5


def test_the_platform_is_as_good_as_its_worst_family(copy, whole):
    copy.only("topics", "sentiment")
    found = grade(copy, "schema")
    assert (found.points, found.seen) == (0, "sentiment: scoring was never committed")
    assert whole["schema"] == 1


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({"at": "2026-12-01T00:00:00"}, 1),
        ({"outcome": "<failure/>"}, 0.5),
        ({"outcome": "<error/>"}, 0.5),
        ({"outcome": "<skipped/>"}, 0.5),
        ({"at": "2026-01-01T00:00:00"}, 0.5),
    ],
)
def test_a_model_counts_as_rebuilt_where_tests_of_it_passed_lately(copy, report, expected):
    write_tests(copy, **report)
    assert grade(copy, "reproducible").points == expected


def test_a_failed_test_of_the_features_leaves_no_point(copy):
    text = (copy.path / "build/tests.xml").read_text()
    (copy.path / "build/tests.xml").write_text(text.replace('name="a"/>', 'name="a"><failure/></testcase>'))
    found = grade(copy, "features_tested")
    assert (found.points, found.seen) == (0, "1 tests failed: tests.models.test_features.a")


def test_a_broken_report_on_tests_is_named(copy):
    (copy.path / "build/tests.xml").write_text("<testsuites>")
    assert grade(copy, "unit_tested").seen.startswith("tests.xml is no JUnit file")


def by_hand(project, document, on, check="beneficial"):
    project.configure("selfcheck.yml", {"by_hand": {check: {"document": document, "on": on}}})


def test_what_people_did_and_wrote_down_is_half_a_point(copy, whole):
    (copy.path / "ablation.md").write_text("Without titles macro-F1 is 0.02 lower.")
    by_hand(copy, "ablation.md", date(2026, 11, 1))
    found = grade(copy, "beneficial")
    assert whole["beneficial"] == 0
    assert (found.points, found.seen) == (0.5, "by hand on 2026-11-01: ablation.md")


@pytest.mark.parametrize(
    ("content", "on", "why"),
    [(None, date(2026, 11, 1), "missing or empty"), ("\n", date(2026, 11, 1), "missing or empty"),
     ("Done.", date(2026, 1, 1), "too long ago")],
)  # fmt: skip
def test_what_is_not_written_down_or_old_is_none(copy, content, on, why):
    if content is not None:
        (copy.path / "ablation.md").write_text(content)
    by_hand(copy, "ablation.md", on)
    found = grade(copy, "beneficial")
    assert found.points == 0
    assert why in found.seen


def test_a_check_that_there_is_not_is_refused_with_the_nearest(project):
    by_hand(project, "x.md", date(2026, 11, 1), check="beneficials")
    with pytest.raises(ConfigError, match="Did you mean 'beneficial'"):
        graded(project)


@pytest.fixture
def called(looked_after, monkeypatch):
    monkeypatch.chdir(looked_after.path)
    return lambda *options: CliRunner().invoke(al, ["selfcheck", "--env", "test", *options])


def test_the_command_prints_points_evidence_and_what_to_do(called):
    answer = called()
    assert answer.exit_code == 0, answer.output
    assert "beneficial: Train without titles" in answer.output
    assert "the smallest is the score." in answer.output


def test_the_command_ends_with_an_error_below_what_was_asked(called):
    score = json.loads(called("--json").stdout)["score"]
    assert called("--at-least", str(score)).exit_code == 0
    answer = called("--at-least", str(score + 0.5))
    assert answer.exit_code == 1
    assert f"asked for {score + 0.5:g}" in answer.output


def test_json_holds_every_check_and_the_smallest_section(called):
    found = json.loads(called("--json").stdout)
    assert len(found["checks"]) == 28
    assert found["score"] == min(found["sections"].values())
    assert set(found["checks"][0]) == {"id", "section", "title", "grade"}


def test_nothing_is_written(looked_after):
    before = {file: file.stat().st_mtime_ns for file in Path(looked_after.path / "data").rglob("*")}
    graded(looked_after)
    assert {file: file.stat().st_mtime_ns for file in Path(looked_after.path / "data").rglob("*")} == before
