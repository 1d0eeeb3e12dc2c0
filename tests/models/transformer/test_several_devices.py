import numpy as np
import pytest
import torch
from ngram_texts import SINGLE, single_texts
from tiny_encoder import QUICK_FIT, fit_tiny, make_encoder, reading

from al_platform.domain.errors import ConfigError
from al_platform.models.transformer.checkpoints import LocalCheckpoints
from al_platform.models.transformer.fit import fit_transformer

WITHOUT_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture(scope="module")
def still_encoder(tmp_path_factory):
    return make_encoder(tmp_path_factory.mktemp("still"), **WITHOUT_DROPOUT)


class Counting(LocalCheckpoints):
    def save(self, key, path):
        saved.append(path.name)


saved: list[str] = []


def fit_still(encoder, folder, **changes):
    fit = QUICK_FIT.model_copy(update={"max_epochs": 2, "accelerator": "cpu", **changes})
    train, validation, options = single_texts(120, 0), single_texts(60, 1), reading(encoder, dropout=0.0)
    return fit_transformer(train, validation, SINGLE, options, fit, 0, checkpoints=Counting(folder))


def test_two_processes_take_the_same_steps_as_one(still_encoder, tmp_path):
    saved.clear()
    two = fit_still(still_encoder, tmp_path / "two", devices=2)
    assert saved[-1] == "step-000000016"
    one = fit_still(still_encoder, tmp_path / "one", devices=1)
    assert len(two.circumstances["devices"]) == 2
    assert len(two.history) == len(one.history)
    for ours, theirs in zip(two.history, one.history, strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-3)
        assert ours["validation_loss"] == pytest.approx(theirs["validation_loss"], rel=2e-2)
    texts = single_texts(20, 9).texts
    difference = two.classifier.score(texts).probabilities - one.classifier.score(texts).probabilities
    assert np.abs(difference).max() < 2e-2


def test_processes_go_on_from_their_last_checkpoint(still_encoder, tmp_path):
    whole = fit_still(still_encoder, tmp_path / "whole", devices=2)
    half = fit_still(still_encoder, tmp_path / "half", devices=2, checkpoint_steps=3)
    assert half.key == whole.key
    again = fit_still(still_encoder, tmp_path / "whole", devices=2)
    assert again.circumstances["resumed_from_step"] == 16
    assert all((again.classifier.tensors[name] == array).all() for name, array in half.classifier.tensors.items())


def test_a_rate_that_diverges_in_the_processes_is_named_here(still_encoder, tmp_path):
    with pytest.raises(ConfigError, match=r"diverged.*pages are in"):
        fit_still(still_encoder, tmp_path, devices=2, learning_rate=1e38, max_gradient_norm=1e38)


def skip_without_gpu(count: int = 1) -> None:
    if torch.cuda.device_count() < count:
        pytest.skip(f"found {torch.cuda.device_count()} CUDA devices; runs where there are {count}")


@pytest.mark.gpu
def test_a_gpu_with_bfloat16_trains_in_it(encoder, tmp_path):
    skip_without_gpu()
    found = fit_tiny(encoder, tmp_path, threads=None)
    assert found.circumstances["precision"] == "bf16-mixed"
    assert found.history[-1]["validation_macro_f1"] > 0.9


@pytest.mark.gpu
def test_a_batch_too_large_for_the_gpu_is_halved(tmp_path):
    skip_without_gpu()
    wide = make_encoder(tmp_path / "wide", hidden_size=512, intermediate_size=8192, num_hidden_layers=12)
    torch.cuda.set_per_process_memory_fraction(0.02)
    try:
        rows = single_texts(2_048, 0)
        fit = QUICK_FIT.model_copy(update={"max_epochs": 1, "batch_size": 2_048})
        where = LocalCheckpoints(tmp_path)
        found = fit_transformer(rows, single_texts(60, 1), SINGLE, reading(wide), fit, 0, checkpoints=where)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert found.circumstances["events"]


@pytest.mark.gpu
def test_several_gpus_share_the_steps(encoder, tmp_path):
    skip_without_gpu(2)
    found = fit_tiny(encoder, tmp_path, threads=None)
    assert len(found.circumstances["devices"]) == torch.cuda.device_count()
    assert found.history[-1]["validation_macro_f1"] > 0.9
