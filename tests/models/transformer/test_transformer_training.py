import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from ngram_texts import SINGLE, single_texts
from tiny_encoder import QUICK_FIT, fit_tiny, reading

from al_platform.domain.errors import ConfigError, StoreError, TrainingDataError
from al_platform.models.fit import fit_classifier
from al_platform.models.labelled_texts import LabelledTexts
from al_platform.models.options import FitOptions, NgramOptions
from al_platform.models.trainer import torch_state_kept
from al_platform.models.transformer import module as training_module
from al_platform.models.transformer.checkpoints import (
    LocalCheckpoints,
    newest_checkpoint,
    read_checkpoint,
    step_of,
    write_checkpoint,
)
from al_platform.models.transformer.failures import OutOfMemoryError
from al_platform.models.transformer.fit import choose_start, fit_transformer, training_key
from al_platform.models.transformer.module import TransformerModule

HERE = Path(__file__).parent
WITHIN_EPOCH, END_OF_EPOCH = 6, 8  # steps: a checkpoint every third, and one at the end of an epoch of eight
REORDERED = SINGLE.model_copy(update={"labels": ("food", "sea", "cars")})
KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
from al_platform.models.transformer.checkpoints import LocalCheckpoints
from tiny_encoder import fit_tiny
encoder, folder, left = Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5])

class Killing(LocalCheckpoints):
    def save(self, key, path):
        global left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

fitted = fit_tiny(encoder, Killing(folder))
fitted.classifier.save(folder / "model")
print(fitted.circumstances["resumed_from_step"])
"""


def run_killed(encoder: Path, folder: Path, at: int) -> "subprocess.CompletedProcess[str]":
    """Fine-tune in a process that kills itself after so many checkpoints; 0 lets it end."""
    arguments = [str(HERE), str(HERE.parent), str(encoder), str(folder), str(at)]
    return subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, check=False, env={**os.environ}
    )


def weights_of(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def test_a_training_killed_within_an_epoch_and_at_its_end_goes_on_and_ends_with_the_same_bytes(encoder, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    uninterrupted = run_killed(encoder, whole, 0)
    assert uninterrupted.returncode == 0, uninterrupted.stderr
    for step, checkpoints in ((WITHIN_EPOCH, 2), (END_OF_EPOCH, 1)):
        stopped = run_killed(encoder, killed, checkpoints)
        assert stopped.returncode == -signal.SIGKILL, stopped.stderr
        (key,) = killed.iterdir()
        assert step_of(newest_checkpoint(key)) == step
    resumed = run_killed(encoder, killed, 0)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.strip() == str(END_OF_EPOCH)
    assert weights_of(killed) == weights_of(whole)


def test_the_seconds_before_an_interruption_count(encoder, tmp_path):
    first = fit_tiny(encoder, tmp_path, max_epochs=2)
    checkpoint = newest_checkpoint(tmp_path / first.key)
    state, tensors = read_checkpoint(checkpoint)
    assert 0 < state["wall_s"] <= first.circumstances["device_s"] + 0.01
    write_checkpoint(checkpoint.parent, state["step"] + 1, {**state, "wall_s": 5_000.0}, tensors)
    again = fit_tiny(encoder, tmp_path, max_epochs=2)
    assert 5_000 <= again.circumstances["device_s"] < 5_100


def test_a_finished_training_that_is_run_again_trains_no_more(encoder, tmp_path, monkeypatch):
    first = fit_tiny(encoder, tmp_path)
    monkeypatch.setattr(TransformerModule, "training_step", None)
    again = fit_tiny(encoder, tmp_path)
    assert again.circumstances["resumed_from_step"] == first.circumstances["steps"]
    assert all((again.classifier.tensors[name] == array).all() for name, array in first.classifier.tensors.items())


def test_other_data_options_or_code_begin_anew(encoder, tmp_path):
    keys = {
        fit_tiny(encoder, tmp_path, max_epochs=1).key,
        fit_tiny(encoder, tmp_path, max_epochs=1, learning_rate=1e-3).key,
        fit_tiny(encoder, LocalCheckpoints(tmp_path, code_revision="abc"), max_epochs=1).key,
    }
    assert len(keys) == 3
    assert fit_tiny(encoder, tmp_path, max_epochs=1, checkpoint_steps=7).key in keys


def test_a_machine_with_other_cores_goes_on_where_threads_are_set(encoder, tmp_path):
    rows, checkpoints = single_texts(20, 0), LocalCheckpoints(tmp_path)

    def key_on(cores: int, threads: int | None) -> str:
        fit = QUICK_FIT.model_copy(update={"threads": threads, "accelerator": "cpu"})
        start = choose_start(reading(encoder), fit, SINGLE, None, checkpoints)
        with torch_state_kept():
            torch.set_num_threads(cores)
            return training_key(rows, rows, SINGLE, reading(encoder), fit, 0, start, None)

    assert key_on(1, threads=1) == key_on(2, threads=1)
    assert key_on(1, threads=None) != key_on(2, threads=None)


def test_a_damaged_checkpoint_is_named(encoder, tmp_path):
    key = fit_tiny(encoder, tmp_path, max_epochs=1).key
    checkpoint = newest_checkpoint(tmp_path / key)
    (checkpoint / "tensors.safetensors").write_bytes(b"\xff")
    with pytest.raises(StoreError, match=checkpoint.name):
        read_checkpoint(checkpoint)


def test_the_best_epoch_is_kept_and_training_stops_when_it_is_no_longer_beaten(encoder, tmp_path):
    contrary = LabelledTexts(single_texts(60, 1).texts, single_texts(60, 2).values)
    fit = QUICK_FIT.model_copy(update={"max_epochs": 12, "patience": 2})
    where, train = LocalCheckpoints(tmp_path), single_texts(120, 0)
    found = fit_transformer(train, contrary, SINGLE, reading(encoder), fit, 0, checkpoints=where)
    losses = [row["validation_loss"] for row in found.history]
    assert found.best_epoch == int(np.argmin(losses))
    assert len(losses) == found.best_epoch + 3 < 12


def test_without_validation_pages_every_epoch_is_run(encoder, tmp_path):
    where, train = LocalCheckpoints(tmp_path), single_texts(60, 0)
    found = fit_transformer(train, LabelledTexts([], []), SINGLE, reading(encoder), QUICK_FIT, 0, checkpoints=where)
    assert [set(row) for row in found.history] == [{"epoch", "train_loss"}] * 3
    assert found.classifier.config.temperature == 1


def test_small_pieces_of_a_batch_give_the_same_step(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(training_module, "train_mode", lambda network: network.eval())  # dropout is drawn by piece
    whole = fit_tiny(encoder, tmp_path / "whole", max_epochs=1)
    pieces = fit_tiny(encoder, tmp_path / "pieces", max_epochs=1, micro_batch_size=3)
    assert whole.history[0]["train_loss"] == pytest.approx(pieces.history[0]["train_loss"], rel=1e-4)


def test_out_of_memory_halves_the_batch_and_says_so(encoder, tmp_path, monkeypatch):
    run_out_above(4, monkeypatch)
    found = fit_tiny(encoder, tmp_path, max_epochs=1)
    assert found.circumstances["events"] == [
        "Out of memory at step 0: 8 pages at a time instead of 16.",
        "Out of memory at step 0: 4 pages at a time instead of 8.",
    ]
    assert found.circumstances["steps"] == 8


def test_a_page_that_does_not_fit_alone_is_an_error_that_says_what_to_lower(encoder, tmp_path, monkeypatch):
    run_out_above(0, monkeypatch)
    with pytest.raises(OutOfMemoryError, match=r"24 tokens.*max_tokens"):
        fit_tiny(encoder, tmp_path)


def test_validation_pages_are_halved_where_they_do_not_fit(encoder, tmp_path, monkeypatch):
    whole = fit_tiny(encoder, tmp_path / "whole", max_epochs=1)
    real = TransformerModule._validation_logits
    seen = []

    def logits(self, rows):
        if len(rows) > 10:
            raise torch.OutOfMemoryError("simulated")
        seen.append(len(rows))
        return real(self, rows)

    monkeypatch.setattr(TransformerModule, "_validation_logits", logits)
    halved = fit_tiny(encoder, tmp_path / "halved", max_epochs=1)
    assert sum(seen) == 60
    assert halved.history[0]["validation_loss"] == pytest.approx(whole.history[0]["validation_loss"], rel=1e-4)


def run_out_above(pages: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the memory of the device hold this many pages."""
    real = training_module.page_losses

    def losses(logits, *arguments, **options):
        if len(logits) > pages:
            raise torch.OutOfMemoryError("simulated")
        return real(logits, *arguments, **options)

    monkeypatch.setattr(training_module, "page_losses", losses)


def test_a_loss_that_is_no_number_stops_with_the_batch_saved(encoder, tmp_path, monkeypatch):
    real = training_module.page_losses
    monkeypatch.setattr(training_module, "page_losses", lambda *a, **o: real(*a, **o) * float("nan"))
    rows = single_texts(40, 0)
    train = LabelledTexts(rows.texts, rows.values, page_ids=[f"page {row}" for row in range(40)])
    with pytest.raises(ConfigError, match=r"step 0 of epoch 0.*Its 8 pages are named in .*not_finite.json"):
        fit_transformer(train, rows, SINGLE, reading(encoder), QUICK_FIT, 0, checkpoints=LocalCheckpoints(tmp_path))
    (saved,) = tmp_path.rglob("not_finite.json")
    pages = json.loads(saved.read_text())["pages"]
    assert len(pages) == 8
    for page in pages:
        row = int(page["page_id"].split()[1])
        assert (page["values"], page["characters"]) == (list(rows.values[row]), len(rows.texts[row]))


def test_the_batch_that_is_saved_holds_no_text(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(training_module, "page_losses", lambda logits, *a, **o: logits.sum(dim=1) * float("nan"))
    rows = single_texts(40, 0)
    with pytest.raises(ConfigError, match="not_finite"):
        fit_transformer(rows, rows, SINGLE, reading(encoder), QUICK_FIT, 0, checkpoints=LocalCheckpoints(tmp_path))
    (saved,) = tmp_path.rglob("not_finite.json")
    assert not any(text in saved.read_text() for text in rows.texts)


def test_frozen_layers_keep_their_weights(encoder, tmp_path):
    where, train = LocalCheckpoints(tmp_path), single_texts(60, 0)
    found = fit_transformer(train, train, SINGLE, reading(encoder, frozen_layers=1), QUICK_FIT, 0, checkpoints=where)
    base = safetensors.numpy.load_file(encoder / "model.safetensors")
    tensors = found.classifier.tensors
    for name in ("embeddings.word_embeddings.weight", "encoder.layer.0.output.dense.weight"):
        assert (tensors[f"encoder.{name}"] == base[name]).all()
    changed = "encoder.layer.1.output.dense.weight"
    assert not (tensors[f"encoder.{changed}"] == base[changed]).all()


def test_more_frozen_layers_than_there_are_is_an_error(encoder, tmp_path):
    rows = single_texts(20, 0)
    with pytest.raises(ConfigError, match="the encoder has 2"):
        fit_transformer(
            rows, rows, SINGLE, reading(encoder, frozen_layers=3), QUICK_FIT, 0, checkpoints=LocalCheckpoints(tmp_path)
        )


def test_a_champion_of_the_same_labels_and_encoder_is_started_from(encoder, tmp_path, tiny_fit):
    found = start_from(encoder, tmp_path, tiny_fit.classifier)
    assert (found.start.start_from, found.start.why) == ("champion", "The champion has the same labels and encoder.")
    assert found.history[0]["validation_loss"] < tiny_fit.history[0]["validation_loss"]


def test_without_a_champion_the_base_is_started_from(encoder, tmp_path):
    assert start_from(encoder, tmp_path, None).start.why == "There is no champion yet."


def test_a_champion_of_other_labels_is_not_started_from(encoder, tmp_path, tiny_fit):
    found = start_from(encoder, tmp_path, tiny_fit.classifier, REORDERED)
    assert found.start.start_from == "base"
    assert found.start.why.startswith("The labels changed since the champion, from ['food', 'cars', 'sea']")


def test_an_ngram_champion_is_not_started_from(encoder, tmp_path):
    rows = single_texts(60, 0)
    champion = fit_classifier(
        rows, rows, SINGLE, NgramOptions(n_features=2**12), FitOptions(max_epochs=1), 0
    ).classifier
    assert start_from(encoder, tmp_path, champion).start.why == "The champion is no transformer but of kind ngram."


def start_from(encoder, folder, champion, taxonomy=SINGLE):
    fit = QUICK_FIT.model_copy(update={"max_epochs": 1, "start_from": "champion"})
    return fit_transformer(
        single_texts(120, 0),
        single_texts(60, 1),
        taxonomy,
        reading(encoder),
        fit,
        0,
        checkpoints=LocalCheckpoints(folder),
        champion=champion,
    )


def test_one_class_only_is_an_error_that_names_it(encoder, tmp_path):
    rows = LabelledTexts(["a ship", "a sail"], [["sea"], ["sea"]])
    with pytest.raises(TrainingDataError, match="one class only: 'sea'"):
        fit_transformer(rows, rows, SINGLE, reading(encoder), QUICK_FIT, 0, checkpoints=LocalCheckpoints(tmp_path))


def test_the_process_is_left_as_it_was(encoder, tmp_path):
    threads, random_state = torch.get_num_threads(), torch.get_rng_state()
    fit_tiny(encoder, tmp_path, max_epochs=1)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
