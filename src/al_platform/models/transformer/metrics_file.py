"""How the processes of several devices tell what they measure: lines of JSON, which the process that began them reads.

So that a tracker meets one process alone, and one that has its settings.
"""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger


class MetricsFile(Logger):
    """Writes a line for each call; nothing on any device but the first."""

    def __init__(self, file: Path | None) -> None:
        """Prepare.

        Args:
            file: Where to; None on other devices, whose trainers must not be without a logger where one has it.
        """
        super().__init__()
        self._file = file

    @property
    def name(self) -> str | None:
        """None: Lightning names folders by it, and none are made."""
        return None

    @property
    def version(self) -> int | str | None:
        """None, as above."""
        return None

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Write a line."""
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as lines:
                lines.write(f"{json.dumps({'metrics': metrics, 'step': step})}\n")

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the process that reads has them."""


class MetricsReader:
    """Hands what was written since the last time on to a logger."""

    def __init__(self, file: Path, logger: Logger | None) -> None:
        self._file = file
        self._logger = logger
        self._read = 0

    def hand_on(self) -> None:
        """Hand on every whole line that is new."""
        if self._logger is None or not self._file.exists():
            return
        with self._file.open("rb") as lines:
            lines.seek(self._read)
            whole, newline, _ = lines.read().rpartition(b"\n")
        self._read += len(whole) + len(newline)
        for line in whole.splitlines():
            found = json.loads(line)
            self._logger.log_metrics(found["metrics"], found["step"])
