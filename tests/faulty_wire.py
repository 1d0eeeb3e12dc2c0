"""A wire to a real server that can lose answers: the request arrives and is carried out, and nobody hears of it."""

import select
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_CHUNK = 65_536


class Wire(socketserver.ThreadingTCPServer):
    """Passes connections on; a context manager.

    Attributes:
        url: Its address.
        loses: Whether the answer to a request is lost, by the request's first bytes.
        delay_s: How long a request whose answer is lost takes to arrive.
        n_lost: Requests whose answer is lost, counted when they come.
        lost: Set as soon as the server has answered and the answer was lost.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, url: str):
        super().__init__(("127.0.0.1", 0), _Connection)
        self.target = (str(urlsplit(url).hostname), int(urlsplit(url).port or 80))
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.loses: Callable[[bytes], bool] = lambda request: False
        self.delay_s = 0.0
        self.n_lost = 0
        self.lost = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.shutdown()
        self.server_close()


class _Connection(socketserver.BaseRequestHandler):
    server: Wire

    def handle(self) -> None:
        client: socket.socket = self.request
        first = client.recv(_CHUNK)
        if not first:
            return
        loses = self.server.loses(first)
        if loses:
            self.server.n_lost += 1
            time.sleep(self.server.delay_s)
        with socket.create_connection(self.server.target) as target:
            target.sendall(first)
            while True:
                for end in select.select([client, target], [], [])[0]:
                    data = end.recv(_CHUNK)
                    if not data and end is client and loses:
                        # Whoever asked has gone; what was asked is done all the same.
                        target.recv(_CHUNK)
                        self.server.lost.set()
                    if not data:
                        return
                    if end is client:
                        target.sendall(data)
                    elif loses:
                        self.server.lost.set()
                    else:
                        client.sendall(data)
