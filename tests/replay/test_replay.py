"""A replay of a small archive: the project's own stages, in stores of their own."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from kedro.framework.project import pipelines

from al_platform.cli import al
from al_platform.domain.replay.figures import ReplayFigures
from al_platform.replay.catalog import ReplayFile
from al_platform.sources import SourceOptions, open_source
from al_platform.storage.commit_log import history
from al_platform.storage.store import open_store
from temporary_project import make_project

CALL = ("replay", "--env=test", "--family=topics", "--id=page_id", "--map=values=truth_topics", "--workers=1")
SIZE = ("--cycles=2", "--seeds=1", "--cadence=2", "--start-labels=150", "--measured-pages=200")
RUNS = ("default-budget-own-every-2-seed-0", "random-budget-own-every-2-seed-0")


def call(project, *words):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.path)
        return CliRunner().invoke(al, [*CALL, f"--archive={project.path / 'archive.parquet'}", *words])


@pytest.fixture(scope="module")
def archive():
    options = SourceOptions(pages_per_month=500)
    pages = [open_source("synthetic", options).pages(f"2025-{month:02d}") for month in (10, 11)]
    return pa.concat_tables(pages).select(["page_id", "title", "text", "domain", "truth_topics"])


@pytest.fixture(scope="module")
def replayed(tmp_path_factory, archive):
    """Two months of two strategies; read only."""
    project = make_project(tmp_path_factory.mktemp("replayed"))
    pq.write_table(archive, project.path / "archive.parquet")
    before = sorted(project.path.rglob("*"))
    result = call(project, *SIZE, "--strategies=default,random")
    assert result.exit_code == 0, (result.output, result.exception)
    project.printed, project.before = result.output, before
    return project


@pytest.fixture(scope="module")
def folder(replayed):
    return replayed.path / "data/test/replays/topics"


@pytest.fixture(scope="module")
def figures(folder):
    return ReplayFigures.model_validate_json((folder / "replay.json").read_bytes())


def logs(folder):
    return {file: len(list(file.iterdir())) for file in folder.glob("runs/*/*/topics/*/*/log")}


def test_every_stage_of_every_month_is_committed_in_the_runs_own_store(folder):
    for run in RUNS:
        for stage, data_class, cycles in (
            ("scoring", "datasets", ["2026-01", "2026-02"]),
            ("selection", "labels", ["2026-01", "2026-02"]),
            ("annotation_ingest", "labels", ["2026-01", "2026-02"]),
            ("preparation", "datasets", ["2026-01", "2026-02"]),
            ("training", "models", ["2026-01", "2026-02"]),
            ("promotion", "champion", ["2026-01", "2026-02"]),
        ):
            committed = history(open_store(str(folder / "runs" / run / data_class)), "topics", stage)
            assert sorted(committed) == cycles, (run, stage)


def test_nothing_is_written_outside_the_replays_but_the_record_of_the_run(replayed):
    new = {file for file in replayed.path.rglob("*") if file.is_file()} - {*replayed.before}
    outside = [file.relative_to(replayed.path / "data/test") for file in new if "replays" not in file.parts]
    assert {file.parts[0] for file in outside} <= {"logs"}


def test_no_page_of_a_month_is_in_the_labelled_start(folder):
    for run in RUNS:
        (start,) = (folder / "runs" / run / "labels/topics/imported").glob("*.parquet")
        labelled = set(pq.read_table(start)["page_id"].to_pylist())
        assert len(labelled) == 150
        for month in (folder / "archive").glob("2026-*/pages/*.parquet"):
            assert not labelled & set(pq.read_table(month)["page_id"].to_pylist())


def test_runs_of_one_seed_begin_with_the_same_labels(folder):
    starts = [next((folder / "runs" / run / "labels/topics/imported").glob("*")).read_bytes() for run in RUNS]
    assert starts[0] == starts[1]


def test_random_chooses_at_random_from_the_first_batch_on(folder):
    manifest = history(open_store(str(folder / "runs" / RUNS[1] / "labels")), "topics", "selection")["2026-01"]
    assert manifest.parameters["selection"]["strategy"] == "random"
    assert manifest.parameters["selection"]["cold_start_strategy"] == "random"


def test_models_are_measured_only_on_months_after_their_training(figures):
    for found in figures.settings:
        first, second, after = found.months
        assert first.newest is None
        assert second.newest is not None
        assert after.newest is not None
        assert found.labels > 0
        assert found.cost > 0
        assert len(found.curve) == 2
        assert found.gate.trainings == 2


def test_the_command_tells_its_conclusions_and_where_the_report_lies(replayed, figures, folder):
    printed = " ".join(replayed.printed.split())
    assert " ".join(figures.conclusions[0].split()) in printed
    assert (folder / "replay.html").read_text().startswith("<!doctype html>")


def test_the_archive_of_the_figures_is_named_without_its_place(folder):
    assert "archive.parquet" in (folder / "replay.json").read_text()
    assert str(folder.parents[3]) not in (folder / "replay.json").read_text()


def test_called_again_it_runs_nothing_and_more_strategies_are_added(replayed, folder):
    before = logs(folder)
    again = call(replayed, *SIZE, "--strategies=default,random", "--json")
    assert again.exit_code == 0, again.output
    assert logs(folder) == before
    assert json.loads(again.output[again.output.index("{") :])["seeds"] == 1


def test_a_month_that_was_killed_before_it_was_measured_is_measured_and_its_stages_stay(replayed, folder):
    point = folder / "runs" / RUNS[0] / "points/2026-02.json"
    found, before = json.loads(point.read_text()), logs(folder)
    point.unlink()
    assert call(replayed, *SIZE, "--strategies=default,random").exit_code == 0
    again, clock = json.loads(point.read_text()), ("cpu_s", "wall_s", "stages_cpu_s", "cost")
    assert {name: value for name, value in again.items() if name not in clock} == {
        name: value for name, value in found.items() if name not in clock
    }
    assert logs(folder) == before


def test_a_replay_that_goes_on_with_other_code_says_so(replayed, folder):
    """The temporary project is no checkout, so that its revision is unknown."""
    recorded = (folder / "revisions.json").read_bytes()
    (folder / "revisions.json").write_text('{"revisions": ["older"]}')
    assert call(replayed, *SIZE, "--strategies=default,random").exit_code == 0
    about = json.loads((folder / "replay.json").read_text())["about"]
    assert about["code_revision"] == f"older, then {json.loads(recorded)['revisions'][0]}"
    assert "older, then" in (folder / "replay.html").read_text()
    (folder / "revisions.json").write_bytes(recorded)


def test_the_files_of_a_replay_exist_once_they_are_saved(figures, folder, tmp_path):
    file = ReplayFile(place={"root": str(folder.parent), "logs": str(tmp_path)}, name="replay.json")
    assert not file.exists()
    saved = figures.model_copy(update={"name": "another"})
    file.save(saved)
    assert file.exists()
    assert file.load() == saved


def test_a_replay_of_the_same_name_with_other_people_is_refused(replayed):
    result = call(replayed, *SIZE, "--annotator-errors=0.2,0.3")
    assert result.exit_code == 1
    assert "made with another options.error_rates" in result.output
    assert "--name" in result.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--family=nosuch"], "There is no family 'nosuch'"),
        (["--strategies=nosuch"], "There is no query strategy 'nosuch'"),
        (["--cycles=1000", "--name=b"], "Give a larger archive"),
        (["--time=nosuch", "--name=c"], "Asked to order archive.parquet by 'nosuch'"),
        (["--annotator-errors=much", "--name=d"], "is not two numbers"),
        (["--map=values"], "is not of the form OURS=THEIRS"),
    ],
)
def test_what_cannot_be_replayed_is_told(replayed, words, told):
    result = call(replayed, *words)
    assert result.exit_code != 0
    assert told in " ".join(result.output.split())


def test_the_replay_is_a_registered_pipeline(replayed):
    assert {node.name for node in pipelines["replay"].nodes} == {"play_runs", "summarise_replay", "render_replay"}
