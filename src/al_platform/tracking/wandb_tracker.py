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
from al_platform.tracking.wandb_server import Arrived, WandbServer, require_account, version_alias, wandb_library

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
        self._server = WandbServer(options)
        place = [str(into)] if into else [options.server or "", options.entity or "", options.project]
        self.target = f"wandb-{sha256('/'.join(place).encode()).hexdigest()[:_DIGEST_CHARS]}"

    def publish(self, runs: Sequence[TrackedRun]) -> Iterator[str]:
        if self._into is not None:
            yield from self._write_into(runs, self._into)
            return
        require_account()
        with tempfile.TemporaryDirectory(prefix="al-platform-") as name:
            # W&B adds lines to those that it has: what arrived before a kill must not be sent again.
            there = self._server.arrived(run.id for run in runs)
            files = {run.id: self._write(run, Path(name), there.get(run.id, Arrived()).lines) for run in runs}
            told = self._upload(list(files.values()))
            arrived = [run for run in runs if _has_arrived(files[run.id])]
        for run in arrived:
            if run.uses and self._options.lineage:
                self._server.link(run)
            yield run.id
        if missing := [run.name for run in runs if run not in arrived]:
            raise TrackerError(f"W&B did not take {', '.join(missing)}: {told}")

    def send_fit(self, file: Path) -> None:
        if self._into is not None:
            target = self._into / "wandb" / f"offline-{file.stem}"
            _move_whole(file, target / file.name)
            return
        require_account()
        run_id = file.stem.removeprefix("run-")
        if self._server.arrived([run_id]).get(run_id, Arrived()).is_whole:
            return
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

        run = wandb_library().init(**self._said(header), settings=self._settings(folder, is_measured=True))
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
                if _has_arrived(Path(run.settings.sync_file)):
                    fit.left_behind = None

    def find(self, filters: Mapping[str, str]) -> list[Found]:
        return self._server.find(filters)

    def _settings(self, folder: Path, *, is_measured: bool, start: str | None = None) -> Any:
        """Return W&B's settings of an offline run: nothing of the machine's files, code or output enters it."""
        folder.mkdir(parents=True, exist_ok=True)
        return wandb_library().Settings(
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

    def _write(self, run: TrackedRun, folder: Path, lines: int = 0) -> Path:
        """Write the run as W&B's offline file, without its first lines of history, and return that."""
        wandb = wandb_library()
        settings = self._settings(folder, is_measured=False, start=run.started_at)
        handle = wandb.init(**self._said(run), settings=settings)
        for step, row in enumerate(run.history[lines:], lines):
            handle.log(row, step=step)
        shown: dict[str, Any] = {
            name: wandb.Table(columns=list(table.columns), data=[list(row) for row in table.rows])
            for name, table in run.tables.items()
        }
        shown |= {name: wandb.Html(page, inject=False, data_is_not_path=True) for name, page in run.plots.items()}
        if shown and lines <= len(run.history):
            handle.log(shown, step=len(run.history))
        else:  # that line is there; the summary is replaced whole
            handle.summary.update(shown)
        handle.summary.update(run.summary)
        for artifact in run.makes:
            handle.log_artifact(_artifact(artifact), aliases=[*artifact.aliases, version_alias(artifact)])
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

    def _send_live(self, file: Path) -> "subprocess.Popen[bytes] | None":
        """Start W&B's own process that sends a run while it is written; where that fails, the file is sent later."""
        try:
            require_account()
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
    made = wandb_library().Artifact(
        artifact.name, artifact.kind, metadata={**artifact.metadata, "sha256": artifact.sha256}
    )
    with made.new_file("reference.json") as file:
        file.write(artifact.model_dump_json(include={"name", "kind", "sha256", "uri", "size"}, indent=2))
    if not is_local(artifact.uri) or Path(artifact.uri).exists():
        uri = artifact.uri if "://" in artifact.uri else _file_uri(artifact.uri)
        made.add_reference(uri, name="content", checksum=False)
    return made


def _file_uri(path: str) -> str:
    # A volume of Databricks is a folder only on its clusters.
    return Path(path).as_uri() if Path(path).exists() else f"dbfs:{path}"


def _move_whole(file: Path, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{uuid4().hex}")
    unfinished.write_bytes(file.read_bytes())
    unfinished.replace(target)
