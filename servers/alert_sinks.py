"""Where alerts arrive in tests and trials: a webhook and a mail server on this machine."""

import json
import socketserver
import threading
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass
class _Sink:
    """A server that keeps what arrives."""

    handler: type[Any]
    kind: type[socketserver.TCPServer]
    arrived: list[Any] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.server = self.kind(("127.0.0.1", 0), self.handler)
        self.server.arrived = self.arrived  # type: ignore[attr-defined]
        self.port = int(self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Posted(BaseHTTPRequestHandler):
    server: Any

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.arrived.append({**body, "authorization": self.headers.get("Authorization")})
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Print nothing."""


class _Mailed(socketserver.StreamRequestHandler):
    server: Any

    def handle(self) -> None:
        self._say("220 ready")
        for line in self.rfile:
            command = line.split()[0].upper() if line.split() else b""
            if command == b"DATA":
                self._say("354 go on")
                self.server.arrived.append(self._message())
            self._say("221 bye" if command == b"QUIT" else "250 ok")
            if command == b"QUIT":
                return

    def _message(self) -> Message:
        lines = iter(self.rfile.readline, b".\r\n")
        return message_from_bytes(b"".join(lines), policy=policy.default)

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


class _Threaded(socketserver.ThreadingTCPServer):
    daemon_threads = True


def webhook() -> _Sink:
    """Return a sink for what is posted: each body, with the ``authorization`` that came with it."""
    return _Sink(_Posted, ThreadingHTTPServer)


def mailbox() -> _Sink:
    """Return a sink for mails."""
    return _Sink(_Mailed, _Threaded)
