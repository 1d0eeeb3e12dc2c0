"""Runs that are killed at a chosen write, in a process of their own."""

import importlib
import multiprocessing
import os
import re
import signal
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from al_platform.health.audit import verify_environment
from al_platform.health.doctor import diagnose
from al_platform.health.stores import TendedStores
from al_platform.runner import FamilyRunner
from al_platform.stages import STAGES
from temporary_project import CYCLE, Project


@dataclass(frozen=True)
class Kill:
    """SIGKILL right before, or right after, the first such write.

    Attributes:
        job: The pipeline that is run.
        method: Of the store.
        path: A regular expression that the path must hold.
        moment: Before or after the write.
        is_repeated: Whether the job has run whole before.
    """

    job: Literal["monthly", "quarterly"]
    method: Literal["write", "create", "upload", "remove"]
    path: str
    moment: Literal["before", "after"]
    is_repeated: bool = False


# Every kind of write that a run makes, and both sides of those on which something hangs.
KILLS = {
    "before the run says that it began": Kill("monthly", "write", "started.json", "before"),
    "before the first traffic is stored": Kill("monthly", "write", "/pages/", "before"),
    "after an output of a stage": Kill("monthly", "upload", "predictions.parquet", "after"),
    "before a manifest": Kill("monthly", "write", "scoring/attempts/.*/manifest.json", "before"),
    "between a manifest and its line in the audit log": Kill("monthly", "create", "audit/", "before"),
    "between a line in the audit log and its entry": Kill("monthly", "create", "preparation/log/", "before"),
    "after a log entry": Kill("monthly", "create", "scoring/log/", "after"),
    "before a batch is sealed": Kill("monthly", "create", "sealed/", "before"),
    "between sealing a batch and sending it": Kill("monthly", "create", "sealed/", "after"),
    "between the tasks and the answers": Kill("monthly", "create", "outbox/", "after"),
    "between the answers and the receipt": Kill("monthly", "create", "inbox/", "after"),
    "before an attempt that changed nothing is removed": Kill("monthly", "remove", "attempts/", "before", True),
    "between the files of a model": Kill("quarterly", "upload", "by_digest/.*safetensors", "after"),
    "between a model and the reference to it": Kill("quarterly", "upload", "by_digest/.*/config.json", "after"),
    "before the champion's entry": Kill("quarterly", "create", "topics/log/", "before"),
    "between promotion and its report": Kill("quarterly", "create", "topics/log/", "after"),
    "before the run's log is stored": Kill("quarterly", "write", "run.log", "before"),
    "before the run says that it ended": Kill("quarterly", "write", "ended.json", "before"),
}

# What a run imports takes twice as long as the run: a server imports it once, and forks for every run.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        *("al_platform.hooks", "al_platform.parameters", "al_platform.runner", "al_platform.status"),
        *("al_platform.pipeline_registry", "al_platform.models.fit", "al_platform.models.trainer", "lightning.pytorch"),
        *(f"al_platform.pipelines.{stage.name}.nodes" for stage in STAGES),
        *("boto3", "ibis.backends.duckdb", "kedro.framework.session", "sklearn.feature_extraction.text"),
    ]
)


def is_sound(project: Project) -> bool:
    """Let the doctor remove what the killed run left; return whether store and audit log are as they should be."""
    stores = TendedStores.of(project.loader)
    found = diagnose(stores, timedelta(hours=24), fix=True)
    return found.is_clean and not verify_environment(project.loader).findings


def run_killed(project: Project, kill: Kill, store: str, environment: dict[str, str] | None = None) -> None:
    """Run the job and see it killed.

    Args:
        project: Where.
        kill: When.
        store: Class of the store, with its module.
        environment: Variables beside our own.
    """
    folder, said = str(project.path), project.path / "killed.txt"
    variables = {**os.environ, "DO_NOT_TRACK": "1", **(environment or {})}
    process = _FORKS.Process(target=_run, args=(folder, project.env, kill, store, variables, str(said)))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL, said.read_text() if said.exists() else "it did not even begin"


def _run(folder: str, env: str, kill: Kill, owner: str, variables: dict[str, str], said: str) -> None:
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    written = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(written, stream)
    _let_kill(kill, owner)
    bootstrap_project(Path(folder))
    with KedroSession.create(Path(folder), env=env, runtime_params={"cycle": CYCLE}) as session:
        session.run(pipeline_names=[kill.job], runner=FamilyRunner())


def _let_kill(kill: Kill, owner: str) -> None:
    module, _, name = owner.rpartition(".")
    store = getattr(importlib.import_module(module), name)
    real = getattr(store, kill.method)

    def killing(self: object, *arguments: object) -> object:
        is_hit = re.search(kill.path, str(arguments[-1] if kill.method == "upload" else arguments[0]))
        if is_hit and kill.moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(self, *arguments)
        if is_hit:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(store, kill.method, killing)
