"""A local stand-in for a Databricks workspace (minilake), for tests of what speaks to its API."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import BadRequest, ResourceConflict
from databricks.sdk.service.catalog import VolumeType
from servers.environments import environment


class MinilakeServer:
    """minilake on a port of this machine only; a context manager.

    It checks neither tokens nor rights, and its Files API needs no volume. It takes two simultaneous uploads without
    ``overwrite`` for one file: what it shows of races is nothing.

    Attributes:
        url: The workspace's address.
        token: Of its only user.
    """

    token = "any"

    def __init__(self, data: Path) -> None:
        """Prepare a server; ``start`` starts it.

        Args:
            data: Its folder, made if missing.
        """
        self._data = data.absolute()
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def client(self) -> WorkspaceClient:
        """Return an SDK client of this server, whatever the environment configures."""
        return WorkspaceClient(host=self.url, token=self.token, auth_type="pat")

    def make_volume(self, catalog: str, schema: str, volume: str) -> str:
        """Make a volume, with its catalog and schema where they are missing, and return its path."""
        client = self.client()
        with suppress(BadRequest, ResourceConflict):
            client.catalogs.create(catalog)
        with suppress(BadRequest, ResourceConflict):
            client.schemas.create(schema, catalog)
        client.volumes.create(catalog, schema, volume, VolumeType.MANAGED)
        return f"/Volumes/{catalog}/{schema}/{volume}"

    def start(self, timeout_s: float = 60) -> None:
        """Start the server and return when it answers.

        Raises:
            RuntimeError: It ended or did not answer in time; the message holds the end of its log.
        """
        if self._process is not None:
            raise RuntimeError(f"The server of {self._data} already runs as process {self._process.pid}.")
        program = environment("minilake") / "bin" / "minilake"
        self._data.mkdir(parents=True, exist_ok=True)
        with (self._data / "server.log").open("ab") as log:
            # In a session of its own, so that a Ctrl-C in the terminal reaches it only through stop().
            self._process = subprocess.Popen(
                [program, "--port", str(self._port)], stdout=log, stderr=log, env=self._environment(), cwd=self._data,
                start_new_session=True,
            )  # fmt: skip
        try:
            self._wait_until_ready(time.monotonic() + timeout_s)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server and wait for it; nothing happens if it does not run."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MINILAKE_")}
        return {
            **inherited,
            # Its jobs run the first python3 there is.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", os.defpath)]),
            "MINILAKE_DATA_DIR": str(self._data),
            "MINILAKE_BIND_HOST": "127.0.0.1",
            "MINILAKE_JOB_EXECUTOR": "subprocess",
            "MINILAKE_NOTEBOOK": "0",
            # Otherwise it downloads an extension of DuckDB when it starts.
            "MINILAKE_DUCKDB_EXTENSION_DIR": str(self._data),
        }

    def _wait_until_ready(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            with (
                suppress(urllib.error.URLError, ConnectionError, TimeoutError),
                urllib.request.urlopen(f"{self.url}/_minilake/health", timeout=2),
            ):
                return
            time.sleep(0.2)
        raise RuntimeError(f"The server at {self.url} did not become ready. Its log ends:\n{self._log()}")

    def _log(self, lines: int = 15) -> str:
        return "\n".join((self._data / "server.log").read_text(errors="replace").splitlines()[-lines:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
