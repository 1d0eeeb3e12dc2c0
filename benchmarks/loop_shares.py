"""Run one pipeline in this process and print, as JSON, where its wall time goes. Used by ``loop.py``."""

import time

PROCESS_START = time.monotonic()

import json  # noqa: E402  the clock starts before the imports, which are part of what is measured
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from kedro.framework.hooks import hook_impl  # noqa: E402
from kedro.framework.session import KedroSession  # noqa: E402
from kedro.framework.startup import bootstrap_project  # noqa: E402


class Clock:
    """Seconds spent in node functions and in datasets."""

    def __init__(self) -> None:
        self.nodes = self.datasets = 0.0
        self._started = 0.0

    @hook_impl
    def before_node_run(self) -> None:
        """Start the node's clock."""
        self._started = time.monotonic()

    @hook_impl
    def after_node_run(self) -> None:
        """Stop the node's clock."""
        self.nodes += time.monotonic() - self._started

    @hook_impl
    def before_dataset_loaded(self) -> None:
        """Start the dataset's clock."""
        self._started = time.monotonic()

    @hook_impl
    def after_dataset_loaded(self) -> None:
        """Stop the dataset's clock."""
        self.datasets += time.monotonic() - self._started

    @hook_impl
    def before_dataset_saved(self) -> None:
        """Start the dataset's clock; a streamed output is computed while it is saved."""
        self._started = time.monotonic()

    @hook_impl(tryfirst=True)
    def after_dataset_saved(self, dataset_name: str) -> None:
        """Stop the dataset's clock."""
        spent = time.monotonic() - self._started
        if dataset_name.endswith(".predictions"):
            self.nodes += spent
        else:
            self.datasets += spent


def main(pipeline: str) -> None:
    """Run and print."""
    clock = Clock()
    bootstrap_project(Path.cwd())
    with KedroSession.create(Path.cwd()) as session:
        hooks: Any = session._hook_manager
        hooks.register(clock)
        session.run(pipeline_names=[pipeline])
    total = time.monotonic() - PROCESS_START
    rest = total - clock.nodes - clock.datasets
    shares = {"model and domain": clock.nodes, "data": clock.datasets, "framework": rest}
    print(json.dumps({name: round(seconds / total, 3) for name, seconds in shares.items()}))


if __name__ == "__main__":
    main(sys.argv[1])
