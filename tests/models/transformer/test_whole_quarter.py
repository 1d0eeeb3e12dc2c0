"""A quarter whose challenger is a tiny transformer, on a synthetic web."""

import json

import pytest
import yaml

from al_platform.catalog.champion import training_record
from al_platform.circumstances import environment
from al_platform.config import FamilyConfigLoader
from al_platform.models.classifier import NgramClassifier
from al_platform.models.transformer.classifier import TransformerClassifier
from al_platform.models.transformer.module import TransformerModule
from al_platform.rebuild.compare import circumstances_of
from al_platform.rebuild.rebuild import rebuild_model
from al_platform.settings import CONFIG_LOADER_ARGS
from al_platform.storage.store import open_store
from temporary_project import CYCLE, ROOT, make_project

SECOND_FIT = {
    "max_epochs": 2,
    "batch_size": 32,
    "learning_rate": 2e-3,
    "head_learning_rate": 2e-2,
    "checkpoint_steps": 2,
}


class KilledError(Exception):
    """What stands for a machine that is lost."""


@pytest.fixture(scope="module")
def quarter(encoder, tmp_path_factory):
    """A month and a quarter, which was interrupted once; read only."""
    project = make_project(tmp_path_factory.mktemp("quarter"))
    project.only("topics")
    parameters = yaml.safe_load((project.path / "conf/test/parameters/family_defaults.yml").read_text())
    parameters["family_defaults"] |= {
        "model": {"encoder": "transformer", "transformer": {"name": "store:tiny", "max_tokens": 24}},
        "training": {"transformer": SECOND_FIT, "price_per_hour": {"cpu": 0.36}},
    }
    project.configure("parameters/family_defaults.yml", parameters)
    models = open_store(project.loader.root("models"))
    for file in encoder.iterdir():
        models.upload(file, f"encoders/tiny/{file.name}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AL_SCRATCH", str(tmp_path_factory.mktemp("scratch")))
        project.run("monthly")
        _interrupt(project, patch)
        project.left = models.list(f"topics/{CYCLE}/training/checkpoints")
        # Another machine: its scratch is empty.
        patch.setenv("AL_SCRATCH", str(tmp_path_factory.mktemp("other_scratch")))
        project.run("quarterly")
    return project


def _interrupt(project, patch):
    real = TransformerModule.on_train_epoch_start

    def stop_in_the_second_epoch(self):
        if self.progress.epoch:
            raise KilledError
        real(self)

    patch.setattr(TransformerModule, "on_train_epoch_start", stop_in_the_second_epoch)
    with pytest.raises(Exception, match="KilledError"):
        project.run("training")
    patch.setattr(TransformerModule, "on_train_epoch_start", real)


def record_of(project):
    return training_record(
        open_store(project.loader.root("models")), "topics", project.load("topics.challenger").digest
    )


def test_the_challenger_is_a_transformer_beside_the_simpler_model_it_must_beat(quarter):
    challenger, report = quarter.load("topics.challenger"), quarter.load("topics.training_report")
    assert isinstance(challenger.classifier, TransformerClassifier)
    assert isinstance(challenger.simpler.classifier, NgramClassifier)
    assert report["simpler_model"]["model_digest"] == challenger.simpler.digest
    assert 0 <= report["simpler_model"]["validation"]["validation_macro_f1"] <= 1
    assert report["start"] == {"from": "base", "why": "start_from is base."}


def test_checkpoints_outlive_the_machine_and_go_when_the_stage_commits(quarter):
    assert any(path.endswith("state.json") for path in quarter.left)
    assert record_of(quarter)["resumed_from_step"] > 0
    models = open_store(quarter.loader.root("models"))
    assert models.list(f"topics/{CYCLE}/training/checkpoints") == []


def test_the_record_says_what_the_model_was_made_from_on_what_and_for_how_much(quarter):
    record = record_of(quarter)
    assert {"topics.dataset"} <= record["inputs"]["stored"].keys()
    assert len(record["inputs"]["base_encoder"]) == 64
    assert record["parameters"]["training"]["transformer"]["max_epochs"] == 2
    assert any(package.startswith("torch==") for package in record["packages"]["installed"])
    assert record["environment"]["cpu"]
    assert record["cost"] == pytest.approx(record["device_s"] / 10_000, abs=1e-5)
    assert [row["epoch"] for row in record["history"]] == [0, 1]
    assert "code_revision" in record
    assert json.dumps(record)


def test_the_next_month_is_scored_by_either_kind(quarter):
    texts = quarter.load("topics.dataset")["text"].to_pylist()[:5]
    challenger = quarter.load("topics.challenger")
    for model in (challenger, challenger.simpler):
        scores = model.classifier.score(texts)
        assert scores.probabilities.shape == (5, 5)
        assert scores.embeddings.shape[0] == 5


def test_the_model_is_rebuilt_byte_for_byte(quarter):
    here = circumstances_of(None, environment())
    assert rebuild_model(quarter.loader, "topics", here, lambda line: None, None).weights.status == "equal"


def test_production_trains_a_transformer_from_committed_code_and_a_laptop_does_not(monkeypatch):
    monkeypatch.setenv("AL_UC_CATALOG", "main")
    found = {
        env: FamilyConfigLoader(conf_source=str(ROOT / "conf"), env=env, **CONFIG_LOADER_ARGS)["parameters"]["topics"]
        for env in ("databricks", "local")
    }
    assert {env: each["model"]["encoder"] for env, each in found.items()} == {
        "databricks": "transformer",
        "local": "ngram",
    }
    assert found["databricks"]["training"]["require_clean_tree"]
    assert found["databricks"]["training"]["price_per_hour"]
