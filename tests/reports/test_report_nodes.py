"""The report's nodes on a project whose quarterly has run, composed here into a pipeline."""

import pytest
from click.testing import CliRunner
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner
from read_html import Document

from al_platform.catalog.champion import training_record
from al_platform.catalog.formats import format_named
from al_platform.catalog.past_champions import PastChampions
from al_platform.domain.errors import ConfigError, NotReadyError
from al_platform.parameters import FamilyParameters
from al_platform.pipelines.evaluation.nodes import score_sets
from al_platform.pipelines.evaluation.report_nodes import compare_pages, measure_staleness, write_report
from al_platform.reports.cli import report
from al_platform.reports.cost import MARK, with_cost
from al_platform.storage.commit_log import Manifest, Output, StageKey, commit, file_sha256
from al_platform.storage.store import open_store
from temporary_project import CYCLE, make_project

COMMITTED = ("evaluation", "verdict", "error_analysis", "training_report", "dataset_card")

PIPELINE = Pipeline(
    [
        Node(score_sets, ["challenger", "champion", "dataset", "params:taxonomy"], "scored"),
        Node(
            measure_staleness,
            ["dataset", "scored", "past_champions", "params:taxonomy", "params:evaluation", "params:cycle"],
            "staleness",
        ),
        Node(compare_pages, ["dataset", "scored", "params:taxonomy"], "compared_pages"),
        Node(
            write_report,
            [*COMMITTED, "staleness", "compared_pages", "params:family", "params:cycle"],
            "challenger_report",
        ),
    ]
)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Two quarters of one family, the first of which promoted a model."""
    project = make_project(tmp_path_factory.mktemp("report") / "project")
    project.only("topics")
    for cycle in ("2026-08", CYCLE):
        project.run("monthly", "quarterly", cycle=cycle)
    return project


class Kept(MemoryDataset):
    """What the runner would let go of once every node has read it."""

    def _release(self):
        pass


def written(project, cycle):
    """Return the outputs of the pipeline on what the project has committed."""
    bootstrap_project(project.path)
    with KedroSession.create(project.path, env="test", runtime_params={"cycle": cycle}) as session:
        context = session.load_context()
        parameters = FamilyParameters.model_validate(context.params["topics"])
        loader = context.config_loader
        read = {
            name: context.catalog.load(f"topics.{name}") for name in (*COMMITTED, "challenger", "champion", "dataset")
        }
    read |= {f"params:{name}": getattr(parameters, name) for name in ("taxonomy", "evaluation", "family")}
    read |= {"params:cycle": cycle}
    datasets = {name: MemoryDataset(value, copy_mode="assign") for name, value in read.items()}
    datasets["past_champions"] = PastChampions(
        root=loader.root("champion"), models_root=loader.root("models"), family="topics", cycle=cycle
    )
    datasets |= {name: Kept() for name in ("staleness", "challenger_report")}
    SequentialRunner().run(PIPELINE, DataCatalog(datasets=datasets))
    return {name: datasets[name].load() for name in ("staleness", "challenger_report")}


def test_the_first_report_has_nothing_to_compare_with_and_the_second_has(project):
    first, second = (Document(written(project, cycle)["challenger_report"]) for cycle in ("2026-08", CYCLE))
    assert "It is the first champion of its family." in first.section("verdict")
    assert "Pages by which model is right" in second.section("regressions")
    assert "2026-08" in second.section("staleness")


def test_staleness_of_the_champion_in_use_agrees_with_its_evaluation(project):
    point = written(project, CYCLE)["staleness"]["champions"][-1]
    champion = project.load("topics.evaluation")["audit"]["champion"]
    assert point["macro_f1"]["value"] == pytest.approx(champion["macro_f1"]["value"])


def test_the_same_outputs_give_the_same_bytes(project):
    assert written(project, CYCLE) == written(project, CYCLE)


def committed(project, document):
    """Commit a report as evaluation does."""
    store = open_store(project.loader.root("models"))
    key = StageKey("topics", "2026-11", "evaluation")
    file = project.path / "report.html"
    format_named("html").dump(document, file)
    path = f"{key.attempt('a-run')}/challenger_report.html"
    store.upload(file, path)
    output = Output(path=path, sha256=file_sha256(file), size=file.stat().st_size)
    manifest = Manifest(
        family="topics",
        cycle="2026-11",
        stage="evaluation",
        run_id="a-run",
        outputs={"challenger_report": output, "verdict": project.head("topics", "evaluation").outputs["verdict"]},
        inputs={},
        parameters={},
        code_revision=None,
        environment={},
        started_at="2026-11-01T00:00:00+00:00",
        ended_at="2026-11-01T00:00:01+00:00",
    )
    commit(store, manifest, 0)
    return f"{store.root}/{path}"


@pytest.fixture
def call(project, monkeypatch):
    monkeypatch.chdir(project.path)
    bootstrap_project(project.path)

    def call(*arguments):
        return CliRunner().invoke(report, [*arguments, "--env", "test"], catch_exceptions=True)

    return call


def test_the_command_says_where_the_report_lies_and_copies_it(project, call, tmp_path):
    place = committed(project, f"<!doctype html>\n<p>Größe {MARK}")
    assert call("--family", "topics").output.strip() == place
    target = tmp_path / "copy.html"
    assert call("--family", "topics", "--cycle", "2026-11", "--output", str(target)).output.strip() == str(target)
    copied = target.read_text(encoding="utf-8")
    assert copied.startswith("<!doctype html>\n<p>Größe <table>")
    digest = project.load("topics.challenger").digest
    seconds = training_record(open_store(project.loader.root("models")), "topics", digest)["wall_s"]
    assert f"{seconds:.1f}</td>" in copied


def test_a_copy_tells_what_the_training_cost():
    record = {"devices": ["NVIDIA A10G", "<b>"], "device_s": 7200.0, "wall_s": 3600.0, "cost": 2.4}
    told = with_cost(f"<p>{MARK}</p>", record)
    assert "NVIDIA A10G, &lt;b&gt;" in told
    assert [number in told for number in (">3600.0<", ">7200.0<", ">2.40<")] == [True] * 3


def test_a_copy_says_where_a_price_is_missing():
    told = with_cost(MARK, {"devices": ["cpu"], "device_s": 1.0, "wall_s": 1.0, "cost": None})
    assert "training.price_per_hour" in told


def test_the_report_has_a_place_for_the_cost(project):
    assert project.load("topics.challenger_report").count(MARK) == 1


def test_the_command_says_what_to_run_where_there_is_no_report(call):
    found = call("--family", "topics", "--cycle", "2026-01").exception
    assert isinstance(found, NotReadyError)
    assert "kedro run --pipelines=quarterly --params cycle=2026-01" in str(found)


def test_the_command_names_the_nearest_family_where_there_is_none_of_that_name(call):
    found = call("--family", "topic").exception
    assert isinstance(found, ConfigError)
    assert "topics" in str(found)
