"""A server behind a real port that answers as a test says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Answer = Callable[[BaseHTTPRequestHandler], None]


class Server(ThreadingHTTPServer):
    """Answers every request with `answer`. `asked` holds (method, path, headers, body), `released` ends every wait."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.released = threading.Event()
        self.answer: Answer = lambda handler: None
        self.replies(200)

    @property
    def host(self) -> str:
        """Host and port, as in allowed_hosts."""
        return f"127.0.0.1:{self.server_port}"

    def url(self, path: str = "/") -> str:
        return f"http://{self.host}{path}"

    def replies(self, status: int, body: bytes | str = b"", **headers: str) -> None:
        """Answer from now on with this. Underscores in names of headers stand for hyphens."""
        content = body.encode() if isinstance(body, str) else body

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)

        self.answer = answer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that went away is no news."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def reply(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((self.command, self.path, headers, body))
        self.server.answer(self)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = reply

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on a free port of this machine."""
    with Server() as started:
        thread = threading.Thread(target=started.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield started
        started.released.set()
        started.shutdown()
        thread.join()
