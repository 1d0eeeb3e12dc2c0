"""The trainable head over sparse n-gram features, as a Lightning module."""

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from numpy.typing import NDArray
from torch import Tensor, nn

from al_platform.models.calibration import validation_metrics
from al_platform.models.classifier import expected_shapes
from al_platform.models.data import SparseBatch, SparseRows
from al_platform.models.imbalance import balanced_weights
from al_platform.models.options import FitOptions

HIDDEN_INIT_STD = 0.1
BIAS_RATE = 0.1  # the bias sees every row at full length, a weight only the rows with its n-gram


class NgramModule(L.LightningModule):
    """A linear head, or one hidden layer, on n-gram features; its tensors are named as in ``Classifier``.

    Attributes:
        history: A row per epoch: ``epoch``, ``train_loss`` and, with validation rows, ``validation_loss`` (mean
            negative log likelihood at the best temperature, because that is how the model will be used) and
            ``validation_macro_f1``.
    """

    class_weights: Tensor

    def __init__(self, train: SparseRows, options: FitOptions, *, hidden_units: int, is_multi: bool, seed: int) -> None:
        """Start from zero weights (linear head) or seeded noise (hidden layer).

        Args:
            train: The training rows; gives the shapes, the class weights and the number of steps.
            options: Optimiser and class weights.
            hidden_units: Width of the hidden layer, 0 for none.
            is_multi: Whether each label is a decision of its own.
            seed: Of the noise.
        """
        super().__init__()
        self.options = options
        self.is_multi = is_multi
        self.n_rows = len(train)
        self.history: list[dict[str, float]] = []
        self._train_losses: list[Tensor] = []
        self._validation: list[tuple[Tensor, Tensor]] = []
        self._validation_metrics: dict[str, float] = {}
        shapes = expected_shapes(train.features.shape[1], train.targets.shape[1], hidden_units)
        generator = torch.Generator().manual_seed(seed)
        self.weight = _parameter(shapes["weight"], generator if hidden_units else None)
        self.bias = _parameter(shapes["bias"])
        if hidden_units:
            self.head_weight = _parameter(shapes["head_weight"], generator)
            self.head_bias = _parameter(shapes["head_bias"])
        self.has_hidden_layer = bool(hidden_units)
        self.register_buffer("class_weights", torch.from_numpy(class_weights(train, options, is_multi)), False)

    def forward(self, batch: SparseBatch) -> Tensor:
        """Return the logits of a batch, shape (B, C)."""
        columns, values, offsets = batch.feature_columns, batch.feature_values, batch.offsets
        output = F.embedding_bag(columns, self.weight, offsets, mode="sum", per_sample_weights=values) + self.bias
        if self.has_hidden_layer:
            output = torch.relu(output) @ self.head_weight + self.head_bias
        return output

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return a copy of the learnt tensors as arrays."""
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in self.named_parameters()}

    def training_step(self, batch: SparseBatch, batch_idx: int) -> Tensor:
        """Return the weighted loss of a batch."""
        loss = self._loss(self(batch), batch)
        self._train_losses.append(loss.detach())
        return loss

    def validation_step(self, batch: SparseBatch, batch_idx: int) -> None:
        """Keep the logits until the epoch ends."""
        self._validation.append((self(batch).cpu(), batch.targets.cpu()))

    def on_validation_epoch_end(self) -> None:
        """Measure the validation rows."""
        logits, targets = (torch.cat(parts).numpy() for parts in zip(*self._validation, strict=True))
        self._validation.clear()
        self._validation_metrics = validation_metrics(logits, targets > 0, self.is_multi)

    @property
    def validation_loss(self) -> float | None:
        """The loss of the last validation, None before the first."""
        return self._validation_metrics.get("validation_loss")

    def on_train_epoch_end(self) -> None:
        """Add the epoch to the history and tell the loggers."""
        train_loss = float(torch.stack(self._train_losses).mean())
        self._train_losses.clear()
        metrics = {"train_loss": train_loss, **self._validation_metrics}
        self.history.append({"epoch": self.current_epoch, **metrics})
        for logger in self.loggers:
            logger.log_metrics(metrics, step=self.current_epoch)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the optimiser and a rate that falls to zero in a straight line."""
        optimizer = self._optimizer()
        steps = self.options.max_epochs * -(-self.n_rows // self.options.batch_size)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _optimizer(self) -> torch.optim.Optimizer:
        options = self.options
        if self.has_hidden_layer:
            return torch.optim.AdamW(self.parameters(), lr=options.hidden_learning_rate)
        decay = 1 / (options.inverse_regularization * self.n_rows)
        groups = [
            {"params": [self.weight], "weight_decay": decay},
            {"params": [self.bias], "lr": options.learning_rate * BIAS_RATE},
        ]
        return torch.optim.SGD(
            groups,
            lr=options.learning_rate,
            momentum=options.momentum,
            nesterov=options.momentum > 0,
            fused=True,
        )

    def _loss(self, logits: Tensor, batch: SparseBatch) -> Tensor:
        if self.is_multi:
            losses = F.binary_cross_entropy_with_logits(
                logits, batch.targets, pos_weight=self.class_weights, reduction="none"
            )
            return (losses.sum(dim=1) * batch.weights).mean()
        losses = F.cross_entropy(logits, batch.targets, reduction="none")  # (B,)
        return (losses * (batch.targets @ self.class_weights) * batch.weights).mean()


def class_weights(train: SparseRows, options: FitOptions, is_multi: bool) -> NDArray[np.float32]:
    """Return the weight of each class's positive rows, shape (C,)."""
    if options.class_weight == "none":
        return np.ones(train.targets.shape[1], dtype=np.float32)
    return balanced_weights(train.targets, train.weights, is_multi=is_multi, limit=options.max_class_weight)


def _parameter(shape: tuple[int, ...], generator: torch.Generator | None = None) -> nn.Parameter:
    tensor = torch.zeros(shape)
    return nn.Parameter(tensor.normal_(0, HIDDEN_INIT_STD, generator=generator) if generator else tensor)
