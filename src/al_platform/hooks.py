"""What happens around nodes: configuration is checked first, stages are committed, the run ends with a table."""

import logging
from pathlib import Path
from typing import Any
from uuid import uuid4

from kedro.framework.hooks import hook_impl
from kedro.pipeline.node import Node

from al_platform import families
from al_platform.catalog.outputs import StageOutput, StoreDataset
from al_platform.circumstances import code_revision, environment
from al_platform.domain.errors import StoreError
from al_platform.stages import STAGE
from al_platform.storage import redaction
from al_platform.storage.audit_log import AuditLog, anchor_quietly
from al_platform.storage.commit_log import StageKey
from al_platform.storage.run import Run
from al_platform.storage.run_record import RunJournal, actor, start_of
from al_platform.storage.store import Store, open_store

LOG = logging.getLogger("al_platform")
REPLAY = "replay"


class ConfigurationHooks:
    """Checks the whole configuration before anything else."""

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Leave the family names for the pipeline registry, and validate every parameter."""
        loader = context.config_loader
        redaction.configure(loader.all_credentials())
        families.configure(loader.families)
        _ = loader["parameters"]


class CommitHooks:
    """Ties datasets to the run, records what each stage read, and commits a stage when its report is saved."""

    def __init__(self) -> None:
        self._run: Run | None = None
        self._journal: RunJournal | None = None
        self._parameters: dict[str, Any] = {}

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Keep the configuration for the manifests and the logs."""
        self._loader = context.config_loader
        self._parameters = self._loader["parameters"]

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Begin a run and tie every dataset of the pipeline to it."""
        run_id = f"{run_params['run_id']}-{uuid4().hex[:6]}"
        logs = open_store(self._loader.root("logs"))
        names = tuple(run_params.get("pipeline_names") or ["__default__"])
        revision = code_revision(Path(run_params["project_path"]))
        self._audit = AuditLog(logs, actor(), _opened(self._loader.audit_anchor))
        self._run = Run(run_id, revision, environment(), self._audit)
        for name in pipeline.datasets():
            dataset = catalog.get(name, fallback_to_runtime_pattern=True)
            if isinstance(dataset, StoreDataset):
                dataset.bind(self._run)
        self._catalog = catalog
        self._journal = RunJournal(logs, start_of(run_id, self._loader.env, names, self._loader.cycle))
        self._journal.begin()

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, node: Node) -> None:
        """Record what the node's stage read."""
        dataset, report = self._catalog.get(dataset_name), self._report_of(node)
        if self._run and report and isinstance(dataset, StoreDataset) and dataset.source:
            self._run.attempt(report.key, report.store).inputs[dataset_name] = dataset.source

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        """Commit the stage whose report this is."""
        dataset = self._catalog.get(dataset_name)
        if isinstance(dataset, StageOutput) and dataset.name == STAGE[dataset.key.stage].report:
            self._commit(dataset.key)

    @hook_impl
    def on_node_error(self, node: Node) -> None:
        """Remove what the failed stage had written so far."""
        report = self._report_of(node)
        if self._run and report:
            self._run.discard(report.key)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Remove what a filtered run wrote of stages that it did not finish, and say so."""
        self._end(None)

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """The same after a failure."""
        self._end(str(error) or type(error).__name__)

    def _end(self, error: str | None) -> None:
        try:
            self._discard_unfinished()
            anchor_quietly(self._audit)
        finally:
            if self._journal:
                self._journal.end(error)

    def _commit(self, key: StageKey) -> None:
        if self._run is None or self._run.missing(key, STAGE[key.stage].outputs):
            return
        entry = self._run.commit(key, self._parameters.get(key.family, {}))
        done = f"commit {entry.number}" if entry else "nothing changed"
        LOG.info("%s %s %s: %s", key.family, key.cycle, key.stage, done)

    def _discard_unfinished(self) -> None:
        for key in self._run.uncommitted() if self._run else []:
            missing = self._run.missing(key, STAGE[key.stage].outputs) if self._run else []
            LOG.warning(
                "%s %s %s is not committed: this run did not write %s. Run the whole stage: %s",
                *(key.family, key.cycle, key.stage, ", ".join(missing)),
                f"kedro run --namespaces {key.family}.{key.stage}",
            )
            if self._run:
                self._run.discard(key)

    def _report_of(self, node: Node) -> StageOutput | None:
        family, _, stage = (node.namespace or "").partition(".")
        if stage not in STAGE:
            return None
        dataset = self._catalog.get(f"{family}.{STAGE[stage].report}")
        return dataset if isinstance(dataset, StageOutput) else None


class ReportHooks:
    """Prints where every family stands when a run ends, also when it fails."""

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Keep the configuration."""
        self._loader = context.config_loader

    @hook_impl
    def after_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """Print the table."""
        self._print(run_params)

    @hook_impl
    def on_pipeline_error(self, run_params: dict[str, Any]) -> None:
        """Print the table; the error follows it, and must, also where the table cannot be read."""
        try:
            self._print(run_params)
        except StoreError as error:
            LOG.warning("Where every family stands cannot be read: %s", error)

    def _print(self, run_params: dict[str, Any]) -> None:
        from al_platform.status import print_status, read_status

        if run_params.get("pipeline_names") == [REPLAY]:
            return  # it moves no family of this store
        print_status(read_status(self._loader, self._loader.cycle))


def _opened(root: str | None) -> Store | None:
    return open_store(root) if root else None
