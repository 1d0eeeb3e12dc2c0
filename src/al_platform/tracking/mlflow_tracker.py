"""MLflow: a SQLite file in the project, or a server."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from al_platform.domain.errors import ConfigError, TrackerError
from al_platform.storage.redaction import redact
from al_platform.tracking.options import TrackingOptions
from al_platform.tracking.tracked_run import FitHeader, TrackedArtifact, TrackedRun
from al_platform.tracking.tracker import Fit, Found

SQLITE = "sqlite:"
_ID, _IS_WHOLE = "al.id", "al.whole"
_FOLDER = "mlflow"
_DIGEST_CHARS = 36  # MLflow's limit on a data set's digest
_PARAMETER_CHARS = 6000
_TAG_CHARS = 5000
_BATCH = 100  # parameters or tags a request
_METRICS = 1000
_SHOWN = ("group", "job_type", "labels")
_CURVE = "epoch."
_SAFE = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}


class MlflowTracker:
    """Implements ``Tracker``. A run that was interrupted half-way is filled up: what it holds already is left."""

    def __init__(self, options: TrackingOptions, project: Path):
        """Prepare; nothing is imported yet.

        Args:
            options: Experiment and tracking URI.
            project: The folder below which the SQLite file lies where no URI is given.
        """
        self._options = options
        self._folder = project / _FOLDER
        self._uri = options.server or f"{SQLITE}///{self._folder / 'mlflow.db'}"
        self.target = f"mlflow-{hashlib.sha256(f'{self._uri}/{options.project}'.encode()).hexdigest()[:12]}"

    def publish(self, runs: Sequence[TrackedRun]) -> Iterator[str]:
        for run in runs:
            with self._errors(run.name):
                self._publish(run)
            yield run.id

    def send_fit(self, file: Path) -> None:
        raise TrackerError(f"{file.name} was left by another tracker than MLflow.")

    @contextmanager
    def fit(self, header: FitHeader, folder: Path) -> Iterator[Fit]:
        if self._options.mode == "offline" and not self._is_local:
            yield Fit()
            return
        from lightning.pytorch.loggers import MLFlowLogger

        from al_platform.tracking.guarded import GuardedLogger

        run = self._begun(header, tags={_ID: header.id}, start=None)
        self._client.log_batch(run.info.run_id, params=_parameters(header.config))
        logger = MLFlowLogger(self._options.project, tracking_uri=self._uri, run_id=run.info.run_id)
        status = "FAILED"
        try:
            yield Fit(GuardedLogger(logger))
            status = "FINISHED"
        finally:
            self._client.set_terminated(run.info.run_id, status)

    def find(self, filters: Mapping[str, str]) -> list[Found]:
        asked = " and ".join(f"tags.`{name}` = '{_quoted(value)}'" for name, value in filters.items())
        with self._errors("the question"):
            found, token = [], None
            while True:
                page = self._client.search_runs([self._experiment], asked, page_token=token)
                found += page
                token = page.token
                if not token:
                    break
        whole = [run for run in found if _IS_WHOLE in run.data.tags]
        return [_found(run) for run in sorted(whole, key=lambda run: run.info.start_time)]

    @property
    def _is_local(self) -> bool:
        return self._uri.startswith(SQLITE)

    @cached_property
    def _client(self) -> Any:
        for name, value in _SAFE.items():
            os.environ.setdefault(name, value)
        try:
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise ConfigError(
                "tracking.backend is mlflow, which is not installed: pip install al-platform[mlflow]"
            ) from error

        if self._is_local:
            Path(self._uri.removeprefix(f"{SQLITE}///")).parent.mkdir(parents=True, exist_ok=True)
        return MlflowClient(self._uri)

    @cached_property
    def _experiment(self) -> str:
        name = self._options.project
        if known := self._client.get_experiment_by_name(name):
            return str(known.experiment_id)
        # A server decides for itself where artifacts go.
        place = (self._folder / "artifacts").as_uri() if self._is_local else None
        return str(self._client.create_experiment(name, artifact_location=place))

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        _ = self._client  # before its library is named below
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise TrackerError(f"MLflow did not take {what}: {redact(str(error))}") from error

    def _begun(self, said: TrackedRun | FitHeader, tags: Mapping[str, str], start: int | None) -> Any:
        values = (said.group, said.job_type, ", ".join(said.tags))
        shown = {**dict(zip(_SHOWN, values, strict=True)), **tags}
        return self._client.create_run(self._experiment, start_time=start, tags=shown, run_name=said.name)

    def _publish(self, run: TrackedRun) -> None:
        known = self._client.search_runs([self._experiment], f"tags.`{_ID}` = '{run.id}'")
        if known and _IS_WHOLE in known[0].data.tags:
            return
        at = _milliseconds(run.ended_at)
        begun = known[0] if known else self._begun(run, {_ID: run.id}, _milliseconds(run.started_at))
        run_id = begun.info.run_id
        for batch in _batches(_parameters(run.config), _BATCH):
            self._client.log_batch(run_id, params=batch)
        for batch in _batches(_tags(run), _BATCH):
            self._client.log_batch(run_id, tags=batch)
        # Equal points at equal times are one: what an interrupted attempt has logged is not there twice.
        for batch in _batches(_metrics(run, at), _METRICS):
            self._client.log_batch(run_id, metrics=batch)
        for name, table in run.tables.items():
            self._client.log_dict(run_id, {"columns": table.columns, "data": table.rows}, f"tables/{name}.json")
        for name, svg in run.plots.items():
            self._client.log_text(run_id, svg, f"plots/{name}.html")
        self._client.log_dict(run_id, {"config": run.config, "summary": run.summary}, "run.json")
        self._log_read(run_id, run.uses)
        for artifact in run.makes:
            self._log_made(run_id, begun.info.artifact_uri, artifact)
        self._client.set_terminated(run_id, "FINISHED", end_time=at)
        self._client.set_tag(run_id, _IS_WHOLE, "true")

    def _log_read(self, run_id: str, uses: Iterable[TrackedArtifact]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        read = [
            DatasetInput(
                Dataset(artifact.name, artifact.sha256[:_DIGEST_CHARS], "al-platform", _source(artifact)),
                [InputTag("mlflow.data.context", artifact.kind)],
            )
            for artifact in uses
        ]
        if read:
            self._client.log_inputs(run_id, read)

    def _log_made(self, run_id: str, artifact_uri: str, artifact: TrackedArtifact) -> None:
        folder = f"artifacts/{artifact.name}"
        self._client.log_dict(run_id, artifact.model_dump(mode="json"), f"{folder}/reference.json")
        if artifact.kind == "model":
            self._register(run_id, f"{artifact_uri}/{folder}", artifact)

    def _register(self, run_id: str, source: str, artifact: TrackedArtifact) -> None:
        """Give the model a version in the registry, one for each digest, and its aliases."""
        client, name = self._client, artifact.name
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        versions = client.search_model_versions(f"name = '{name}'")
        same = [version for version in versions if version.tags.get("sha256") == artifact.sha256]
        tags = {"sha256": artifact.sha256, "uri": artifact.uri}
        version = same[0] if same else client.create_model_version(name, source, run_id, tags=tags)
        for alias in artifact.aliases:
            client.set_registered_model_alias(name, alias, version.version)


def _source(artifact: TrackedArtifact) -> str:
    return json.dumps({"uri": artifact.uri, "sha256": artifact.sha256})


def _milliseconds(at: str) -> int:
    return round(datetime.fromisoformat(at).timestamp() * 1000)


def _parameters(config: Mapping[str, Any]) -> list[Any]:
    """Return the leaves by their dotted names: MLflow's parameters are flat, and texts of limited length."""
    from mlflow.entities import Param

    return [Param(name, str(value)[:_PARAMETER_CHARS]) for name, value in _leaves(config)]


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, part in value.items():
        if isinstance(part, Mapping) and part:
            yield from _leaves(part, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", part


def _tags(run: TrackedRun) -> list[Any]:
    from mlflow.entities import RunTag

    # What runs are found by; MLflow cannot search parameters of any name.
    facts = {name: value for name, value in run.config.items() if isinstance(value, str)}
    texts = {name: value for name, value in run.summary.items() if isinstance(value, str)}
    return [RunTag(name, value[:_TAG_CHARS]) for name, value in {**texts, **facts}.items()]


def _metrics(run: TrackedRun, at: int) -> list[Any]:
    from mlflow.entities import Metric

    numbers = {name: value for name, value in run.summary.items() if isinstance(value, int | float)}
    summary = [Metric(name, float(value), at, 0) for name, value in numbers.items()]
    curves = [
        Metric(f"{_CURVE}{name}", float(value), at, step)
        for step, row in enumerate(run.history)
        for name, value in row.items()
    ]
    return [*summary, *curves]


def _batches(values: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _quoted(value: str) -> str:
    return value.replace("'", "")


def _found(run: Any) -> Found:
    """Return a run with its config nested as it was published, as far as flat names tell; values are texts."""
    params, tags = run.data.params, run.data.tags
    config: dict[str, Any] = {}
    for name, text in params.items():
        value = None if text == str(None) else text
        group, _, rest = name.partition(".")
        if group == "inputs":
            read, _, part = rest.rpartition(".")
            config.setdefault(group, {}).setdefault(read, {})[part] = value
        elif rest:
            config.setdefault(group, {})[rest] = value
        else:
            config[name] = value
    own = {name for name in tags if name.startswith(("mlflow.", "al.")) or name in _SHOWN}
    texts = {name: value for name, value in tags.items() if name not in own and name not in params}
    figures = {name: value for name, value in run.data.metrics.items() if not name.startswith(_CURVE)}
    return Found(tags[_ID], config, {**texts, **figures}, None)
