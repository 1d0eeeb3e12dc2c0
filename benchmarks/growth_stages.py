"""Run stages of one cycle in this process and print, as JSON, what each takes and reads. Used by ``growth.py``."""

import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.pipeline.node import Node

from al_platform.annotation.exchange import FileExchange
from al_platform.annotation.platform import Pulled

# Near-duplicates and splits compare all texts, whatever was read anew.
COMPARING = ("group_near_duplicates", "assign_sets")


class Meter:
    """CPU seconds and bytes of each stage: wall time on a shared machine says little."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._at = (0.0, 0)

    @hook_impl(tryfirst=True)
    def before_dataset_loaded(self) -> None:
        self._at = (time.process_time(), bytes_read())

    @hook_impl
    def after_dataset_loaded(self, node: Node) -> None:
        self._add(node, "s")

    @hook_impl(tryfirst=True)
    def before_node_run(self) -> None:
        self._at = (time.process_time(), bytes_read())

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        self._add(node, "comparing_s" if node.name.endswith(COMPARING) else "s")

    @hook_impl(tryfirst=True)
    def before_dataset_saved(self) -> None:
        self._at = (time.process_time(), bytes_read())

    @hook_impl
    def after_dataset_saved(self, node: Node) -> None:
        self._add(node, "s", reads=False)

    def meter_pull(self) -> None:
        """Write down what the platform reads of its own files: that is its business, not the stage's."""
        pull = FileExchange.pull

        def metered(exchange: FileExchange) -> Pulled:
            at = (time.process_time(), bytes_read())
            pulled = pull(exchange)
            self.found["platform"]["s"] += time.process_time() - at[0]
            self.found["platform"]["read_mb"] += (bytes_read() - at[1]) / 1e6
            return pulled

        FileExchange.pull = metered  # type: ignore[method-assign]

    def _add(self, node: Node, name: str, reads: bool = True) -> None:
        figures = self.found[(node.namespace or "").rpartition(".")[2]]
        figures[name] += time.process_time() - self._at[0]
        if reads:
            figures["read_mb"] += (bytes_read() - self._at[1]) / 1e6


def bytes_read() -> int:
    """Return the bytes that this process has read from files so far (Linux)."""
    return int(Path("/proc/self/io").read_text().split()[1])


def main(environment: str, cycle: str) -> None:
    meter = Meter()
    meter.meter_pull()
    bootstrap_project(Path.cwd())
    with KedroSession.create(Path.cwd(), env=environment, runtime_params={"cycle": cycle}) as session:
        hooks: Any = session._hook_manager
        hooks.register(meter)
        session.run(pipeline_names=["annotation_ingest", "preparation"])
    for name in ("s", "read_mb"):
        meter.found["annotation_ingest"][name] -= meter.found["platform"][name]
    found = {
        stage: {name: round(value, 2) for name, value in figures.items()} for stage, figures in meter.found.items()
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
