"""Weights & Biases.

A run is always written as W&B's own offline file first, which asks no server and blocks on none, and then uploaded by
W&B's ``sync``, which leaves a mark beside what arrived. So a server that is down, slow or full costs a stage nothing.
"""

import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

from al_platform.domain.errors import TrackerError
from al_platform.storage.redaction import redact
from al_platform.storage.store import is_local
from al_platform.tracking.options import TrackingOptions
from al_platform.tracking.tracked_run import FitHeader, TrackedArtifact, TrackedRun
from al_platform.tracking.tracker import Fit, Found

LOG = logging.getLogger("al_platform")
_DIGEST_CHARS = 12
_ARRIVED = ".synced"
_STOP_S = 10.0
_NOWHERE = "http://127.0.0.1:9"  # instead of the address where clouds answer for their machines
_LAST_CHARS = 1000


class WandbTracker:
    """Implements ``Tracker``; see the module."""

    def __init__(self, options: TrackingOptions, into: Path | None = None):
        """Prepare; nothing is imported yet.

        Args:
            options: Project, entity, server.
            into: Write W&B's offline files into this folder, to be carried to where there is a network, and upload
                nothing.
        """
        self._options = options
        self._into = into
        place = [str(into)] if into else [options.server or "", options.entity or "", options.project]
        self.target = f"wandb-{sha256('/'.join(place).encode()).hexdigest()[:_DIGEST_CHARS]}"

    def publish(self, runs: Sequence[TrackedRun]) -> Iterator[str]:
        if self._into is not None:
            yield from self._write_into(runs, self._into)
            return
        self._require_key()
        with tempfile.TemporaryDirectory(prefix="al-platform-") as name:
            files = {run.id: self._write(run, Path(name)) for run in runs}
            told = self._upload(list(files.values()))
            arrived = [run for run in runs if _has_arrived(files[run.id])]
        for run in arrived:
            self._link(run)
            yield run.id
        if missing := [run.name for run in runs if run not in arrived]:
            raise TrackerError(f"W&B did not take {', '.join(missing)}: {told}")

    def send_fit(self, file: Path) -> None:
        if self._into is not None:
            target = self._into / "wandb" / f"offline-{file.stem}"
            _move_whole(file, target / file.name)
            return
        self._require_key()
        with tempfile.TemporaryDirectory(prefix="al-platform-") as name:
            # W&B leaves its marks beside the file, which may lie in a store.
            copy = Path(name) / file.name
            copy.write_bytes(file.read_bytes())
            told = self._upload([copy])
            if not _has_arrived(copy):
                raise TrackerError(f"W&B did not take {file.name}: {told}")

    @contextmanager
    def fit(self, header: FitHeader, folder: Path) -> Iterator[Fit]:
        from lightning.pytorch.loggers import WandbLogger

        from al_platform.tracking.guarded import GuardedLogger

        run = _wandb().init(**self._said(header), settings=self._settings(folder, is_measured=True))
        fit = Fit(GuardedLogger(WandbLogger(experiment=run)), Path(run.settings.sync_file))
        sender = self._send_live(Path(run.settings.sync_file)) if self._options.mode == "online" else None
        exit_code = 1
        try:
            yield fit
            exit_code = 0
        finally:
            run.finish(exit_code=exit_code)
            if sender is not None:
                _end(sender, self._options.timeout_s)

    def find(self, filters: Mapping[str, str]) -> list[Found]:
        self._require_key()
        wandb = _wandb()
        asked = {f"config.{name}.value": value for name, value in filters.items()}
        path = f"{self._options.entity}/{self._options.project}" if self._options.entity else self._options.project
        try:
            api = wandb.Api(overrides=self._overrides(), timeout=int(self._options.timeout_s))
            return [
                Found(run.id, dict(run.config), dict(run.summary), run.url)
                for run in api.runs(path, filters=asked, order="+created_at")
            ]
        except (wandb.Error, _api_failed(), ValueError, OSError) as error:
            raise TrackerError(f"W&B does not answer for {path}: {redact(str(error))}") from error

    def _overrides(self) -> dict[str, str]:
        return {"base_url": self._options.server} if self._options.server else {}

    def _require_key(self) -> None:
        """Refuse early and without a question what W&B would ask a person at a terminal."""
        if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE") or _netrc().exists():
            return
        raise TrackerError(
            "W&B needs an account to send anything to. Set WANDB_API_KEY (from the settings of your account), or write "
            "files to carry to where there is one: kedro al sync --to FOLDER."
        )

    def _settings(self, folder: Path, *, is_measured: bool, start: str | None = None) -> Any:
        """Return W&B's settings of an offline run: nothing of the machine's files, code or output enters it."""
        folder.mkdir(parents=True, exist_ok=True)
        return _wandb().Settings(
            mode="offline",
            root_dir=str(folder),
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            disable_job_creation=True,
            save_code=False,
            x_disable_meta=True,
            x_save_requirements=False,
            x_disable_stats=not is_measured,
            x_stats_coreweave_metadata_base_url=_NOWHERE,
            x_start_time=datetime.fromisoformat(start).timestamp() if start else None,
        )

    def _said(self, run: TrackedRun | FitHeader) -> dict[str, Any]:
        return {
            "id": run.id,
            "name": run.name,
            "group": run.group,
            "job_type": run.job_type,
            "tags": list(run.tags),
            "config": run.config,
            "project": self._options.project,
            "entity": self._options.entity,
            "reinit": "create_new",
        }

    def _write(self, run: TrackedRun, folder: Path) -> Path:
        """Write the run as W&B's offline file, and return that."""
        wandb = _wandb()
        settings = self._settings(folder, is_measured=False, start=run.started_at)
        handle = wandb.init(**self._said(run), settings=settings)
        for row in run.history:
            handle.log(row)
        shown: dict[str, Any] = {
            name: wandb.Table(columns=list(table.columns), data=[list(row) for row in table.rows])
            for name, table in run.tables.items()
        }
        shown |= {name: wandb.Html(page, inject=False, data_is_not_path=True) for name, page in run.plots.items()}
        if shown:
            handle.log(shown)
        handle.summary.update(run.summary)
        for artifact in run.makes:
            handle.log_artifact(_artifact(artifact), aliases=[*artifact.aliases, _alias(artifact)])
        handle.finish()
        return Path(handle.settings.sync_file)

    def _write_into(self, runs: Sequence[TrackedRun], into: Path) -> Iterator[str]:
        target = into / "wandb"
        target.mkdir(parents=True, exist_ok=True)
        for run in runs:
            if not list(target.glob(f"offline-run-*-{run.id}")):
                with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=into) as name:
                    written = self._write(run, Path(name)).parent
                    written.rename(target / written.name)
            yield run.id

    def _upload(self, files: Sequence[Path]) -> str:
        """Upload all files at once, and return what W&B said; its marks tell what arrived."""
        done = subprocess.run(
            [*_sync_command(self._options), "-n", str(len(files)), *map(str, files)],
            env=_environment(self._options, files[0].parent),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return redact(done.stdout[-_LAST_CHARS:].strip())

    def _link(self, run: TrackedRun) -> None:
        """Tell W&B what the run read: only a server knows the artifacts of other runs."""
        if not (run.uses and self._options.lineage):
            return
        wandb = _wandb()
        limit = self._options.timeout_s
        try:
            api = wandb.Api(overrides=self._overrides(), timeout=int(limit))
            names = {artifact: self._path(artifact, api) for artifact in run.uses}
            known = [name for artifact, name in names.items() if api.artifact_exists(name, type=artifact.kind)]
            if unknown := sorted(set(names.values()) - set(known)):
                LOG.info("%s reads what W&B does not know, so that no line leads to it: %s", run.name, unknown)
            if not known:
                return
            handle = wandb.init(
                id=run.id,
                project=self._options.project,
                entity=self._options.entity,
                resume="must",
                reinit="create_new",
                settings=wandb.Settings(
                    mode="online",
                    silent=True,
                    console="off",
                    x_disable_meta=True,
                    init_timeout=limit,
                    finish_timeout=limit,
                    finish_timeout_raises=True,
                    **self._overrides(),
                ),
            )
            for name in known:
                handle.use_artifact(name)
            handle.finish()
        except (wandb.Error, _api_failed(), OSError, ValueError) as error:
            raise TrackerError(
                f"W&B took {run.name}, but not what it read: {redact(str(error))}. For a server that knows no "
                f"artifacts set lineage to false in tracking.yml."
            ) from error

    def _path(self, artifact: TrackedArtifact, api: Any) -> str:
        entity = self._options.entity or api.default_entity
        return f"{entity}/{self._options.project}/{artifact.name}:{_alias(artifact)}"

    def _send_live(self, file: Path) -> "subprocess.Popen[bytes] | None":
        """Start W&B's own process that sends a run while it is written; where that fails, the file is sent later."""
        try:
            self._require_key()
            return subprocess.Popen(
                [*_sync_command(self._options), "--live", str(file)],
                env=_environment(self._options, file.parent),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except (TrackerError, OSError) as error:
            LOG.warning("No curves are sent while this training runs, but later: %s", error)
            return None


def _has_arrived(file: Path) -> bool:
    return file.with_name(f"{file.name}{_ARRIVED}").exists()


def _sync_command(options: TrackingOptions) -> list[str]:
    entity = ["--entity", options.entity] if options.entity else []
    return [
        sys.executable,
        "-m",
        "wandb",
        "beta",
        "sync",
        "--yes",
        "--no-skip-online",
        "--project",
        options.project,
        *entity,
    ]


def _environment(options: TrackingOptions, folder: Path) -> dict[str, str]:
    server = {"WANDB_BASE_URL": options.server} if options.server else {}
    # Its log would lie in the working directory.
    return {**os.environ, "WANDB_ERROR_REPORTING": "false", "WANDB_DIR": str(folder), **server}


def _end(process: "subprocess.Popen[bytes]", patience_s: float) -> None:
    """Wait for a process for a while, then end it and what it started."""
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        LOG.warning("W&B did not take all curves within %g s; the rest is sent later.", patience_s)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_STOP_S)


def _artifact(artifact: TrackedArtifact) -> Any:
    """Return W&B's artifact: a reference, and a small file whose digest makes equal content one version."""
    made = _wandb().Artifact(artifact.name, artifact.kind, metadata={**artifact.metadata, "sha256": artifact.sha256})
    with made.new_file("reference.json") as file:
        file.write(artifact.model_dump_json(include={"name", "kind", "sha256", "uri", "size"}, indent=2))
    if not is_local(artifact.uri) or Path(artifact.uri).exists():
        uri = artifact.uri if "://" in artifact.uri else _file_uri(artifact.uri)
        made.add_reference(uri, name="content", checksum=False)
    return made


def _file_uri(path: str) -> str:
    # A volume of Databricks is a folder only on its clusters.
    return Path(path).as_uri() if Path(path).exists() else f"dbfs:{path}"


def _alias(artifact: TrackedArtifact) -> str:
    return f"sha-{artifact.sha256[:_DIGEST_CHARS]}"


def _move_whole(file: Path, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{uuid4().hex}")
    unfinished.write_bytes(file.read_bytes())
    unfinished.replace(target)


def _netrc() -> Path:
    return Path(os.environ.get("NETRC", "~/.netrc")).expanduser()


def _api_failed() -> type[Exception]:
    from wandb.apis.public.service_api import WandbApiFailedError

    failed: type[Exception] = WandbApiFailedError
    return failed


def _wandb() -> Any:
    # Read when it is imported.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    return wandb
