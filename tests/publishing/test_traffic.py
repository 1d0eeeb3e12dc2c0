"""What a tracker is told of the traffic that a selection chose from."""

import json
import shutil

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from al_platform.catalog.formats import format_named
from al_platform.catalog.outputs import read_output
from al_platform.domain.cycles import shift_cycle
from al_platform.monitoring.monitor import monitor
from al_platform.publishing.traffic import traffic_tables
from al_platform.stores import Stores
from temporary_project import CYCLE, Project, make_project

NEXT = shift_cycle(CYCLE, 1)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A month, a quarter, and the next month up to its selection, scored by the champion."""
    project = make_project(tmp_path_factory.mktemp("traffic"))
    project.only("topics")
    project.configure("monitoring.yml", {"min_pages": 10})
    project.run("monthly", "quarterly")
    project.run("select", cycle=NEXT)
    return project


@pytest.fixture
def copy(scored, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(scored.path, tmp_path / "copy")
    return Project(tmp_path / "copy")


def tables(project, cycle=NEXT):
    return traffic_tables(Stores.of_environment(project.loader), project.head("topics", "selection", cycle))


def rows(table):
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_the_predicted_classes_stand_beside_those_trained_on(copy):
    found = {row["label"]: row for row in rows(tables(copy)["predicted_classes"])}
    labels = copy.loader["parameters"]["topics"]["taxonomy"]["labels"]
    scoring = copy.head("topics", "scoring", NEXT)
    store = Stores.of_environment(copy.loader).of_stage("scoring")
    predictions = read_output(store, scoring.outputs["predictions"], format_named("parquet"))
    decided = [labels[max(range(len(each)), key=each.__getitem__)] for each in predictions["probabilities"].to_pylist()]
    dataset = copy.load("topics.dataset")
    train = dataset.filter(pc.field("set") == "train")["values"].to_pylist()
    assert set(found) == set(labels)
    for label, row in found.items():
        trained = sum(values == [label] for values in train) / len(train)
        assert row["pages"] == decided.count(label)
        assert row["share"] == pytest.approx(decided.count(label) / len(decided))
        assert row["share_trained_on"] == pytest.approx(trained)
        assert row["difference"] == pytest.approx(row["share"] - trained)


def test_drift_is_told_where_monitoring_has_looked(copy):
    assert "drift" not in tables(copy)
    (found,) = monitor(copy.loader)
    told = {row["feature"]: row for row in rows(tables(copy)["drift"])}
    assert {name: (row["psi"], row["has_drifted"]) for name, row in told.items()} == {
        each.feature: (each.psi, each.has_drifted) for each in found.drift
    }


def test_before_a_model_nothing_was_predicted(copy):
    assert tables(copy, CYCLE) == {}


def test_of_a_model_that_was_not_trained_here_only_its_own_classes_are_told(copy):
    digest = copy.load("topics.verdict")["challenger_digest"]
    (copy.path / "data/test/models/topics/by_digest" / digest / "training.json").unlink()
    found = rows(tables(copy)["predicted_classes"])
    assert {row["share_trained_on"] for row in found} == {row["difference"] for row in found} == {None}
    assert sum(row["share"] for row in found) == pytest.approx(1)


def test_predictions_that_were_made_anew_since_are_not_told_of(copy):
    manifest = copy.head("topics", "selection", NEXT)
    read = manifest.inputs["topics.predictions"]
    other = read.model_copy(update={"files": (read.files[0].model_copy(update={"sha256": "0" * 64}),)})
    stores = Stores.of_environment(copy.loader)
    changed = manifest.model_copy(update={"inputs": {**manifest.inputs, "topics.predictions": other}})
    assert traffic_tables(stores, changed) == {}


def test_no_page_is_told_of(copy):
    batch = copy.load("topics.batch", NEXT)
    assert isinstance(batch, pa.Table)
    told = json.dumps([table.model_dump(mode="json") for table in tables(copy).values()])
    assert not any(page in told for page in batch["page_id"].to_pylist())
