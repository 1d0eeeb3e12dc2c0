"""A local Label Studio, for tests, trials and small teams on one machine.

    python -m servers.label_studio      (make label-studio)

Listens on this machine only, keeps everything in one folder (SQLite), sends nothing home.
"""

import argparse
import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from servers.environments import cache_folder, environment

_HOST = "127.0.0.1"
_ADMIN = "admin@example.com"
_ACCOUNT = "account.json"
_DONE = ".complete"
_FIRST_START_S = 900
_SETTINGS = {
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
    "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
    # Nothing goes out: neither from the server nor from the pages it serves to browsers.
    "COLLECT_ANALYTICS": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "LATEST_VERSION_CHECK": "false",
    # Tips and version checks that know no switch find a closed door.
    "HTTPS_PROXY": f"http://{_HOST}:9",
    "HTTP_PROXY": f"http://{_HOST}:9",
    "NO_PROXY": f"{_HOST},localhost",
}


class LabelStudioServer:
    """Label Studio on a port of this machine only; a context manager.

    The first start on a machine makes the environment and an empty database, which takes minutes; both are kept in the
    user's cache folder, and each server begins with a copy of that database.

    Attributes:
        url: The server's address.
        token: Of its administrator.
        password: Of the same, who is ``admin@example.com``.
    """

    def __init__(self, data: Path, port: int | None = None) -> None:
        """Prepare a server; ``start`` starts it.

        Args:
            data: Its folder, made if missing.
            port: To listen on; any free one where it is None.
        """
        self._data = data.absolute()
        self._port = port or _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://{_HOST}:{self._port}"
        self.token = ""
        self.password = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self, timeout_s: float = 600) -> None:
        """Start the server and return when it answers.

        Raises:
            RuntimeError: It ended or did not answer in time; the message holds the end of its log.
        """
        if self._process is not None:
            raise RuntimeError(f"The server of {self._data} already runs as process {self._process.pid}.")
        account = self._data / _ACCOUNT
        if not account.exists():
            shutil.copytree(_empty_database(), self._data, dirs_exist_ok=True)
            account.touch(mode=0o600)
            account.write_text(json.dumps({"token": secrets.token_hex(20), "password": secrets.token_urlsafe(12)}))
        known = json.loads(account.read_text())
        self.token, self.password = known["token"], known["password"]
        self._start(time.monotonic() + timeout_s)

    def stop(self) -> None:
        """End the server and wait for it; nothing happens if it does not run."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End the server at once, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def client(self, token: str | None = None) -> httpx.Client:
        """Return a connection as the administrator, or as whoever has the token."""
        headers = {"Authorization": f"Token {token or self.token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def add_annotator(self, email: str, password: str) -> str:
        """Let somebody sign up by invitation, as people do, and return their token."""
        with self.client() as admin:
            invitation = admin.get("/api/invite").raise_for_status().json()["invite_url"]
        with httpx.Client(base_url=self.url, timeout=60, trust_env=False, follow_redirects=True) as browser:
            form = browser.get(invitation).raise_for_status().text
            found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)
            if not found:
                raise RuntimeError(f"{self.url} shows no form to sign up.")
            fields = {"csrfmiddlewaretoken": found[1], "email": email, "password": password}
            browser.post(invitation, data=fields, headers={"Referer": self.url}).raise_for_status()
            return str(browser.get("/api/current-user/token").raise_for_status().json()["token"])

    def _start(self, deadline: float) -> None:
        program = environment("label_studio") / "bin" / "label-studio"
        with _log(self._data).open("ab") as log:
            # In a session of its own, so that a Ctrl-C in the terminal reaches it only through stop().
            self._process = subprocess.Popen(
                [program, "start", "--no-browser", "--internal-host", _HOST, "--port", str(self._port),
                 "--data-dir", str(self._data), "--log-level", "ERROR"],
                stdout=log, stderr=log, env=self._environment(), cwd=self._data, start_new_session=True,
            )  # fmt: skip
        try:
            self._wait_until_ready(deadline)
        except BaseException:
            self.kill()
            raise

    def _environment(self) -> dict[str, str]:
        names = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE")
        user = {"USERNAME": _ADMIN, "PASSWORD": self.password, "USER_TOKEN": self.token} if self.token else {}
        return {
            **{name: os.environ[name] for name in names if name in os.environ},
            **{f"LABEL_STUDIO_{name}": value for name, value in user.items()},
            **_SETTINGS,
            "HOME": str(self._data),
            "LABEL_STUDIO_BASE_DATA_DIR": str(self._data),
        }

    def _wait_until_ready(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/health", timeout=5, trust_env=False).is_success:
                    return
            time.sleep(0.3)
        end = "\n".join(_log(self._data).read_text(errors="replace").splitlines()[-15:])
        raise RuntimeError(f"The server at {self.url} did not become ready. Its log ends:\n{end}")


def _log(data: Path) -> Path:
    return data / "server.log"


def _empty_database() -> Path:
    """Return the folder of a server without users, made once for each environment: its first start takes minutes."""
    folder = environment("label_studio") / "empty"
    with (folder.parent / ".empty.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not (folder / _DONE).exists():
            print("Making an empty database of Label Studio, once ...", file=sys.stderr, flush=True)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            server = LabelStudioServer(folder)
            server._start(time.monotonic() + _FIRST_START_S)
            server.stop()
            # Each copy has keys of its own.
            (folder / ".env").unlink(missing_ok=True)
            (folder / _DONE).touch()
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def default_data() -> Path:
    """Return the folder of the server that ``make label-studio`` starts, in the user's cache."""
    return cache_folder().parent / "label-studio"


def make_projects(server: LabelStudioServer, project: Path, env: str | None) -> dict[str, str]:
    """Make the project of each family that is configured, and return the address of each."""
    from al_platform.annotation import AnnotationOptions, PlatformConnection
    from al_platform.config import FamilyConfigLoader
    from al_platform.domain.taxonomy import Taxonomy
    from al_platform.settings import CONFIG_LOADER_ARGS
    from al_platform.storage.store import open_store

    loader = FamilyConfigLoader(conf_source=str(project / "conf"), env=env, **CONFIG_LOADER_ARGS)
    store, credentials = open_store(loader.root("labels")), {"url": server.url, "token": server.token}
    made = {}
    for family in loader.families:
        parameters = loader["parameters"][family]
        options = AnnotationOptions(**{**parameters["annotation"], "backend": "label_studio"})
        connection = PlatformConnection(store, f"{family}/platform", family, lambda _, __: {}, credentials)
        number = connection.open(Taxonomy(**parameters["taxonomy"]), options).make_project()
        made[family] = f"{server.url}/projects/{number}"
    return made


def main() -> None:
    """Run a server with a project for each family until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Run a local Label Studio until Ctrl-C.")
    parser.add_argument("--data", type=Path, default=default_data(), help="folder of its database")
    parser.add_argument("--port", type=int, default=8080, help="to listen on")
    parser.add_argument("--env", help="of the configuration")
    options = parser.parse_args()
    with socket.socket() as probe:
        if not probe.connect_ex((_HOST, options.port)):
            sys.exit(f"Port {options.port} is taken, maybe by another make label-studio: end that, or give --port.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), LabelStudioServer(options.data, options.port) as server:
        print(f"# Label Studio with its database in {options.data}; Ctrl-C ends it.")
        for family, address in make_projects(server, Path.cwd(), options.env).items():
            print(f"#   {family}: {address}")
        print(f"# Sign in as {_ADMIN} with the password in {options.data / _ACCOUNT}. In another shell:")
        print(f"export AL_LABEL_STUDIO_URL={server.url}\nexport AL_LABEL_STUDIO_TOKEN={server.token}", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
