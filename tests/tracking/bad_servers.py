"""Servers at the protocol's boundary that do not do what a tracker's server does."""

import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def refusing() -> Iterator[str]:
    """Nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


@contextmanager
def hanging() -> Iterator[str]:
    """Connections are taken, and nothing is ever answered."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """Every request is answered with this."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_PATCH = do_GET  # noqa: N815 - names that the library asks for

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def full() -> AbstractContextManager[str]:
    """The server's disk is full."""
    return answering(507, b'{"errors": [{"message": "No space left on device"}]}')


def broken() -> AbstractContextManager[str]:
    """The server has a fault of its own."""
    return answering(500, b'{"error_code": "INTERNAL_ERROR", "message": "no such thing"}')


BAD_SERVERS = {"refuses": refusing, "hangs": hanging, "is broken": broken, "is full": full}
