"""Run a job: in this process on one device, in one process each on several."""

import atexit
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader, Dataset, Sampler

from al_platform.domain.errors import ConfigError
from al_platform.models.trainer import quiet, torch_state_kept
from al_platform.models.transformer.batches import Rows
from al_platform.models.transformer.checkpoints import newest_checkpoint, read_checkpoint
from al_platform.models.transformer.job import Job, Progress, Trained
from al_platform.models.transformer.module import TransformerModule
from al_platform.models.transformer.network import PageNetwork, build_network, freeze, start_head
from al_platform.models.transformer.options import TransformerFitOptions
from al_platform.models.transformer.step_line import StepLine

Precision = Literal["32-true", "bf16-mixed"]


class Replicas(DDPStrategy):
    """Lightning's processes, without DDP's hooks: the module adds gradients up itself."""

    def __init__(self, meeting: Path) -> None:
        """Prepare.

        Args:
            meeting: The file at which the processes meet; not there before.
        """
        super().__init__()
        self._meeting = meeting

    def setup_distributed(self) -> None:
        """Meet the other processes at a file: a port would be open to the whole network."""
        self.set_world_ranks()
        dist.init_process_group(
            self._get_process_group_backend(),
            init_method=self._meeting.as_uri(),
            rank=self.global_rank,
            world_size=self.world_size,
            device_id=None if self.root_device.type == "cpu" else self.root_device,
        )
        atexit.register(dist.destroy_process_group)
        super().setup_distributed()

    def configure_ddp(self) -> None:
        """Leave the module as it is; every process starts from the same weights."""


class TrainingData(L.LightningDataModule):
    """The rows of each step that is left of an epoch; the module makes tensors of them."""

    def __init__(self, module: TransformerModule) -> None:
        super().__init__()
        self.module = module

    def train_dataloader(self) -> DataLoader[Rows]:
        """Return the steps left of this epoch."""
        return _loader(self.module.steps())

    def val_dataloader(self) -> DataLoader[Rows]:
        """Return the validation batches of this device."""
        return _loader(self.module.validation_batches())


def device_count(fit: TransformerFitOptions) -> int:
    """Return how many devices to train on.

    Raises:
        ConfigError: There are not so many.
    """
    if fit.devices != "auto":
        _require_gpus(fit, fit.devices)
        return fit.devices
    _require_gpus(fit, 1)
    return max(1, torch.cuda.device_count()) if uses_gpu(fit) else 1


def uses_gpu(fit: TransformerFitOptions) -> bool:
    """Return whether training happens on GPUs."""
    return fit.accelerator == "gpu" or (fit.accelerator == "auto" and torch.cuda.is_available())


def precision_of(fit: TransformerFitOptions) -> Precision:
    """Return Lightning's name of the precision: bfloat16 where asked for, or where a GPU has it."""
    if fit.precision == "auto":
        has_bfloat16 = uses_gpu(fit) and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16-mixed" if has_bfloat16 else "32-true"
    return "32-true" if fit.precision == "float32" else "bf16-mixed"


def train_here(
    job: Job,
    on_checkpoint: Callable[[Path], None],
    *,
    n_devices: int = 1,
    meeting: Path | None = None,
    logger: Logger | None = None,
    show_progress: bool = False,
) -> Trained:
    """Do a job in this process, from its newest checkpoint on.

    Args:
        job: What to do.
        on_checkpoint: Called with each new checkpoint.
        n_devices: Processes that work on this job at once, of which this is one.
        meeting: The file at which these processes meet.
        logger: Receives the losses; with several processes each of them needs one.
        show_progress: Whether to write one progress line to standard error.

    Raises:
        NotFiniteError: The training diverged.
        OutOfMemoryError: Not even one page fits.
    """
    started = time.monotonic()
    progress, saved = _resumed(job)
    resumed_from_step = progress.step or None
    with torch_state_kept():
        network = _network(job)
        module = TransformerModule(job, network, progress, saved, on_checkpoint)
        if not progress.is_finished:
            _fit(module, n_devices, meeting, logger, show_progress)
        tensors = module.kept_tensors()
    devices = tuple(_device_name(uses_gpu(job.fit), index) for index in range(n_devices))
    wall_s = progress.wall_s + time.monotonic() - started
    return Trained(tensors, module.progress, resumed_from_step, devices, wall_s)


def _require_gpus(fit: TransformerFitOptions, wanted: int) -> None:
    found = torch.cuda.device_count()
    if uses_gpu(fit) and found < wanted:
        raise ConfigError(
            f"Asked to train on {wanted} GPUs, but this machine has {found} that torch can use. Set "
            f"training.transformer.devices and accelerator to auto, or run where there are as many."
        )


def _network(job: Job) -> PageNetwork:
    network = build_network(job.encoder_config, len(job.class_weights), job.options)
    start_head(network.head, job.seed)
    missing, unexpected = network.load_state_dict(
        {name: torch.from_numpy(array).clone() for name, array in job.initial.items()}, strict=False
    )
    assert not unexpected, unexpected
    assert all(name.startswith("head.") for name in missing), missing
    freeze(network, job.options.frozen_layers)
    return network


def _resumed(job: Job) -> tuple[Progress, dict[str, Any]]:
    checkpoint = newest_checkpoint(job.checkpoint_folder)
    if checkpoint is None:
        return Progress(micro_batch_size=job.fit.micro_batch_size), {}
    state, tensors = read_checkpoint(checkpoint)
    return Progress.from_json(state), tensors


def _fit(
    module: TransformerModule, n_devices: int, meeting: Path | None, logger: Logger | None, show_progress: bool
) -> None:
    fit, progress = module.job.fit, module.progress
    with tempfile.TemporaryDirectory() as folder, quiet():
        if fit.threads:
            torch.set_num_threads(fit.threads)
        trainer = L.Trainer(
            accelerator="gpu" if uses_gpu(fit) else "cpu",
            devices=n_devices,
            strategy=Replicas(meeting) if meeting else "auto",
            plugins=[LightningEnvironment()] if meeting else None,
            precision=precision_of(fit),
            max_epochs=fit.max_epochs - progress.epoch,
            deterministic="warn" if fit.deterministic else False,
            logger=logger or False,
            callbacks=[StepLine()] if show_progress else None,
            num_sanity_val_steps=0,
            limit_val_batches=1.0 if len(module.job.validation) else 0,
            reload_dataloaders_every_n_epochs=1,
            use_distributed_sampler=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            default_root_dir=folder,
        )
        trainer.fit(module, datamodule=TrainingData(module))


class _Steps(Dataset[Rows]):
    def __getitem__(self, index: Rows) -> Rows:
        return index


class _Order(Sampler[Rows]):
    def __init__(self, steps: list[Rows]) -> None:
        self.steps = steps

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Rows]:
        return iter(self.steps)


def _loader(steps: list[Rows]) -> DataLoader[Rows]:
    # A generator of its own: by default the loader draws from torch's global one.
    return DataLoader(
        _Steps(), sampler=_Order(steps), batch_size=None, collate_fn=_as_it_is, generator=torch.Generator()
    )


def _as_it_is(rows: Any) -> Any:
    return rows


def _device_name(is_gpu: bool, index: int) -> str:
    return str(torch.cuda.get_device_name(index)) if is_gpu else f"cpu ({platform.machine()})"
