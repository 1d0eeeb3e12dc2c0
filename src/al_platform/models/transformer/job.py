"""A training as data: everything that its processes need, in a form that lies in a folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from al_platform.models.transformer.options import TransformerFitOptions, TransformerOptions
from al_platform.models.transformer.texts import EncodedPages

_TENSORS = "job.safetensors"
_REST = "job.json"
_PAGES = ("token_ids", "sequence_starts", "page_starts")


@dataclass(frozen=True)
class Rows:
    """Pages with what is known of them.

    Attributes:
        pages: N pages.
        targets: float32 indicator matrix of shape (N, C).
        weights: float32 of shape (N,).
    """

    pages: EncodedPages
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        encoder_config: The encoder's shape.
        initial: The weights to start from; without a head it starts from seeded noise.
        train: What to learn from.
        validation: Decides when to stop; may be empty.
        class_weights: float32 of shape (C,).
        padding: Token id that fills a batch up.
        options: Reading and pooling.
        fit: How to train.
        is_multi: Whether each label is a decision of its own.
        seed: Of the head, the order of rows and dropout.
        checkpoint_folder: Where checkpoints are left and looked for.
    """

    encoder_config: Mapping[str, Any]
    initial: Mapping[str, NDArray[np.float32]]
    train: Rows
    validation: Rows
    class_weights: NDArray[np.float32]
    padding: int
    options: TransformerOptions
    fit: TransformerFitOptions
    is_multi: bool
    seed: int
    checkpoint_folder: Path

    @property
    def n_steps(self) -> int:
        """Steps of the optimiser if no epoch is left out."""
        return self.fit.max_epochs * -(-len(self.train) // self.fit.batch_size)

    def save(self, folder: Path) -> None:
        """Write the job into ``folder``."""
        tensors = {f"initial/{name}": array for name, array in self.initial.items()}
        tensors |= {**_tensors("train", self.train), **_tensors("validation", self.validation)}
        tensors["class_weights"] = self.class_weights
        rest = {
            "encoder_config": dict(self.encoder_config),
            "padding": self.padding,
            "options": self.options.model_dump(mode="json"),
            "fit": self.fit.model_dump(mode="json"),
            "is_multi": self.is_multi,
            "seed": self.seed,
            "checkpoint_folder": str(self.checkpoint_folder),
        }
        ordered = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
        safetensors.numpy.save_file(ordered, folder / _TENSORS)
        (folder / _REST).write_text(json.dumps(rest), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Job":
        """Return the job that ``save`` wrote into ``folder``."""
        tensors = safetensors.numpy.load_file(folder / _TENSORS)
        rest = json.loads((folder / _REST).read_text(encoding="utf-8"))
        typed: dict[str, Any] = {
            "options": TransformerOptions.model_validate(rest.pop("options")),
            "fit": TransformerFitOptions.model_validate(rest.pop("fit")),
            "checkpoint_folder": Path(rest.pop("checkpoint_folder")),
        }
        return cls(
            initial={name.removeprefix("initial/"): a for name, a in tensors.items() if name.startswith("initial/")},
            train=_rows("train", tensors),
            validation=_rows("validation", tensors),
            class_weights=tensors["class_weights"],
            **typed,
            **rest,
        )


@dataclass(frozen=True)
class Progress:
    """How far a training is; with the tensors of a checkpoint everything that a later process needs to go on.

    Attributes:
        step: Optimiser steps done.
        epoch: The epoch that is running, from 0.
        step_in_epoch: Steps of it done.
        micro_batch_size: Pages that a device reads at a time; None all of its share.
        epoch_loss: Sum of the losses of this epoch's steps.
        history: A row per finished epoch.
        best_epoch: The epoch whose weights are kept; None before there is one.
        best_loss: Its validation loss.
        is_finished: Whether nothing is left to do.
        events: What happened that nobody asked for, such as a batch that was halved.
        wall_s: Seconds that the processes so far took; of one that was killed, up to its last checkpoint.
    """

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    micro_batch_size: int | None = None
    epoch_loss: float = 0.0
    history: tuple[dict[str, float], ...] = ()
    best_epoch: int | None = None
    best_loss: float | None = None
    is_finished: bool = False
    events: tuple[str, ...] = field(default=())
    wall_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Progress":
        """Return what ``to_json`` gave."""
        return cls(**{**found, "history": tuple(found["history"]), "events": tuple(found["events"])})

    def agreed_with(self, others: Sequence["Progress"]) -> "Progress":
        """Return the progress with what happened on any device, and the smallest of their micro-batches."""
        sizes = [each.micro_batch_size for each in others if each.micro_batch_size is not None]
        events = dict.fromkeys(event for each in (self, *others) for event in each.events)
        return replace(self, micro_batch_size=min(sizes, default=None), events=tuple(events))

    def after_epoch(self, metrics: Mapping[str, float], fit: TransformerFitOptions) -> "Progress":
        """Return the progress when an epoch has ended with these validation figures, if any."""
        train_loss = self.epoch_loss / max(1, self.step_in_epoch)
        history = (*self.history, {"epoch": self.epoch, "train_loss": train_loss, **metrics})
        loss, first = metrics.get("validation_loss"), min(fit.min_epochs, fit.max_epochs) - 1
        is_best = loss is not None and self.epoch >= first and (self.best_loss is None or loss < self.best_loss)
        best = (self.epoch, loss) if is_best else (self.best_epoch, self.best_loss)
        is_patient = best[0] is None or self.epoch - best[0] < fit.patience
        return replace(
            self,
            epoch=self.epoch + 1,
            step_in_epoch=0,
            epoch_loss=0.0,
            history=history,
            best_epoch=best[0],
            best_loss=best[1],
            is_finished=self.epoch + 1 >= fit.max_epochs or not is_patient,
        )


@dataclass(frozen=True)
class Trained:
    """What came of a job.

    Attributes:
        tensors: The weights to keep: those of the best epoch, or the last.
        progress: At the end.
        resumed_from_step: The step from which this process went on; None where it began at the beginning.
        devices: Name of each device.
        wall_s: Seconds of this process and of those that it went on from.
    """

    tensors: Mapping[str, NDArray[np.float32]]
    progress: Progress
    resumed_from_step: int | None
    devices: tuple[str, ...]
    wall_s: float


def _tensors(name: str, rows: Rows) -> dict[str, NDArray[Any]]:
    pages = {f"{name}/{part}": getattr(rows.pages, part) for part in _PAGES}
    return {**pages, f"{name}/targets": rows.targets, f"{name}/weights": rows.weights}


def _rows(name: str, tensors: Mapping[str, NDArray[Any]]) -> Rows:
    pages = EncodedPages(*(tensors[f"{name}/{part}"] for part in _PAGES))
    return Rows(pages, tensors[f"{name}/targets"], tensors[f"{name}/weights"])
