import json
import shutil

import pytest
from click.testing import CliRunner

from al_platform.domain.cycles import shift_cycle
from al_platform.domain.errors import InputError
from al_platform.records import run_index
from al_platform.records.query import Wanted, find_runs, query_runs
from al_platform.records.run_index import RunIndex
from al_platform.storage.audit_log import AuditLog
from al_platform.storage.commit_log import StageKey
from al_platform.stores import Stores
from temporary_project import CYCLE, Project, make_project

NEXT = shift_cycle(CYCLE, 1)


@pytest.fixture(scope="module")
def quarter(tmp_path_factory):
    """A month and a quarter of one family, and a second month."""
    project = make_project(tmp_path_factory.mktemp("query"))
    project.only("topics")
    project.run("monthly")
    project.run("quarterly")
    project.run("monthly", cycle=NEXT)
    return project


@pytest.fixture
def copy(quarter, tmp_path):
    shutil.copytree(quarter.path, tmp_path / "copy")
    return Project(tmp_path / "copy")


def index_of(project, cache):
    return RunIndex(Stores.of_environment(project.loader), cache)


def rows(project, cache, **wanted):
    return find_runs(index_of(project, cache).refresh(), Wanted(**wanted))


def test_every_committed_stage_is_a_row_with_its_figures_data_and_model(quarter, tmp_path):
    found = {(row["stage"], row["cycle"]): row for row in rows(quarter, tmp_path)}
    months = [(stage, cycle) for cycle in (CYCLE, NEXT) for stage in _MONTHLY]
    assert set(found) == {*months, *((stage, CYCLE) for stage in ("training", "evaluation", "promotion"))}
    evaluated = found["evaluation", CYCLE]
    report = quarter.load("topics.evaluation_report")
    assert evaluated["figures"]["metrics.macro_f1.value"] == report["metrics"]["macro_f1"]["value"]
    assert evaluated["figures"]["verdict"] == report["verdict"]
    prepared = quarter.head("topics", "preparation").outputs["dataset"].sha256
    assert {found[stage, CYCLE]["dataset"] for stage in ("preparation", "training", "evaluation")} == {prepared}
    trained = quarter.load("topics.verdict")["challenger_digest"]
    assert {found[stage, CYCLE]["model"] for stage in ("training", "evaluation", "promotion")} == {trained}
    assert found["scoring", NEXT]["model"] == trained
    assert found["scoring", CYCLE]["model"] is None
    configured = quarter.loader["parameters"]["topics"]["selection"]["budget"]
    assert found["selection", CYCLE]["parameters"]["selection"]["budget"] == configured


_MONTHLY = ("scoring", "selection", "annotation_ingest", "preparation")


def test_runs_are_found_by_what_they_made_or_used(quarter, tmp_path):
    model = quarter.load("topics.verdict")["challenger_digest"]
    assert {row["stage"] for row in rows(quarter, tmp_path, model=model[:8])} == {
        *("training", "evaluation", "promotion", "scoring")
    }
    assert [row["cycle"] for row in rows(quarter, tmp_path, stage="scoring")] == [CYCLE, NEXT]
    assert len(rows(quarter, tmp_path, family="topics", cycle=NEXT, last=3)) == 3
    assert rows(quarter, tmp_path, family="sports") == []


def test_a_stage_that_is_not_known_is_named(quarter, tmp_path):
    with pytest.raises(InputError, match=r"no stage 'evaluate'.*evaluation"):
        rows(quarter, tmp_path, stage="evaluate")


def test_a_later_run_of_a_stage_replaces_the_one_before_unless_that_is_asked_for(copy, tmp_path):
    copy.run("preparation", cycle=NEXT, parameters={"topics": {"preparation": {"cleaning": {"min_words": 5}}}})
    wanted = {"stage": "preparation", "cycle": NEXT}
    assert [row["number"] for row in rows(copy, tmp_path, **wanted)] == [2]
    assert [row["number"] for row in rows(copy, tmp_path, superseded=True, **wanted)] == [1, 2]


def test_what_is_indexed_is_not_read_again(copy, tmp_path, monkeypatch):
    index_of(copy, tmp_path).refresh()
    copy.run("monthly", cycle=shift_cycle(NEXT, 1))
    read = []
    monkeypatch.setattr(
        run_index, "read_manifest", lambda s, e, real=run_index.read_manifest: read.append(e) or real(s, e)
    )
    grown = index_of(copy, tmp_path).refresh()
    assert len(read) == 4
    assert grown.num_rows == 15
    assert grown.equals(index_of(copy, tmp_path / "another").refresh())


def test_a_store_that_was_begun_anew_is_indexed_anew(copy, tmp_path):
    before = index_of(copy, tmp_path).refresh()
    shutil.rmtree(copy.path / "data")
    copy.run("scoring")
    assert (before.num_rows, index_of(copy, tmp_path).refresh().num_rows) == (11, 1)


def test_a_commit_that_is_announced_before_it_is_there_is_taken_in_when_it_is(copy, tmp_path):
    stores = Stores.of_environment(copy.loader)
    key = StageKey("topics", NEXT, "preparation")
    entry = stores.of_stage("preparation").local(f"{key.prefix}/log/000001.json")
    hidden = entry.rename(tmp_path / "entry")
    assert index_of(copy, tmp_path / "cache").refresh().num_rows == 10
    subject = {"data_class": "datasets", "entry": f"{key.prefix}/log/000001.json"}
    AuditLog(stores.by_class["logs"], "test").record("commit", subject)
    assert index_of(copy, tmp_path / "cache").refresh().num_rows == 10
    hidden.rename(entry)
    assert index_of(copy, tmp_path / "cache").refresh().num_rows == 11


def test_a_commit_that_comes_while_the_index_is_first_made_is_taken_in_afterwards(copy, tmp_path):
    key = StageKey("topics", NEXT, "preparation")
    entry = Stores.of_environment(copy.loader).of_stage("preparation").local(f"{key.prefix}/log/000001.json")
    hidden = entry.rename(tmp_path / "entry")
    assert index_of(copy, tmp_path / "cache").refresh().num_rows == 10
    hidden.rename(entry)
    assert index_of(copy, tmp_path / "cache").refresh().num_rows == 11


def test_sql_answers_over_the_same_table_and_reaches_nothing_else(quarter, tmp_path):
    runs = index_of(quarter, tmp_path).refresh()
    answer = query_runs(
        runs, "select cycle, figures->>'splits.train' as train from runs where stage = 'preparation' order by cycle"
    )
    expected = [quarter.load("topics.preparation_report", cycle)["splits"]["train"] for cycle in (CYCLE, NEXT)]
    assert [int(row["train"]) for row in answer.to_pylist()] == expected
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    for sql in (f"select * from '{secret}'", f"copy runs to '{tmp_path}/out.csv'", "select nothing from runs"):
        with pytest.raises(InputError, match="cannot be run"):
            query_runs(runs, sql)
    assert not (tmp_path / "out.csv").exists()


def test_the_command_prints_a_table_and_json(quarter, tmp_path, monkeypatch):
    from al_platform.cli import cli

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(quarter.path)

    def said(*arguments):
        done = CliRunner().invoke(cli, ["al", "query", "--env", "test", *arguments])
        assert done.exit_code == 0, done.output
        return done.output

    assert "macro-F1" in said("--stage", "evaluation")
    shown = json.loads(said("--stage", "preparation", "--json"))
    assert [row["figures"]["pages"] for row in shown] == [
        quarter.load("topics.preparation_report", cycle)["pages"] for cycle in (CYCLE, NEXT)
    ]
    assert "11" in said("--sql", "select count(*) from runs")
    assert "splits.golden" in said("--figure", "splits.golden", "--stage", "preparation")
    refused = CliRunner().invoke(cli, ["al", "query", "--env", "test", "--sql", "select 1", "--family", "topics"])
    assert refused.exit_code == 2
