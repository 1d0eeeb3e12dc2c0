import os
import socket
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from ngram_texts import SINGLE, single_texts
from tiny_encoder import QUICK_FIT, fit_tiny, make_encoder, reading

from al_platform.domain.errors import ConfigError, StoreError
from al_platform.models.transformer.checkpoints import LocalCheckpoints, newest_checkpoint, read_checkpoint
from al_platform.models.transformer.failures import NotFiniteError, OutOfMemoryError
from al_platform.models.transformer.fit import fit_transformer
from al_platform.models.transformer.job import Progress
from al_platform.models.transformer.workers import read_error, write_error

WITHOUT_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture(scope="module")
def still_encoder(tmp_path_factory):
    return make_encoder(tmp_path_factory.mktemp("still"), **WITHOUT_DROPOUT)


MANY_STEPS = {"max_epochs": 4, "batch_size": 8}


class Looking(LocalCheckpoints):
    """Notes the checkpoints that are handed on, and where the processes listen meanwhile."""

    def save(self, key, path):
        saved.append(path.name)
        addresses.update(listening_addresses_of_children())


saved: list[str] = []
addresses: set[str] = set()


def fit_still(encoder, where, **changes):
    where = where if isinstance(where, LocalCheckpoints) else LocalCheckpoints(where)
    fit = QUICK_FIT.model_copy(update={"max_epochs": 2, "accelerator": "cpu", **changes})
    train, validation, options = single_texts(120, 0), single_texts(60, 1), reading(encoder, dropout=0.0)
    return fit_transformer(train, validation, SINGLE, options, fit, 0, checkpoints=where)


@pytest.fixture(scope="module")
def two(still_encoder, tmp_path_factory):
    """What two processes made."""
    where = Looking(tmp_path_factory.mktemp("two"))
    return fit_still(still_encoder, where, devices=2, checkpoint_steps=2, **MANY_STEPS)


def test_two_processes_take_the_same_steps_as_one(two, still_encoder, tmp_path):
    one = fit_still(still_encoder, tmp_path, devices=1, **MANY_STEPS)
    assert len(two.circumstances["devices"]) == 2
    assert two.circumstances["steps"] == one.circumstances["steps"] == 60
    assert len(two.history) == len(one.history)
    for ours, theirs in zip(two.history, one.history, strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-3)
        assert ours["validation_loss"] == pytest.approx(theirs["validation_loss"], rel=2e-2)
    texts = single_texts(20, 9).texts
    difference = two.classifier.score(texts).probabilities - one.classifier.score(texts).probabilities
    assert np.abs(difference).max() < 2e-2


def test_checkpoints_of_processes_are_handed_on(two):
    assert saved[-1] == "step-000000060"


def test_processes_listen_on_this_machine_only(two):
    assert addresses == {"127.0.0.1"}


class InterruptedTrainingError(Exception):
    """What stands for a machine that is lost."""


class Interrupting(LocalCheckpoints):
    """Hands one checkpoint on when the processes have replaced it, and is lost at the next one."""

    handed_on: ClassVar[list[int]] = []

    def save(self, key, path):
        if self.handed_on:
            raise InterruptedTrainingError
        deadline = time.monotonic() + 60
        while newest_checkpoint(self.scratch(key)).name == path.name and time.monotonic() < deadline:
            time.sleep(0.01)
        self.handed_on.append(read_checkpoint(path)[0]["step"])


def test_processes_go_on_from_their_last_checkpoint(two, still_encoder, tmp_path):
    with pytest.raises(InterruptedTrainingError):
        fit_still(still_encoder, Interrupting(tmp_path), devices=2, checkpoint_steps=1, **MANY_STEPS)
    assert Interrupting.handed_on[0] >= 1
    again = fit_still(still_encoder, tmp_path, devices=2, **MANY_STEPS)
    assert again.key == two.key
    assert 1 < again.circumstances["resumed_from_step"] < two.circumstances["steps"]
    assert all((again.classifier.tensors[name] == array).all() for name, array in two.classifier.tensors.items())


def listening_addresses_of_children() -> set[str]:
    """Return where the children of this process listen, as Linux tells it."""
    sockets = {link for child in children() for link in links(Path(f"/proc/{child}/fd"))}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in sockets:
                found.add(readable(local.split(":")[0]))
    return found


def children() -> list[str]:
    stats = (stat.read_text() for stat in Path("/proc").glob("[0-9]*/stat"))
    fields = ((stat.split()[0], stat.rpartition(") ")[2].split()[1]) for stat in stats)
    return [process for process, parent in fields if parent == str(os.getpid())]


def links(folder: Path) -> list[str]:
    return [str(link.readlink()) for link in folder.iterdir() if link.is_symlink()]


def readable(address: str) -> str:
    data = bytes.fromhex(address)
    if len(data) == 4:
        return socket.inet_ntop(socket.AF_INET, data[::-1])
    return socket.inet_ntop(socket.AF_INET6, b"".join(data[at : at + 4][::-1] for at in range(0, 16, 4)))


def test_more_gpus_than_there_are_is_an_error_that_says_how_many(still_encoder, tmp_path):
    with pytest.raises(ConfigError, match=f"has {torch.cuda.device_count()} that torch can use"):
        fit_still(still_encoder, tmp_path, accelerator="gpu", devices=torch.cuda.device_count() + 1)


def test_what_happened_on_any_device_is_told_and_the_smallest_pieces_count():
    first, second = Progress(step=5, events=("a",)), Progress(step=5, micro_batch_size=4, events=("a", "b"))
    agreed = first.agreed_with([first, second])
    assert (agreed.step, agreed.micro_batch_size, agreed.events) == (5, 4, ("a", "b"))


def test_a_rate_that_diverges_in_the_processes_is_named_here(still_encoder, tmp_path):
    with pytest.raises(ConfigError, match=r"diverged.*pages are named in"):
        fit_still(still_encoder, tmp_path, devices=2, learning_rate=1e38, max_gradient_norm=1e38)


@pytest.mark.parametrize(
    "error",
    [
        NotFiniteError([3, 4], 7, 1),
        OutOfMemoryError("one page does not fit"),
        ConfigError("the encoder has 2 layers"),
        StoreError("the checkpoint step-000000003 is damaged"),
    ],
)
def test_what_stops_a_process_is_told_here_as_what_it_is(tmp_path, error):
    write_error(error, tmp_path)
    told = read_error(tmp_path)
    assert type(told) is type(error)
    assert str(told) == str(error)
    assert vars(told) == vars(error)


def test_a_process_that_said_nothing_has_no_error_to_read(tmp_path):
    assert read_error(tmp_path) is None


def skip_without_gpu(count: int = 1) -> None:
    if torch.cuda.device_count() < count:
        pytest.skip(f"found {torch.cuda.device_count()} CUDA devices; runs where there are {count}")


@pytest.mark.gpu
def test_a_gpu_with_bfloat16_trains_in_it(encoder, tmp_path):
    skip_without_gpu()
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip(f"{torch.cuda.get_device_name()} has no bfloat16; runs where the GPU has it")
    found = fit_tiny(encoder, tmp_path, threads=None)
    assert found.circumstances["precision"] == "bf16-mixed"
    assert found.history[-1]["validation_macro_f1"] > 0.9


@pytest.mark.gpu
def test_a_batch_too_large_for_the_gpu_is_halved(tmp_path):
    skip_without_gpu()
    # 5 million weights, 80 MB with gradients and moments; activations of a batch have some GB.
    wide = make_encoder(tmp_path / "wide", hidden_size=256, intermediate_size=2_048, num_hidden_layers=4)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(512 * 2**20 / torch.cuda.get_device_properties(0).total_memory)
    try:
        rows = single_texts(4_096, 0)
        # One device: several would be processes of their own, which know nothing of this limit.
        fit = QUICK_FIT.model_copy(update={"max_epochs": 1, "batch_size": 4_096, "devices": 1})
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
