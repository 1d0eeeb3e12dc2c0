"""A local server that takes W&B runs (openwandb), to try uploads on; it knows no artifacts and answers no questions.

Its licence, CC-BY-NC-4.0, allows no commercial use: it is for tests, has an environment of its own, and is part of
nothing that is shipped.
"""

import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from servers.environments import environment


class OpenwandbServer:
    """openwandb on a port of this machine only; a context manager.

    Attributes:
        url: Its address.
        key: The API key of its only user, fixed by the server.
    """

    key = "local0000000000000000000000000000000000000000"

    def __init__(self, data: Path) -> None:
        """Prepare a server with a data folder of its own."""
        self._data = data
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        program = environment("openwandb") / "bin" / "openwandb"
        self._data.mkdir(parents=True, exist_ok=True)
        where = ["--host", "127.0.0.1", "-p", str(self._port), "--data-dir", str(self._data)]
        with (self._data / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, "serve", *where],
                stdout=log,
                stderr=log,
                cwd=self._data,
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                with suppress(urllib.error.HTTPError):
                    urllib.request.urlopen(self.url, timeout=2).close()
                return self
            time.sleep(0.2)
        self.__exit__(None, None, None)
        raise RuntimeError(f"openwandb did not start: {(self._data / 'server.log').read_text()[-1000:]}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
