"""Run a Lightning trainer quietly, without files and without a trace in the process."""

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from al_platform.models.data import NgramDataModule
from al_platform.models.module import NgramModule
from al_platform.models.options import FitOptions

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

CUBLAS_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"  # set by the trainer for deterministic runs
TRAINER_LOGGERS = ("lightning.pytorch", "lightning.fabric")
HARMLESS_WARNINGS = (
    r"The '\w+' does not have many workers",  # the rows are in memory already
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning 2.6 on torch 2.13
    # On GPUs, where the transformer prefers determinism and does not insist on it.
    r".* does not have a deterministic implementation",
    r"Memory Efficient attention defaults to a non-deterministic algorithm",
)


def run_trainer(
    module: NgramModule,
    data: NgramDataModule,
    options: FitOptions,
    callbacks: list[L.Callback],
    logger: "Logger | None",
) -> None:
    """Train ``module``; torch's random state, threads and determinism are afterwards what they were."""
    with tempfile.TemporaryDirectory() as folder, torch_state_kept(), quiet():
        torch.set_num_threads(options.threads)
        trainer = L.Trainer(
            accelerator=options.accelerator,
            devices=1,
            max_epochs=options.max_epochs,
            deterministic=options.deterministic,
            logger=logger or False,
            callbacks=callbacks,
            log_every_n_steps=1,
            num_sanity_val_steps=0,
            limit_val_batches=1.0 if len(data.validation) else 0,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            default_root_dir=folder,
        )
        trainer.fit(module, datamodule=data)


class BestWeights(L.Callback):
    """Keeps the weights of the lowest validation loss in memory and stops when it no longer falls.

    Attributes:
        tensors: The best weights; empty before ``min_epochs`` and without validation rows.
        epoch: Where they come from.
    """

    def __init__(self, options: FitOptions) -> None:
        self.first_epoch = min(options.min_epochs, options.max_epochs) - 1
        self.patience = options.patience
        self.tensors: dict[str, NDArray[Any]] = {}
        self.epoch = 0
        self.loss = float("inf")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compare the epoch with the best one."""
        assert isinstance(pl_module, NgramModule)
        epoch, loss = trainer.current_epoch, pl_module.validation_loss
        if loss is None or epoch < self.first_epoch:
            return
        if loss < self.loss:
            self.tensors, self.epoch, self.loss = pl_module.tensors(), epoch, loss
        elif epoch - self.epoch >= self.patience:
            trainer.should_stop = True


class ProgressLine(L.Callback):
    """One line on standard error: the epoch and its validation loss."""

    def __init__(self, max_epochs: int) -> None:
        self.progress = Progress(TextColumn("{task.description}"), BarColumn(), console=Console(stderr=True))
        self.task = self.progress.add_task("training", total=max_epochs)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the line."""
        self.progress.start()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Name the epoch and its validation loss."""
        assert isinstance(pl_module, NgramModule)
        done, loss = trainer.current_epoch + 1, pl_module.validation_loss
        measured = "" if loss is None else f", validation loss {loss:.4f}"
        self.progress.update(self.task, completed=done, description=f"training: epoch {done}{measured}")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the last line."""
        self.progress.stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Leave the line where it was."""
        self.progress.stop()


@contextmanager
def torch_state_kept() -> Iterator[None]:
    """Leave torch's random state, threads and determinism afterwards as they were."""
    is_deterministic = torch.are_deterministic_algorithms_enabled()
    is_warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark)
    threads = torch.get_num_threads()
    cublas = os.environ.get(CUBLAS_VARIABLE)
    try:
        with torch.random.fork_rng(devices=devices_in_use()):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(is_deterministic, warn_only=is_warn_only)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
        os.environ.pop(CUBLAS_VARIABLE, None)
        if cublas is not None:
            os.environ[CUBLAS_VARIABLE] = cublas


def devices_in_use() -> list[int]:
    """Return the GPU that this process computes on, if any.

    To keep the random state of all of them, as torch does when not told, would take memory on each from each process.
    """
    return [torch.cuda.current_device()] if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's greetings and the warnings that ask for nothing."""
    loggers = [logging.getLogger(name) for name in TRAINER_LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            for message in HARMLESS_WARNINGS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
