"""How far a training is: a bar in a terminal with epoch and validation loss, a line now and then in a log."""

from typing import Any

import lightning as L
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from al_platform.models.transformer.module import TransformerModule
from al_platform.progress import LogLine

STEPS = "fine-tuning, steps"


class StepLine(L.Callback):
    """Shows how far a training is."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.console = Console(stderr=True)
        self.progress = Progress(*columns, console=self.console)
        self.task = self.progress.add_task("fine-tuning", total=None)
        self.line: LogLine | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin."""
        assert isinstance(pl_module, TransformerModule)
        self.line = LogLine(STEPS, pl_module.job.n_steps)
        if self.console.is_terminal:
            self._update(pl_module)
            self.progress.start()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Count a step."""
        self._update(pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the last line."""
        self._update(pl_module)
        self.progress.stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Leave the line where it was."""
        self.progress.stop()

    def _update(self, module: L.LightningModule) -> None:
        assert isinstance(module, TransformerModule)
        done, history = module.progress, module.progress.history
        if not self.console.is_terminal:
            assert self.line is not None
            self.line.tell(done.step)
            return
        loss = history[-1].get("validation_loss") if history else None
        measured = "" if loss is None else f", validation loss {loss:.4f}"
        description = f"fine-tuning: epoch {done.epoch + (not done.is_finished)}{measured}"
        self.progress.update(self.task, completed=done.step, total=module.job.n_steps, description=description)
