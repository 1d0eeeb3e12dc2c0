"""Stages on Airflow's own worker, for teams without Databricks."""

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.exceptions import AirflowException
from airflow.sdk import BaseOperator, task

_GRACE_S = 30
_OUTCOME = re.compile(r"([a-z_]+)=(\S*)")


class RunStage(BaseOperator):
    """Runs one stage of a family in a process of its own; returns its outcome, the lines ``NAME=VALUE`` it prints.

    Args:
        project: The project's folder.
        python: The interpreter of the project's own environment.
        arguments: What to run: ``family``, ``stage``, ``cycle``, ``env``.
        handed_on: Names of the worker's variables that the process gets; it gets no others.
    """

    template_fields: Sequence[str] = ("project", "python", "arguments")

    def __init__(
        self, *, project: str, python: str, arguments: Mapping[str, Any], handed_on: Sequence[str], **options: Any
    ) -> None:
        super().__init__(**options)
        self.project = project
        self.python = python
        self.arguments = arguments
        self.handed_on = handed_on
        self._process: subprocess.Popen[str] | None = None

    def execute(self, context: Any) -> dict[str, str]:
        """Run the stage."""
        arguments = [f"{name}={value}" for name, value in self.arguments.items()]
        self._process = subprocess.Popen(
            [self.python, "-m", "al_platform.export.entry", *arguments],
            cwd=self.project, env=self._environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        try:
            return self._follow(self._process)
        finally:
            # A time-out comes as an exception out of nowhere: nothing that the stage started may stay.
            self.on_kill()

    def on_kill(self) -> None:
        """End the stage: ask it, and after a while force it."""
        if self._process is None or self._process.poll() is not None:
            return
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _follow(self, process: subprocess.Popen[str]) -> dict[str, str]:
        outcome: dict[str, str] = {}
        last = ""
        for line in process.stdout or ():
            self.log.info("%s", last := line.rstrip())
            if found := _OUTCOME.fullmatch(last):
                outcome[found[1]] = found[2]
        if process.wait():
            raise AirflowException(f"{' '.join(self.arguments.values())} ended with {process.returncode}: {last}")
        return outcome

    def _environment(self) -> dict[str, str]:
        return {name: os.environ[name] for name in self.handed_on if name in os.environ}


@task.short_circuit
def only_if(outcome: Mapping[str, str], key: str) -> bool:
    """Return whether what comes next has anything to do; it is skipped otherwise."""
    return outcome[key] == "true"
