"""The project's runner: a family that fails does not stop the others."""

import logging
from collections import Counter
from itertools import chain
from typing import Any

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import SequentialRunner
from kedro.runner.task import Task

from al_platform.domain.errors import AlPlatformError
from al_platform.up_to_date import EarlyEnd

LOG = logging.getLogger("al_platform")


class RunFailedError(AlPlatformError):
    """One or more families failed; the message holds every error."""


class FamilyRunner(SequentialRunner):
    """Runs family after family; where a node fails, the rest of its family and its dependants are skipped."""

    def _run(self, pipeline: Pipeline, catalog: Any, hook_manager: Any = None, run_id: str | None = None) -> None:
        nodes = family_by_family(pipeline)
        load_counts = Counter(chain.from_iterable(node.inputs for node in nodes))
        failures: dict[Node, Exception] = {}
        not_done: set[Node] = set()
        early, not_needed = EarlyEnd(nodes, catalog), set[Node]()
        for node in nodes:
            if _is_blocked(node, pipeline, failures, not_done):
                not_done.add(node)
                continue
            not_needed |= self._said(early.before(node))
            if node in not_needed:
                self._release_datasets(node, catalog, load_counts, pipeline)
                continue
            try:
                Task(node, catalog, hook_manager=hook_manager, is_async=self._is_async, run_id=run_id).execute()
            # Whatever a family's node raises must not reach the other families; it is reported at the end.
            except Exception as error:  # noqa: BLE001
                failures[node] = error
                not_done.add(node)
            else:
                not_needed |= self._said(early.after(node))
            self._release_datasets(node, catalog, load_counts, pipeline)
        if failures:
            raise RunFailedError(_report(failures, not_done)) from next(iter(failures.values()))

    @staticmethod
    def _said(not_needed: set[Node]) -> set[Node]:
        """Return the nodes, after a word about their stages."""
        for stage in sorted({each.namespace or "" for each in not_needed}):
            LOG.info("%s: nothing is new, what was committed stays", stage)
        return not_needed


def family_by_family(pipeline: Pipeline) -> list[Node]:
    """Return the nodes in an order that respects their dependencies and finishes one family before the next."""
    first_seen = {family: index for index, family in reversed(list(enumerate(map(family_of, pipeline.nodes))))}
    return sorted(pipeline.nodes, key=lambda node: first_seen[family_of(node)])


def family_of(node: Node) -> str | None:
    """Return the family a node belongs to, the first part of its namespace."""
    return node.namespace.split(".")[0] if node.namespace else None


def _is_blocked(node: Node, pipeline: Pipeline, failures: dict[Node, Exception], not_done: set[Node]) -> bool:
    failed_families = {family_of(failed) for failed in failures} - {None}
    return family_of(node) in failed_families or bool(pipeline.node_dependencies[node] & not_done)


def _report(failures: dict[Node, Exception], not_done: set[Node]) -> str:
    lines = [f"{node.name}: {_message(error)}" for node, error in failures.items()]
    skipped = len(not_done) - len(failures)
    return f"{len(failures)} node(s) failed, {skipped} were skipped because of it:\n" + "\n".join(lines)


def _message(error: BaseException) -> str:
    # Kedro wraps what a dataset raises, sometimes twice; what the user can act on lies beneath.
    beneath = error
    while not isinstance(beneath, AlPlatformError) and beneath.__cause__ is not None:
        beneath = beneath.__cause__
    shown = beneath if isinstance(beneath, AlPlatformError) else error
    return f"{type(shown).__name__}: {shown}"
