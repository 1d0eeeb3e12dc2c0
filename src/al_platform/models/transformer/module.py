"""Fine-tuning as a Lightning module: one step is one batch, whatever the number of devices and their memory.

A step's randomness comes from its number, so that a resumed training goes on as if it had never stopped. Gradients are
added up over micro-batches and devices here and not by DDP's hooks: where memory runs out on one device, that device
repeats its share in smaller pieces and the others wait for it.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import lightning as L
import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from al_platform.models.calibration import validation_metrics
from al_platform.models.transformer.batches import Rows, batches_within, halved_to_fit, pad, steps_of_epoch
from al_platform.models.transformer.checkpoints import write_checkpoint
from al_platform.models.transformer.failures import NotFiniteError, OutOfMemoryError
from al_platform.models.transformer.job import Job, Progress
from al_platform.models.transformer.losses import page_losses
from al_platform.models.transformer.network import PageNetwork, train_mode

LOG = logging.getLogger("al_platform")
LOGGED_STEPS = 10  # the loss of every tenth step is told
VALIDATION_TOKENS = 16_384  # of a padded batch
NO_DECAY = ("bias", "norm")
MOMENTS = ("exp_avg", "exp_avg_sq", "step")
_Found = TypeVar("_Found")


class TransformerModule(L.LightningModule):
    """A network in training.

    Attributes:
        progress: How far it is.
        best: The trainable weights of the best epoch; empty before there is one.
    """

    class_weights: Tensor

    def __init__(
        self,
        job: Job,
        network: PageNetwork,
        progress: Progress,
        saved: dict[str, NDArray[Any]],
        on_checkpoint: Callable[[Path], None],
    ) -> None:
        """Prepare.

        Args:
            job: What to do.
            network: With its initial weights.
            progress: Where to go on.
            saved: The tensors of the checkpoint to go on from; empty at the beginning.
            on_checkpoint: Called with each checkpoint's folder.
        """
        super().__init__()
        self.automatic_optimization = False
        self.job = job
        self.network = network
        self.progress = progress
        self.best = {name.removeprefix("best/"): array for name, array in saved.items() if name.startswith("best/")}
        self._saved = saved
        self._started = time.monotonic() - progress.wall_s
        self._on_checkpoint = on_checkpoint
        self._validation: list[tuple[Rows, NDArray[np.float32]]] = []
        self._metrics: dict[str, float] = {}
        self.register_buffer("class_weights", torch.from_numpy(job.class_weights), persistent=False)
        _load_weights(network, saved)

    def steps(self) -> list[Rows]:
        """Return the rows of the steps that are left of this epoch."""
        lengths, fit = self.job.train.pages.lengths, self.job.fit
        steps = steps_of_epoch(lengths, fit.batch_size, self.job.seed, self.progress.epoch)
        return steps[self.progress.step_in_epoch :]

    def validation_batches(self) -> list[Rows]:
        """Return the validation rows in batches, of each this device's share, which may be empty."""
        batches = batches_within(self.job.validation.pages.lengths, VALIDATION_TOKENS)
        return [rows[self.global_rank :: self.trainer.world_size] for rows in batches]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW, with the moments of the checkpoint where there is one."""
        optimizer = torch.optim.AdamW(self._groups(), weight_decay=self.job.fit.weight_decay, fused=True)
        for name, parameter in self._trainable():
            if f"{MOMENTS[0]}/{name}" in self._saved:
                moments = {moment: self._saved[f"{moment}/{name}"] for moment in MOMENTS}
                optimizer.state[parameter] = {
                    moment: torch.from_numpy(array).clone().to(parameter.device) for moment, array in moments.items()
                }
        self._saved = {}
        return optimizer

    def training_step(self, rows: Rows, batch_idx: int) -> None:
        """Do one step of the optimiser."""
        optimizer = self._optimizer()
        losses, norm = self._sum_over_devices(self._gradients(rows)), self._shorten_gradients()
        if not (np.isfinite(losses) and np.isfinite(norm)):
            raise NotFiniteError(rows.tolist(), self.progress.step, self.progress.epoch)
        self._set_rate(optimizer)
        optimizer.step()
        done = self.progress
        self.progress = replace(
            done, step=done.step + 1, step_in_epoch=done.step_in_epoch + 1, epoch_loss=done.epoch_loss + losses
        )
        if self.progress.step % LOGGED_STEPS == 0:
            rate = max(group["lr"] for group in optimizer.param_groups)
            for logger in self.loggers:
                logger.log_metrics({"step_loss": losses, "learning_rate": rate}, step=self.progress.step)

    def on_train_batch_end(self, outputs: Any, batch: Rows, batch_idx: int) -> None:
        """Leave a checkpoint now and then; the end of an epoch leaves its own."""
        is_last = batch_idx + 1 >= self.trainer.num_training_batches
        if self.progress.step % self.job.fit.checkpoint_steps == 0 and not is_last:
            self._leave_checkpoint()

    def validation_step(self, rows: Rows, batch_idx: int) -> None:
        """Keep the logits until the epoch ends."""
        try:
            self._validation += halved_to_fit(rows, self._validation_logits) if len(rows) else ()
        except torch.cuda.OutOfMemoryError as error:
            raise self._one_page_too_large(str(error)) from error

    def on_validation_epoch_end(self) -> None:
        """Measure all validation rows, those of the other devices too."""
        found = _from_every_device(self._validation)
        self._validation = []
        logits = np.zeros(self.job.validation.targets.shape, dtype=np.float32)
        for rows, part in found:
            logits[rows] = part
        self._metrics = validation_metrics(logits, self.job.validation.targets > 0, self.job.is_multi)

    def on_train_epoch_end(self) -> None:
        """End the epoch: compare it with the best, leave a checkpoint, stop where it is time."""
        epoch = self.progress.epoch
        told = _from_every_device([self.progress])
        self.progress = self.progress.agreed_with(told).after_epoch(self._metrics, self.job.fit)
        if self.progress.best_epoch == epoch:
            self.best = {name: _array(parameter) for name, parameter in self._trainable()}
        self.trainer.should_stop = self.progress.is_finished
        self._leave_checkpoint()
        for logger in self.loggers:
            logger.log_metrics({**self.progress.history[-1]}, step=self.progress.step)

    def kept_tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return all weights, those of the best epoch where there is one."""
        last = {name: _array(tensor) for name, tensor in self.network.state_dict().items()}
        return {**last, **self.best}

    def on_train_epoch_start(self) -> None:
        """Switch dropout on, but for what is frozen."""
        train_mode(self.network)

    def _gradients(self, rows: Rows) -> float:
        """Fill the gradients of this device's share of a step, in pieces that fit; return its sum of losses."""
        while True:
            try:
                return self._accumulate(rows)
            except torch.cuda.OutOfMemoryError as error:
                problem = str(error)
            # Outside of the handler: its traceback holds on to what did not fit.
            self._halve(len(rows), problem)

    def _accumulate(self, rows: Rows) -> float:
        self.network.zero_grad(set_to_none=True)
        torch.manual_seed(_seed(self.job.seed, self.progress.step, self.global_rank))
        losses = torch.zeros((), device=self.device)
        for piece in self._pieces(rows[self.global_rank :: self.trainer.world_size]):
            batch = pad(self.job.train.pages, piece, self.job.padding).to(self.device)
            loss = self._loss(self.network(batch), piece) / len(rows)
            self.manual_backward(loss)
            losses += loss.detach()
        return float(losses)

    def _loss(self, logits: Tensor, rows: Rows) -> Tensor:
        targets = torch.from_numpy(self.job.train.targets[rows]).to(self.device)
        weights = torch.from_numpy(self.job.train.weights[rows]).to(self.device)
        gamma = self.job.fit.focal_gamma if self.job.fit.loss == "focal" else 0.0
        losses = page_losses(logits, targets, self.class_weights, gamma, is_multi=self.job.is_multi)
        return (losses * weights).sum()

    def _pieces(self, rows: Rows) -> Iterator[Rows]:
        size = self.progress.micro_batch_size or max(1, len(rows))
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    def _halve(self, n_rows: int, problem: str) -> None:
        share = -(-n_rows // self.trainer.world_size)
        size = min(self.progress.micro_batch_size or share, share)
        if size == 1:
            raise self._one_page_too_large(problem)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        event = f"Out of memory at step {self.progress.step}: {size // 2} pages at a time instead of {size}."
        LOG.warning("%s A step is still %d pages.", event, self.job.fit.batch_size)
        self.progress = replace(self.progress, micro_batch_size=size // 2, events=(*self.progress.events, event))

    def _one_page_too_large(self, problem: str) -> OutOfMemoryError:
        return OutOfMemoryError(
            f"One page of {self.job.options.max_tokens} tokens at a time does not fit into the memory of "
            f"{self.device} ({problem}). Lower model.transformer.max_tokens or max_chunks, or freeze layers."
        )

    def _validation_logits(self, rows: Rows) -> NDArray[np.float32]:
        batch = pad(self.job.validation.pages, rows, self.job.padding).to(self.device)
        logits: NDArray[np.float32] = self.network(batch).float().cpu().numpy()
        return logits

    def _sum_over_devices(self, losses: float) -> float:
        if self.trainer.world_size == 1:
            return losses
        parameters = [parameter for _, parameter in self._trainable()]
        grads = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
        flat = torch.cat([torch.tensor([losses], device=self.device), *(grad.flatten() for grad in grads)])
        dist.all_reduce(flat)
        sums = torch.split(flat[1:], [each.numel() for each in parameters])
        for parameter, grad in zip(parameters, sums, strict=True):
            parameter.grad = grad.view_as(parameter)
        return float(flat[0])

    def _shorten_gradients(self) -> float:
        parameters = [parameter for _, parameter in self._trainable()]
        return float(torch.nn.utils.clip_grad_norm_(parameters, self.job.fit.max_gradient_norm))

    def _set_rate(self, optimizer: torch.optim.Optimizer) -> None:
        step, n_steps = self.progress.step, self.job.n_steps
        rise = max(1, round(n_steps * self.job.fit.warmup_share))
        share = (step + 1) / rise if step < rise else max(0.0, (n_steps - step) / max(1, n_steps - rise))
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * share

    def _optimizer(self) -> torch.optim.Optimizer:
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        return optimizer

    def _groups(self) -> list[dict[str, Any]]:
        fit = self.job.fit
        groups: dict[tuple[float, float], list[Tensor]] = {}
        for name, parameter in self._trainable():
            peak = fit.head_learning_rate if name.startswith("head.") else fit.learning_rate
            decay = 0.0 if any(part in name.lower() for part in NO_DECAY) else fit.weight_decay
            groups.setdefault((peak, decay), []).append(parameter)
        return [
            {"params": parameters, "lr": peak, "peak": peak, "weight_decay": decay}
            for (peak, decay), parameters in groups.items()
        ]

    def _trainable(self) -> list[tuple[str, torch.nn.Parameter]]:
        return [(name, each) for name, each in self.network.named_parameters() if each.requires_grad]

    def _leave_checkpoint(self) -> None:
        if self.global_rank:
            return
        moments = self._optimizer().state
        tensors = {f"weight/{name}": _array(parameter) for name, parameter in self._trainable()}
        tensors |= {f"best/{name}": array for name, array in self.best.items()}
        for name, parameter in self._trainable():
            # A weight that no page has used yet has no moments.
            if parameter in moments:
                tensors |= {f"{moment}/{name}": _array(moments[parameter][moment]) for moment in MOMENTS}
        folder, state = self.job.checkpoint_folder, replace(self.progress, wall_s=time.monotonic() - self._started)
        self._on_checkpoint(write_checkpoint(folder, state.step, state.to_json(), tensors))


def _load_weights(network: PageNetwork, saved: dict[str, NDArray[Any]]) -> None:
    weights = {name.removeprefix("weight/"): array for name, array in saved.items() if name.startswith("weight/")}
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name in weights:
                parameter.copy_(torch.from_numpy(weights[name]))


def _from_every_device(found: list[_Found]) -> list[_Found]:
    if not (dist.is_available() and dist.is_initialized()):
        return found
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, found)
    return [each for part in parts for each in part]


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().cpu().numpy().copy()
