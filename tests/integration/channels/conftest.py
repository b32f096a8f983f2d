"""Real servers on the other side, that answer as a test tells them."""

from __future__ import annotations

import json
import threading
from asyncio import Server
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from flask import Flask

from flask_squidmesh import Notice


def notice(**said: Any) -> Notice:
    """A notice of a wait."""
    given: dict[str, Any] = {
        "id": "11111111-1111-4111-8111-111111111111",
        "kind": "decision.opened",
        "at": datetime(2026, 3, 9, 12, tzinfo=UTC),
        "run_id": "22222222-2222-4222-8222-222222222222",
        "workflow": "reimburse",
        "tenant": "acme",
        "subject": "Reimburse 400 EUR",
        "step": "review",
        "visit": 1,
        "prompt": "Pay 400 EUR to Müller & Söhne?",
        "options": ("approve", "reject"),
        "assignee": "mia",
        "groups": ("finance",),
        "due_at": datetime(2026, 3, 11, 12, tzinfo=UTC),
        "url": "https://shop.example.org/squidmesh/runs/22222222-2222-4222-8222-222222222222",
    }
    return Notice(**{**given, **said})


@pytest.fixture
def app() -> Iterator[Flask]:
    """An app in whose context channels find their settings."""
    app = Flask("shop")
    app.config.update(SECRET="s3cret", SMTP_PASSWORD="hunter2")
    with app.app_context():
        yield app


@dataclass
class Service:
    """A service that takes webhooks. answer: what it does with a request, `(status, headers)` or anything slow."""

    url: str
    answer: Callable[[BaseHTTPRequestHandler], tuple[int, dict[str, str]]] = lambda _: (204, {})
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def notices(self) -> list[dict[str, Any]]:
        """All that it was told."""
        return [each for _, body in self.got for each in json.loads(body)["notices"]]


@pytest.fixture
def service() -> Iterator[Service]:
    """A real HTTP server."""
    found: Service

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.got.append(({**self.headers}, body))
            try:
                status, headers = found.answer(self)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
            except OSError:  # the client has gone away
                self.close_connection = True

        def do_GET(self) -> None:
            found.got.append(({}, b'{"notices": ["followed"]}'))

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found = Service(url=f"http://127.0.0.1:{server.server_port}/hook")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Post:
    """A mail server. answer: what it says to a mail, or to a recipient."""

    host: str
    port: int
    mails: list[EmailMessage] = field(default_factory=list)
    receivers: list[str] = field(default_factory=list)
    answer: str = "250 OK"
    refused: str | None = None


class _Handler:
    def __init__(self) -> None:
        self.post: Post

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:
        if self.post.refused is not None:
            return self.post.refused
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        from email import message_from_bytes, policy

        if self.post.answer.startswith("250"):
            self.post.mails.append(message_from_bytes(envelope.content, policy=policy.default))
            self.post.receivers += envelope.rcpt_tos
        return self.post.answer


class _MailServer(Controller):
    def _trigger_server(self) -> None:
        """Connect to the port that was free."""
        assert isinstance(self.server, Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@pytest.fixture
def open_post() -> Iterator[Callable[..., Post]]:
    """A function that opens a real mail server. options: of aiosmtpd's Controller."""
    with ExitStack() as stack:

        def open_one(**options: Any) -> Post:
            handler = _Handler()
            controller = _MailServer(handler, hostname="127.0.0.1", port=0, ready_timeout=60, **options)
            controller.start()
            stack.callback(controller.stop)
            handler.post = Post("127.0.0.1", controller.port)
            return handler.post

        yield open_one


def authenticating(_server: object, _session: object, _envelope: object, _mechanism: str, data: Any) -> AuthResult:
    """Let the one user in."""
    known = isinstance(data, LoginPassword) and (data.login, data.password) == (b"shop", b"hunter2")
    return AuthResult(success=known)
