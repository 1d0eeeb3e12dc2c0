"""Runs a notebook for real, in a process of its own."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from servers.databricks_jobs.model import Outcome

_HOST = Path(__file__).with_name("notebook_host.py")
_HEADER = "# Databricks notebook source"
_GRACE_S = 10


@dataclass(frozen=True)
class Request:
    """What is to be run.

    Attributes:
        path: Of the notebook as the job gives it; a workspace path matches by its end.
        widgets: The task's parameters.
        values: Of the tasks before, by task.
        variables: Added to the environment.
        folder: For what it prints and the values it sets; must not exist.
    """

    path: str
    widgets: dict[str, str]
    values: dict[str, dict[str, Any]]
    variables: dict[str, str]
    folder: Path


@dataclass(frozen=True)
class NotebookRunner:
    """Starts notebooks of a project.

    Attributes:
        interpreter: Of an environment in which the project is installed.
        project: Where the notebooks lie.
    """

    interpreter: Path
    project: Path

    def run(self, request: Request, stop: Callable[[], str]) -> Outcome:
        """Run a notebook until it ends, or ``stop`` returns the result with which it has to end."""
        notebook = self._find(request.path)
        if notebook is None:
            return Outcome("FAILED", f"Unable to access the notebook {request.path!r}: there is none.", is_final=True)
        if notebook.read_text().partition("\n")[0].strip() != _HEADER:
            return Outcome("FAILED", f"{request.path!r} does not begin with {_HEADER!r}.", is_final=True)
        folder = request.folder
        folder.mkdir(parents=True)
        (folder / "context.json").write_text(json.dumps({"widgets": request.widgets, "values": request.values}))
        with (folder / "out.log").open("wb") as out, (folder / "error.log").open("wb") as error:
            process = subprocess.Popen(
                [self.interpreter, _HOST, notebook, folder / "context.json", folder / "values.json"],
                # The runtime's working directory is the notebook's folder.
                cwd=notebook.parent, env={**os.environ, **request.variables}, stdout=out, stderr=error,
                start_new_session=True,
            )  # fmt: skip
            stopped = _wait(process, stop)
        return _outcome(process.returncode, stopped, folder)

    def _find(self, path: str) -> Path | None:
        parts = [part for part in PurePosixPath(path).with_suffix(".py").parts if part not in ("/", ".", "..")]
        candidates = (self.project.joinpath(*parts[start:]) for start in range(len(parts)))
        return next((candidate for candidate in candidates if candidate.is_file()), None)


def _wait(process: subprocess.Popen[bytes], stop: Callable[[], str]) -> str:
    while process.poll() is None:
        if result := stop():
            _end(process)
            return result
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    return ""


def _end(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _outcome(code: int, stopped: str, folder: Path) -> Outcome:
    values = _values(folder / "values.json")
    logs = (folder / "out.log").read_text(errors="replace")
    if stopped:
        return Outcome(stopped, "", values, logs)
    if code == 0:
        return Outcome("SUCCESS", "", values, logs)
    trace = (folder / "error.log").read_text(errors="replace").strip()
    return Outcome("FAILED", _message(trace) or f"The notebook ended with {code}.", values, logs, trace=trace)


def _message(trace: str) -> str:
    """The exception without the lines of code above it."""
    lines = trace.splitlines()
    last_code = max((index for index, line in enumerate(lines) if line.startswith("  ")), default=-1)
    return "\n".join(lines[last_code + 1 :])


def _values(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    values: dict[str, Any] = json.loads(file.read_text())
    return values
