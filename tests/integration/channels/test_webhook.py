"""Webhooks against a real HTTP server: signed, bounded in time, and whatever the other side answers."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from flask import Flask

from flask_squidmesh import ChannelError, ConfigurationError, Setting
from flask_squidmesh.channels import Webhook
from tests.integration.channels.conftest import Service, notice

SHORT = timedelta(seconds=0.5)
pytestmark = pytest.mark.usefixtures("app")


@pytest.mark.rule("webhook-signed")
@pytest.mark.parametrize("secret", ["s3cret", Setting("SECRET"), lambda: "s3cret"], ids=["text", "setting", "function"])
def test_a_notice_is_posted_with_a_signature_over_time_and_body(service: Service, secret: Any) -> None:
    Webhook(service.url, secret).send("mia", [notice()])
    [(headers, body)] = service.got
    signed = headers["Squidmesh-Timestamp"].encode() + b"." + body
    assert headers["Squidmesh-Signature"] == hmac.new(b"s3cret", signed, hashlib.sha256).hexdigest()
    assert abs(int(headers["Squidmesh-Timestamp"]) - time.time()) < 60
    assert headers["Squidmesh-Id"] == notice().id
    assert json.loads(body) == {"receiver": "mia", "notices": [json.loads(json.dumps(notice().to_dict()))]}


@pytest.mark.rule("webhook-answers")
@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_answer_that_says_well_is_delivered(service: Service, status: int) -> None:
    service.answer = lambda _: (status, {"Content-Length": "0"})
    Webhook(service.url, "s3cret").send("", [notice()])
    assert len(service.got) == 1


@pytest.mark.rule("webhook-answers")
@pytest.mark.parametrize(
    ("status", "headers", "after"),
    [
        (500, {}, None),
        (500, {"Retry-After": "120"}, None),
        (404, {}, None),
        (429, {"Retry-After": "120"}, 120),
        (503, {"Retry-After": "0"}, 0),
        (503, {"Retry-After": "soon"}, None),
        (429, {"Retry-After": "9" * 50}, None),
        (429, {}, None),
    ],
)
def test_any_other_answer_is_told_and_when_to_come_again(
    service: Service, status: int, headers: dict[str, str], after: int | None
) -> None:
    service.answer = lambda _: (status, {**headers, "Content-Length": "0"})
    with pytest.raises(ChannelError, match=f"answered {status}") as refused:
        Webhook(service.url, "s3cret").send("", [notice()])
    assert refused.value.retry_after == (None if after is None else timedelta(seconds=after))


@pytest.mark.rule("webhook-answers")
def test_when_to_come_again_may_be_a_date(service: Service) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True)
    service.answer = lambda _: (429, {"Retry-After": at, "Content-Length": "0"})
    with pytest.raises(ChannelError) as refused:
        Webhook(service.url, "s3cret").send("", [notice()])
    assert refused.value.retry_after is not None
    assert timedelta(minutes=8) < refused.value.retry_after <= timedelta(minutes=10)


@pytest.mark.rule("webhook-answers")
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(service: Service, status: int) -> None:
    service.answer = lambda _: (status, {"Location": service.url, "Content-Length": "0"})
    with pytest.raises(ChannelError, match=f"answered {status}"):
        Webhook(service.url, "s3cret").send("", [notice()])
    assert len(service.got) == 1


def _silent(handler: BaseHTTPRequestHandler, ended: threading.Event) -> tuple[int, dict[str, str]]:
    ended.wait(60)
    return 204, {}


def _dripping(handler: BaseHTTPRequestHandler, ended: threading.Event) -> tuple[int, dict[str, str]]:
    handler.wfile.write(b"HTTP/1.1 204 OK\r\nX-Slow: ")
    while not ended.wait(0.1):
        handler.wfile.write(b"a")
        handler.wfile.flush()
    return 204, {}


@pytest.mark.rule("webhook-time")
@pytest.mark.parametrize("slow", [_silent, _dripping])
def test_a_slow_service_is_waited_for_no_longer_than_the_time_out(
    service: Service, slow: Callable[..., tuple[int, dict[str, str]]]
) -> None:
    ended = threading.Event()
    service.answer = lambda handler: slow(handler, ended)
    began = time.monotonic()
    try:
        with pytest.raises(ChannelError, match=r"did not answer within 0.5 s"):
            Webhook(service.url, "s3cret", timeout=SHORT).send("", [notice()])
        assert time.monotonic() - began < 20
    finally:
        ended.set()


@pytest.mark.rule("channel-secrets")
def test_nobody_there_is_told_without_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ChannelError) as refused:
        Webhook(f"http://127.0.0.1:{port}/token-t0ken", "s3cret").send("", [notice()])
    assert str(refused.value) == "The service could not be reached (ConnectionRefusedError)."


@pytest.mark.rule("channel-secrets")
@pytest.mark.parametrize(
    "made",
    [
        lambda: Webhook("ftp://t0ken@example.org", "s3cret"),
        lambda: Webhook("https:///t0ken", "s3cret"),
        lambda: Webhook("https://example.org/t0 ken", "s3cret"),
        lambda: Webhook("https://example.org", ""),
        lambda: Webhook("https://example.org", "s3cret", timeout=timedelta(0)),
        lambda: Webhook("https://example.org", "s3cret", timeout=5),  # type: ignore[arg-type]
        lambda: Webhook(Setting("ABSENT"), "s3cret").send("", [notice()]),
        lambda: Webhook("https://example.org", Setting("ABSENT")).send("", [notice()]),
    ],
)
def test_what_makes_no_sense_is_refused_without_a_secret_in_the_text(made: Callable[[], object], app: Flask) -> None:
    with pytest.raises(ConfigurationError) as refused:
        made()
    assert not {"t0ken", "s3cret"} & {*str(refused.value).replace("/", " ").replace("@", " ").split()}
    assert "s3cret" not in repr(Webhook("https://example.org/t0ken", "s3cret"))


@pytest.mark.rule("channel-secrets")
def test_an_address_from_a_setting_is_looked_at_when_it_is_used(app: Flask) -> None:
    app.config["HOOK"] = "gopher://t0ken"
    with pytest.raises(ChannelError, match="does not begin with https"):
        Webhook(Setting("HOOK"), "s3cret").send("", [notice()])
