"""Whether a stage would come to what it has committed already: the ingest run between months then ends early.

A stage that has read the same, with the same parameters and the same code, comes to the same. Where that cannot be told
(code with uncommitted changes, for one), it runs.
"""

from collections.abc import Sequence
from typing import Any

from kedro.pipeline.node import Node

from al_platform.catalog.outputs import StageOutput, StoreDataset
from al_platform.stages import STAGE
from al_platform.storage.commit_log import Input, Manifest, head
from al_platform.storage.redaction import redacted

INGEST_JOB = frozenset(stage.name for stage in STAGE.values() if stage.job == "ingest")
# What this node writes, says whether there is anything new: it asks the platform, which nobody else can.
PULL = "pull_annotations"


def stage_of(node: Node) -> tuple[str, str]:
    """Return family and stage of a node."""
    family, _, stage = (node.namespace or "").partition(".")
    return family, stage


class EarlyEnd:
    """Tells which nodes of a run need not run. Only runs of ingest and preparation alone end early."""

    def __init__(self, nodes: Sequence[Node], catalog: Any):
        self._nodes = nodes
        self._catalog = catalog
        self._is_between_months = {stage_of(node)[1] for node in nodes} <= INGEST_JOB

    def before(self, node: Node) -> set[Node]:
        """Return the nodes of a stage that asks nobody, where it would read what it has read; at its first node."""
        of_stage = self._of_stage(node)
        if not self._is_between_months or node is not of_stage[0] or any(_asks(each) for each in of_stage):
            return set()
        # Who asks for some nodes of a stage wants to see them run.
        if not any(
            output.endswith(f".{STAGE[stage_of(node)[1]].report}") for each in of_stage for output in each.outputs
        ):
            return set()
        return {*of_stage} if self._has_same_inputs(node) else set()

    def after(self, node: Node) -> set[Node]:
        """Return the nodes after one that asked a platform, where it brought what was there already."""
        if not self._is_between_months or not _asks(node):
            return set()
        report = self._report(node)
        manifest = head(report.store, report.key)
        if manifest is None or not self._brought_the_same(node, manifest) or not self._has_same_inputs(node):
            return set()
        if report.run:
            report.run.discard(report.key)
        return {*self._of_stage(node)} - {node}

    def _of_stage(self, node: Node) -> list[Node]:
        return [each for each in self._nodes if stage_of(each) == stage_of(node)]

    def _report(self, node: Node) -> StageOutput:
        family, stage = stage_of(node)
        dataset = self._catalog.get(f"{family}.{STAGE[stage].report}")
        assert isinstance(dataset, StageOutput)
        return dataset

    def _brought_the_same(self, node: Node, manifest: Manifest) -> bool:
        datasets = [self._catalog.get(name) for name in node.outputs]
        staged = {each.name: each.run.staged(each.key, each.name) for each in datasets if each.run}
        committed = {name: manifest.outputs.get(name) for name in staged}
        return bool(staged) and all(
            new is not None and old is not None and new.sha256 == old.sha256
            for new, old in ((staged[name], committed[name]) for name in staged)
        )

    def _has_same_inputs(self, node: Node) -> bool:
        report = self._report(node)
        manifest = head(report.store, report.key)
        if (
            manifest is None
            or report.run is None
            or not _is_same_code(manifest.code_revision, report.run.code_revision)
        ):
            return False
        if manifest.parameters != self._parameters(report.family):
            return False
        return all(self._is_same(name, recorded) for name, recorded in manifest.inputs.items())

    def _parameters(self, family: str) -> dict[str, Any]:
        """Return a family's parameters as a manifest holds them; the catalog has them typed."""
        # Imported here: the options of every stage bring in the libraries of every stage.
        from al_platform.parameters import FamilyParameters

        typed = FamilyParameters.model_validate(self._catalog.load("parameters")[family])
        found: dict[str, Any] = redacted(typed.model_dump(mode="json"))
        return found

    def _is_same(self, name: str, recorded: Input) -> bool:
        dataset = self._catalog.get(name)
        if not isinstance(dataset, StoreDataset):
            return False
        if dataset.reads_own:
            return True
        now = dataset.current()
        return now is not None and now.sha256 == recorded.sha256


def _asks(node: Node) -> bool:
    return node.name.rpartition(".")[2] == PULL


def _reports(node: Node) -> bool:
    family, stage = stage_of(node)
    return f"{family}.{STAGE[stage].report}" in node.outputs


def _is_same_code(recorded: str | None, now: str | None) -> bool:
    return recorded is not None and recorded == now and not recorded.endswith("-dirty")
