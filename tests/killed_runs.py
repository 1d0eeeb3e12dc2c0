"""Runs that are killed at a chosen write, in a process of their own."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from al_platform.health.audit import verify_environment
from al_platform.health.doctor import diagnose
from al_platform.health.stores import Stores
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

_SCRIPT = """
import importlib, os, re, signal, sys
from pathlib import Path
folder, env, job, cycle, owner, method, pattern, moment = sys.argv[1:]
module, name = owner.rsplit(".", 1)
store = getattr(importlib.import_module(module), name)
real = getattr(store, method)
def killing(self, *arguments):
    path = str(arguments[-1] if method == "upload" else arguments[0])
    hit = re.search(pattern, path)
    if hit and moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(self, *arguments)
    if hit:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(store, method, killing)
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from al_platform.runner import FamilyRunner
bootstrap_project(Path(folder))
with KedroSession.create(Path(folder), env=env, runtime_params={"cycle": cycle}) as session:
    session.run(pipeline_names=[job], runner=FamilyRunner())
"""


def is_sound(project: Project) -> bool:
    """Let the doctor remove what the killed run left; return whether store and audit log are as they should be."""
    stores = Stores.of(project.loader)
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
    arguments = [str(project.path), project.env, kill.job, CYCLE, store, kill.method, kill.path, kill.moment]
    killed = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *arguments],
        cwd=project.path,
        env={**os.environ, "DO_NOT_TRACK": "1", **(environment or {})},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
