"""Several devices: a process each, of our own making, so that a Kedro run does not start once for each of them.

Job and result lie in a folder as safetensors and JSON. This process starts the workers, hands their checkpoints on, and
ends all of them when one fails.
"""

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.numpy
import torch

from al_platform.domain.errors import AlPlatformError, ConfigError, StoreError
from al_platform.models.transformer.checkpoints import held, newest_checkpoint, step_of
from al_platform.models.transformer.failures import NotFiniteError, OutOfMemoryError, TrainingStoppedError
from al_platform.models.transformer.job import Job, Progress, Trained
from al_platform.models.transformer.metrics_file import MetricsReader
from al_platform.models.transformer.step_line import STEPS
from al_platform.progress import LogLine

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

LOG = logging.getLogger("al_platform")
WORKER = "al_platform.models.transformer.worker"
RESULT_TENSORS = "result.safetensors"
RESULT = "result.json"
ERROR = "error.json"
MEETING = "meeting"
METRICS = "metrics.jsonl"
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
POLL_S = 0.2
STOP_S = 10.0
LAST_LINES = 20
TOLD = (OutOfMemoryError, ConfigError, StoreError)  # what may stop a worker and is made of its message alone


def train_in_workers(
    job: Job, on_checkpoint: Callable[[Path], None], n_devices: int, logger: "Logger | None" = None
) -> Trained:
    """Do a job in a process for each device.

    Args:
        job: What to do.
        on_checkpoint: Called in this process with each new checkpoint.
        n_devices: How many processes.
        logger: Receives, in this process, what the first device measures.

    Raises:
        NotFiniteError: The training diverged.
        OutOfMemoryError: Not even one page fits.
        ConfigError: The encoder does not suit the options.
        StoreError: The checkpoint to go on from is damaged.
        TrainingStoppedError: A process ended without a result.
    """
    with tempfile.TemporaryDirectory(prefix="al-platform-") as name:
        folder = Path(name)
        job.save(folder)
        metrics = MetricsReader(folder / METRICS, logger)
        workers = [_start(folder, rank, n_devices, job) for rank in range(n_devices)]
        try:
            _wait(workers, folder, job, on_checkpoint, metrics)
        finally:
            _stop(workers)
            metrics.hand_on()
        trained = read_result(folder)
    for event in trained.progress.events:
        LOG.warning(event)
    return trained


def write_result(trained: Trained, folder: Path) -> None:
    """Write what came of a job into ``folder``."""
    safetensors.numpy.save_file(dict(trained.tensors), folder / RESULT_TENSORS)
    rest = {
        "progress": trained.progress.to_json(),
        "resumed_from_step": trained.resumed_from_step,
        "devices": trained.devices,
        "wall_s": trained.wall_s,
    }
    (folder / RESULT).write_text(json.dumps(rest), encoding="utf-8")


def read_result(folder: Path) -> Trained:
    """Return what ``write_result`` wrote."""
    rest = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    return Trained(
        tensors=safetensors.numpy.load_file(folder / RESULT_TENSORS),
        progress=Progress.from_json(rest["progress"]),
        resumed_from_step=rest["resumed_from_step"],
        devices=tuple(rest["devices"]),
        wall_s=rest["wall_s"],
    )


def write_error(error: AlPlatformError, folder: Path) -> None:
    """Write why a worker stopped; the first one's word counts."""
    known: dict[str, Any] = {"message": str(error), "kind": type(error).__name__}
    if isinstance(error, NotFiniteError):
        known |= {"rows": error.rows, "step": error.step, "epoch": error.epoch}
    unfinished = folder / f"{os.getpid()}.{ERROR}"
    unfinished.write_text(json.dumps(known), encoding="utf-8")
    unfinished.replace(folder / ERROR)


def read_error(folder: Path) -> AlPlatformError | None:
    """Return why a worker stopped, as it wrote it; None where none did."""
    if not (folder / ERROR).exists():
        return None
    known = json.loads((folder / ERROR).read_text(encoding="utf-8"))
    if known["kind"] == NotFiniteError.__name__:
        return NotFiniteError(known["rows"], known["step"], known["epoch"])
    kinds: dict[str, type[AlPlatformError]] = {kind.__name__: kind for kind in TOLD}
    return kinds.get(known["kind"], TrainingStoppedError)(known["message"])


def _start(folder: Path, rank: int, n_devices: int, job: Job) -> "subprocess.Popen[bytes]":
    threads = job.fit.threads or max(1, torch.get_num_threads() // n_devices)
    environment = {
        **os.environ,
        "GLOO_SOCKET_IFNAME": LOOPBACK,
        "NCCL_SOCKET_IFNAME": LOOPBACK,
        "NODE_RANK": "0",
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(n_devices),
        "OMP_NUM_THREADS": str(threads),
    }
    command = [sys.executable, "-m", WORKER, str(folder), str(os.getpid())]
    with (folder / f"{rank}.log").open("wb") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)


def _wait(
    workers: list["subprocess.Popen[bytes]"],
    folder: Path,
    job: Job,
    on_checkpoint: Callable[[Path], None],
    metrics: MetricsReader,
) -> None:
    handed_on, line = newest_checkpoint(job.checkpoint_folder), LogLine(STEPS, job.n_steps)
    while any(worker.poll() is None for worker in workers) and not any(worker.returncode for worker in workers):
        time.sleep(POLL_S)
        metrics.hand_on()
        newest = newest_checkpoint(job.checkpoint_folder)
        if newest is not None and newest != handed_on:
            # Workers remove a checkpoint when they leave the next one, and handing one on may take minutes.
            with held(newest) as checkpoint:
                if checkpoint is not None:
                    on_checkpoint(checkpoint)
                    handed_on = newest
                    line.tell(step_of(newest))
    if any(worker.returncode for worker in workers):
        # One failure ends the others' connections: the process that knows the reason may not be the first to end.
        _wait_a_little(workers)
        raise read_error(folder) or _unexplained(folder, len(workers))


def _wait_a_little(workers: list["subprocess.Popen[bytes]"]) -> None:
    deadline = time.monotonic() + STOP_S
    while any(worker.poll() is None for worker in workers) and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _unexplained(folder: Path, n_devices: int) -> AlPlatformError:
    logs = [(folder / f"{rank}.log").read_text(encoding="utf-8", errors="replace") for rank in range(n_devices)]
    last = [f"device {rank}:\n" + "\n".join(log.splitlines()[-LAST_LINES:]) for rank, log in enumerate(logs)]
    return TrainingStoppedError(
        "A training process ended without a result. Run again: it goes on from the last checkpoint. The last lines of "
        + "\n".join(last)
    )


def _stop(workers: list["subprocess.Popen[bytes]"]) -> None:
    for worker in workers:
        if worker.poll() is None:
            worker.terminate()
    for worker in workers:
        try:
            worker.wait(STOP_S)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
