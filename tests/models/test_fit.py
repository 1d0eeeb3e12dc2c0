import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers.logger import DummyLogger
from ngram_texts import MULTI, QUICK, SINGLE, SMALL, multi_texts, single_texts
from pydantic import ValidationError

from al_platform.domain.errors import ConfigError, TaxonomyError, TrainingDataError
from al_platform.domain.metrics import macro_f1
from al_platform.domain.taxonomy import Taxonomy
from al_platform.models.calibration import negative_log_likelihood
from al_platform.models.fit import FitResult, LabelledTexts, fit_classifier
from al_platform.models.options import FitOptions

NONE = LabelledTexts([], [])


def fit_single(train: LabelledTexts, validation: LabelledTexts = NONE, **changes) -> FitResult:
    return fit_classifier(train, validation, SINGLE, SMALL, QUICK.model_copy(update=changes), seed=0)


def f1_on(result: FitResult, taxonomy: Taxonomy, rows: LabelledTexts) -> float:
    decisions = result.classifier.decide(result.classifier.score(rows.texts).probabilities)
    return macro_f1(taxonomy.encode(rows.values), decisions)


@pytest.mark.parametrize("name", ["single_fit", "hidden_fit"])
def test_single_labels_are_learnt(name, request):
    assert f1_on(request.getfixturevalue(name), SINGLE, single_texts(100, 7)) > 0.95


def test_multiple_labels_are_learnt(multi_fit):
    assert f1_on(multi_fit, MULTI, multi_texts(100, 7)) > 0.9


@pytest.mark.parametrize("hidden_units", [0, 4])
def test_the_same_seed_gives_the_same_bytes(tmp_path, hidden_units):
    ngram = SMALL.model_copy(update={"hidden_units": hidden_units})
    train, validation = single_texts(50, 0), single_texts(20, 1)
    for name in ("first", "second"):
        torch.rand(3)
        fit_classifier(train, validation, SINGLE, ngram, QUICK, seed=5).classifier.save(tmp_path / name)
    for file in (tmp_path / "first").iterdir():
        assert file.read_bytes() == (tmp_path / "second" / file.name).read_bytes()


def test_another_seed_gives_another_order(single_fit):
    train, validation = single_texts(120, 0), single_texts(60, 1)
    other = fit_classifier(train, validation, SINGLE, SMALL, QUICK, seed=1)
    assert not np.array_equal(other.classifier.tensors["weight"], single_fit.classifier.tensors["weight"])


def test_the_history_has_a_row_per_epoch(single_fit):
    assert [row["epoch"] for row in single_fit.history] == list(range(single_fit.stopped_epoch + 1))
    assert set(single_fit.history[0]) == {"epoch", "train_loss", "validation_loss", "validation_macro_f1"}


def test_training_stops_when_the_validation_loss_no_longer_falls():
    contrary = LabelledTexts(single_texts(60, 1).texts, single_texts(60, 2).values)
    result = fit_single(single_texts(120, 0), contrary, max_epochs=30, min_epochs=1, patience=2)
    losses = [row["validation_loss"] for row in result.history]
    assert result.stopped_epoch < 29
    assert result.stopped_epoch == result.best_epoch + 2
    assert result.best_epoch == int(np.argmin(losses))


def test_the_weights_are_those_of_the_best_epoch():
    contrary = LabelledTexts(single_texts(60, 1).texts, single_texts(60, 2).values)
    result = fit_single(single_texts(120, 0), contrary, min_epochs=1)
    classifier = result.classifier
    loss = negative_log_likelihood(
        classifier.logits(classifier.features(contrary.texts)),
        SINGLE.encode(contrary.values),
        classifier.config.temperature,
        is_multi=False,
    )
    assert loss == pytest.approx(result.history[result.best_epoch]["validation_loss"], rel=1e-4)


def test_without_validation_rows_every_epoch_is_run_and_nothing_calibrated():
    result = fit_single(single_texts(60, 0))
    assert result.stopped_epoch == result.best_epoch == QUICK.max_epochs - 1
    assert set(result.history[0]) == {"epoch", "train_loss"}
    assert result.classifier.config.temperature == 1
    assert f1_on(result, SINGLE, single_texts(60, 7)) > 0.9


def test_fewer_epochs_than_the_minimum_still_train():
    assert fit_single(single_texts(60, 0), single_texts(20, 1), max_epochs=1, min_epochs=5).best_epoch == 0


def test_a_label_without_training_rows_is_reported():
    rows = single_texts(60, 0)
    kept = [index for index, values in enumerate(rows.values) if values != ["sea"]]
    train = LabelledTexts([rows.texts[index] for index in kept], [rows.values[index] for index in kept])
    result = fit_single(train, single_texts(20, 1))
    assert result.missing_labels == ("sea",)
    assert result.classifier.score(rows.texts).probabilities.shape == (60, 3)


def test_rows_of_weight_zero_teach_nothing():
    honest, wrong = single_texts(60, 0), single_texts(60, 1)
    train = LabelledTexts(
        [*honest.texts, *wrong.texts], [*honest.values, *[["food"]] * 60], weights=np.repeat([2.0, 0.0], 60)
    )
    assert f1_on(fit_single(train), SINGLE, single_texts(60, 7)) > 0.9


def test_no_training_rows_are_an_error():
    with pytest.raises(TrainingDataError, match="no training rows"):
        fit_single(NONE)


def test_one_class_only_is_an_error_that_names_it():
    train = LabelledTexts(["a ship", "a sail"], [["sea"], ["sea"]])
    with pytest.raises(TrainingDataError, match=r"one class only: 'sea' has 2 rows.*food, cars"):
        fit_single(train)


@pytest.mark.parametrize("values", [[[], []], [["sea"], ["sea"]]])
def test_multiple_labels_need_one_with_both_answers(values):
    train = LabelledTexts(["a ship", "a sail"], values)
    with pytest.raises(TrainingDataError, match="both rows with it and rows without it"):
        fit_classifier(train, NONE, MULTI, SMALL, QUICK, seed=0)


def test_texts_without_a_word_are_an_error():
    with pytest.raises(TrainingDataError, match="no text has a word"):
        fit_single(LabelledTexts(["", "  "], [["sea"], ["food"]]))


def test_a_label_outside_the_taxonomy_is_an_error():
    with pytest.raises(TaxonomyError, match="boats"):
        fit_single(LabelledTexts(["a ship"], [["boats"]]))


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, np.nan]])
def test_weights_that_cannot_weigh_are_an_error(weights):
    train = LabelledTexts(["a ship", "an apple"], [["sea"], ["food"]], weights=np.array(weights))
    with pytest.raises(TrainingDataError, match="weight"):
        fit_single(train)


def test_a_diverging_rate_is_an_error_that_names_it():
    with pytest.raises(ConfigError, match="learning_rate"):
        fit_single(single_texts(60, 0), learning_rate=1e38)


def test_hostile_texts_can_be_learnt_from():
    rows = single_texts(30, 0)
    hostile = ["", "\0\0", "x" * 5_000_000, "\ud800", "ship " * 100_000]
    train = LabelledTexts([*rows.texts, *hostile], [*rows.values, *[["sea"]] * len(hostile)])
    assert np.isfinite(fit_single(train, rows).classifier.score(hostile).probabilities).all()


def test_the_process_is_left_as_it_was(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    environment, threads = dict(os.environ), torch.get_num_threads()
    random_state, levels = torch.get_rng_state(), _levels()
    fit_single(single_texts(40, 0), single_texts(20, 1))
    assert torch.equal(torch.get_rng_state(), random_state)
    assert not torch.are_deterministic_algorithms_enabled()
    assert (dict(os.environ), torch.get_num_threads(), _levels()) == (environment, threads, levels)
    assert list(Path.cwd().iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_progress_is_one_line_on_standard_error(capfd):
    train = single_texts(40, 0)
    fit_classifier(train, single_texts(20, 1), SINGLE, SMALL, QUICK, seed=0, show_progress=True)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
    assert "validation loss" in captured.err


def test_a_logger_receives_the_metrics_of_each_epoch():
    logger = RecordingLogger()
    result = fit_classifier(single_texts(40, 0), single_texts(20, 1), SINGLE, SMALL, QUICK, seed=0, logger=logger)
    assert [{"epoch": step, **metrics} for step, metrics in logger.rows] == result.history


def test_a_balanced_class_weight_helps_the_rare_class():
    rows = single_texts(400, 0)
    rare = [index for index, values in enumerate(rows.values) if values == ["sea"]][3:]
    kept = sorted(set(range(400)) - set(rare))
    train = LabelledTexts([rows.texts[index] for index in kept], [rows.values[index] for index in kept])
    sea = single_texts(200, 7)
    probability = {
        weight: fit_single(train, class_weight=weight, max_epochs=2)
        .classifier.score(sea.texts)
        .probabilities[:, 2]
        .mean()
        for weight in ("none", "balanced")
    }
    assert probability["balanced"] > probability["none"]


def test_options_are_checked():
    with pytest.raises(ValidationError):
        FitOptions(max_epochs=0)
    with pytest.raises(ValidationError):
        FitOptions(class_weight="sqrt")


class RecordingLogger(DummyLogger):
    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics, step=None) -> None:
        self.rows.append((step, dict(metrics)))


def _levels() -> list[int]:
    return [logging.getLogger(name).level for name in ("lightning.pytorch", "lightning.fabric")]
