"""A local S3 server (SeaweedFS), for tests and to try the platform on S3 without an account.

Run it with ``make s3``.
"""

import argparse
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from servers.environments import environment

REGION = "us-east-1"
BUCKET = "al-platform"
IDENTITIES = {"admin": ["Admin", "Read", "List", "Tagging", "Write"], "reader": ["Read", "List"]}

# Below the range from which systems give ports to outgoing connections: one of those could take a port of ours
# between a kill and the restart.
_PORTS = range(20_000, 32_000)
_PORT_OPTIONS = (
    "s3.port",
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
)
_OFF = (
    "-master.telemetry=false",
    "-admin.ui=false",
    "-webdav=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    # A mistyped bucket is an error here, as it is on AWS.
    "-s3.autoCreateBucket=false",
)
# A bucket takes a volume or more, and by default there are only as many as the free disk holds full ones: a few dozen
# buckets of a few bytes each used them up on a disk with 75 GB free.
_VOLUMES = "-volume.max=5000"
_PROBE = {"Bucket": "readiness", "Key": "probe"}


class S3Server:
    """SeaweedFS on a port of this machine only; a context manager.

    Attributes:
        endpoint: The URL to give to S3 clients; it stays the same for the object's life.
    """

    def __init__(
        self, data: Path, identities: Mapping[str, Sequence[str]] | None = None, port: int | None = None
    ) -> None:
        """Prepare a server; ``start`` starts it.

        Args:
            data: Its folder, made if missing; objects and keys in it outlive the server.
            identities: Actions ("Read", "Write:bucket/prefix*", ...) by name, beside ``admin`` and ``reader``.
            port: Of the S3 endpoint; a free one if None.
        """
        self._data = data.absolute()
        self._ports = dict(zip(_PORT_OPTIONS, _free_ports(len(_PORT_OPTIONS)), strict=True))
        self._ports["s3.port"] = port or self._ports["s3.port"]
        self._process: subprocess.Popen[bytes] | None = None
        self._keys = self._write_identities({**IDENTITIES, **(identities or {})})
        self.endpoint = f"http://127.0.0.1:{self._ports['s3.port']}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The server's process id; RuntimeError if it does not run."""
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"The S3 server of {self._data} does not run: call start() first.")
        return self._process.pid

    def credentials(self, role: str = "admin") -> tuple[str, str]:
        """Return the access key and the secret key of ``role``; KeyError if there is no such identity."""
        return self._keys[role]

    def client(self, role: str = "admin", **options: Any) -> Any:
        """Return a boto3 client of this server with ``role``'s keys; ``options`` go to botocore's ``Config``."""
        access, secret = self.credentials(role)
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, **options),
        )

    def start(self, timeout_s: float = 90) -> None:
        """Start the server and return when it stores and returns an object.

        Raises:
            RuntimeError: It ended or was not ready in time; the message holds the end of its log.
        """
        if self._process is not None and self._process.poll() is None:
            raise RuntimeError(f"The S3 server of {self._data} already runs as process {self.pid}.")
        (self._data / "volumes").mkdir(exist_ok=True)
        with (self._data / "server.log").open("ab") as log:
            # In a session of its own, so that a Ctrl-C in the terminal reaches it only through stop().
            self._process = subprocess.Popen(
                self._command(), stdout=log, stderr=log, env=_environment(), start_new_session=True
            )
        try:
            self._wait_until_ready(time.monotonic() + timeout_s)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End the server in good order (SIGTERM) and wait for it; nothing happens if it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server at once (SIGKILL), as a crash would; nothing happens if it does not run."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop the server if it runs and start it with the same data, keys and endpoint."""
        self.stop()
        self.start()

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _command(self) -> list[str]:
        weed = environment("seaweedfs") / "bin" / "weed"
        ports = [f"-{option}={port}" for option, port in self._ports.items()]
        where = [f"-dir={self._data / 'volumes'}", f"-s3.config={self._config}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        return [str(weed), "-logtostderr=true", "mini", *where, *ports, *_OFF, _VOLUMES]

    @property
    def _config(self) -> Path:
        return self._data / "s3.json"

    def _write_identities(self, actions: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, str]]:
        self._data.mkdir(parents=True, exist_ok=True)
        known = _read_keys(self._config)
        keys = {name: known.get(name) or (secrets.token_hex(10).upper(), secrets.token_hex(20)) for name in actions}
        self._config.touch(mode=0o600)
        self._config.write_text(json.dumps({"identities": [_identity(n, keys[n], actions[n]) for n in actions]}))
        return keys

    def _wait_until_ready(self, deadline: float) -> None:
        # list_buckets answers before the volumes do: only an object that comes back says that the server is ready.
        client = self.client(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=10)
        found = "no answer"
        while time.monotonic() < deadline:
            try:
                _put_and_get(client)
            except (BotoCoreError, ClientError) as error:
                found = str(error)
            else:
                return
            if self._process is None or self._process.poll() is not None:
                break
            time.sleep(0.2)
        raise RuntimeError(
            f"The S3 server at {self.endpoint} did not become ready ({found}). Its log ends:\n{self._log()}"
        )

    def _log(self, lines: int = 15) -> str:
        return "\n".join((self._data / "server.log").read_text(errors="replace").splitlines()[-lines:])


def _put_and_get(client: Any) -> None:
    with suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=_PROBE["Bucket"])
    client.put_object(**_PROBE, Body=b"ready")
    client.get_object(**_PROBE)["Body"].read()


def _identity(name: str, keys: tuple[str, str], actions: Sequence[str]) -> dict[str, Any]:
    return {"name": name, "credentials": [{"accessKey": keys[0], "secretKey": keys[1]}], "actions": list(actions)}


def _read_keys(config: Path) -> dict[str, tuple[str, str]]:
    if not config.exists():
        return {}
    identities = json.loads(config.read_text())["identities"]
    return {who["name"]: (who["credentials"][0]["accessKey"], who["credentials"][0]["secretKey"]) for who in identities}


def _environment() -> dict[str, str]:
    # SeaweedFS makes an administrator of the keys it finds in AWS_ACCESS_KEY_ID.
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def _free_ports(count: int) -> list[int]:
    candidates = random.SystemRandom().sample(_PORTS, len(_PORTS))
    free = (port for port in candidates if _is_free(port))
    return [next(free) for _ in range(count)]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def default_data() -> Path:
    """Return the folder of the server that ``make s3`` starts, in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "al-platform" / "s3"


def exports(server: S3Server, bucket: str) -> str:
    """Return the shell lines that point the platform's S3 environment at ``bucket`` on ``server``."""
    access, secret = server.credentials()
    values = {
        "AWS_ACCESS_KEY_ID": access,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": server.endpoint,
        "AL_S3_ROOT": f"s3://{bucket}/production",
    }
    return "\n".join(f"export {name}={value}" for name, value in values.items())


def create_bucket(server: S3Server, bucket: str) -> None:
    """Create ``bucket`` on ``server`` unless it is there."""
    client = server.client()
    if bucket not in {found["Name"] for found in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=bucket)


def main() -> None:
    """Run a server until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Run a local S3 server (SeaweedFS) until Ctrl-C.")
    parser.add_argument("--data", type=Path, default=default_data(), help="folder of its objects and keys")
    parser.add_argument("--port", type=int, default=8333, help="of the S3 endpoint")
    options = parser.parse_args()
    if not _is_free(options.port):
        sys.exit(f"Port {options.port} is taken, maybe by another make s3: end that, or give another with --port.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), S3Server(options.data, port=options.port) as server:
        create_bucket(server, BUCKET)
        print(f"# S3 at {server.endpoint} with the objects in {options.data}; Ctrl-C ends it. In another shell:")
        print(exports(server, BUCKET), flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
