"""What can stop a training, with what is needed to say where."""

from al_platform.domain.errors import TrainingDataError


class TrainingStoppedError(TrainingDataError):
    """A training that cannot go on."""


class NotFiniteError(TrainingStoppedError):
    """Loss or gradients are no longer finite.

    Attributes:
        rows: The training rows of the step.
        step: The step, from 0.
        epoch: Its epoch, from 0.
    """

    def __init__(self, rows: list[int], step: int, epoch: int) -> None:
        super().__init__(f"Loss or gradients are no longer finite at step {step} of epoch {epoch}.")
        self.rows, self.step, self.epoch = rows, step, epoch


class OutOfMemoryError(TrainingStoppedError):
    """Not even one page at a time fits into the device's memory."""
