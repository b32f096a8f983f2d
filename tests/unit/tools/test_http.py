"""What the HTTP adapter sends, what it answers, and what it lets nobody see."""

from __future__ import annotations

import gzip
import importlib
import json
import socket
import sys
import time
import traceback
import tracemalloc
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest

from flask_squidmesh.tools import ToolError, ToolResult, invoke
from flask_squidmesh.tools.http import HttpAdapter

from .conftest import Server

PATIENCE = 20
"""Seconds after which a server that tries the time-outs ends its answer, so that a call without one fails its test."""

NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
SECRET = "sw0rdf1sh"
OTHER_SECRET = "0pensesame"


class StoppedClock:
    offset = timedelta(0)

    def now(self) -> datetime:
        return NOW


@pytest.fixture
def http(server: Server) -> HttpAdapter:
    return HttpAdapter(allowed_hosts=[server.host], clock=StoppedClock())


def failed(call: Callable[[], ToolResult]) -> ToolError:
    with pytest.raises(ToolError) as caught:
        call()
    return caught.value


def compressed(body: bytes, encodings: str) -> bytes:
    for encoding in encodings.lower().split(", "):
        body = body if encoding == "identity" else zlib.compress(body) if encoding == "deflate" else gzip.compress(body)
    return body


def seen_in(error: ToolError) -> str:
    """Everything of an error that is stored with a step."""
    return "".join(traceback.format_exception(error)) + json.dumps(error.to_dict())


# -- what is sent ------------------------------------------------------------------------------------------------


def test_method_query_headers_and_json_are_sent(server: Server, http: HttpAdapter) -> None:
    http.post(
        server.url("/orders?source=web"),
        params={"page": 2},
        headers={"Idempotency-Key": "o-1"},
        json={"amount": Decimal("5.10")},
    )
    method, path, headers, body = server.asked[0]
    assert (method, path) == ("POST", "/orders?source=web&page=2")
    assert (headers["idempotency-key"], headers["content-type"]) == ("o-1", "application/json")
    assert json.loads(body) == {"amount": "5.10"}


def test_content_is_sent_as_it_is(server: Server, http: HttpAdapter) -> None:
    http.put(server.url(), content=b"<order/>", headers={"Content-Type": "text/xml"})
    _, _, headers, body = server.asked[0]
    assert (headers["content-type"], body) == ("text/xml", b"<order/>")


def test_headers_of_the_adapter_are_sent_unless_the_call_gives_its_own(server: Server) -> None:
    http = HttpAdapter(allowed_hosts=[server.host], headers={"Authorization": "Bearer one", "X-Shop": "tea"})
    http.get(server.url(), headers={"authorization": "Bearer two"})
    headers = server.asked[0][2]
    assert (headers["authorization"], headers["x-shop"]) == ("Bearer two", "tea")


@pytest.mark.parametrize("name", ["get", "post", "put", "patch", "delete"])
def test_each_method_has_a_name(server: Server, http: HttpAdapter, name: str) -> None:
    getattr(http, name)(server.url())
    assert server.asked[0][0] == name.upper()


def test_it_is_an_adapter(server: Server, http: HttpAdapter) -> None:
    result = invoke(http, {"method": "GET", "url": server.url("/a")}, {"run_id": "r-1"})
    assert (result.adapter, result.payload["status"]) == ("http", 200)
    assert result.metadata == {"method": "GET", "url": server.url("/a")}


# -- what is refused before it is sent ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"url": "https://shop.example"}, "method"),
        ({"method": "", "url": "https://shop.example"}, "method"),
        ({"method": "GET /x", "url": "https://shop.example"}, "method"),
        ({"method": "GET"}, "url"),
        ({"method": "GET", "url": ""}, "url"),
        ({"method": "GET", "url": "https://shop.example:port/"}, "url"),
        ({"method": "GET", "url": "/orders"}, "https://"),
        ({"method": "GET", "url": "file:///etc/passwd"}, "https://"),
        ({"method": "GET", "url": "https://dana:sw0rdf1sh@shop.example"}, "Authorization"),
        ({"method": "GET", "url": "https://other.example"}, "other.example"),
        ({"method": "GET", "url": "https://shop.example:8443"}, "shop.example:8443"),
        ({"method": "GET", "url": "https://shop.example.other.example"}, "allowed_hosts"),
        ({"method": "GET", "url": "https://shop.example", "timeout": 0}, "timeout"),
        ({"method": "GET", "url": "https://shop.example", "timeout": float("nan")}, "timeout"),
        ({"method": "GET", "url": "https://shop.example", "headers": ["a"]}, "headers"),
        ({"method": "GET", "url": "https://shop.example", "headers": {"X-Count": 1}}, "X-Count"),
        ({"method": "GET", "url": "https://shop.example", "headers": {"X-Name": "ü€"}}, "headers"),
        ({"method": "GET", "url": "https://shop.example", "params": "a=1"}, "params"),
        ({"method": "POST", "url": "https://shop.example", "json": {}, "content": b""}, "both"),
        ({"method": "POST", "url": "https://shop.example", "json": {"a": float("inf")}}, "json"),
        ({"method": "POST", "url": "https://shop.example", "json": {"a": object()}}, "json"),
        ({"method": "POST", "url": "https://shop.example", "content": {"a": 1}}, "content"),
        ({"method": "GET", "url": "https://shop.example", "retries": 3}, "retries"),
    ],
)
def test_a_request_that_makes_no_sense_is_not_sent(request_: dict[str, Any], said: str) -> None:
    def sent(request: httpx.Request) -> httpx.Response:
        raise AssertionError("it was sent")

    http = HttpAdapter(allowed_hosts=["shop.example"], transport=httpx.MockTransport(sent))
    error = failed(lambda: http.invoke(request_))
    assert (error.kind, error.retryable, error.certain) == ("invalid_request", False, True)
    assert said in error.message
    assert SECRET not in seen_in(error)


@pytest.mark.rule("tools-hosts")
def test_no_host_is_allowed_unless_listed() -> None:
    assert failed(lambda: HttpAdapter(allowed_hosts=[]).get("https://shop.example")).kind == "invalid_request"


def test_a_star_allows_every_host(server: Server) -> None:
    assert HttpAdapter(allowed_hosts=["*"]).get(server.url()).payload["status"] == 200


@pytest.mark.rule("tools-hosts")
@pytest.mark.parametrize(
    ("allowed", "url", "called"),
    [
        ("shop.example", "https://shop.example/", True),
        ("shop.example", "http://shop.example/", False),
        ("shop.example", "http://shop.example:443/", False),
        ("shop.example", "https://shop.example:8443/", False),
        ("shop.example:8443", "https://shop.example:8443/", True),
        ("shop.example:8443", "http://shop.example:8443/", False),
        ("https://shop.example", "https://shop.example/", True),
        ("https://shop.example", "http://shop.example/", False),
        ("http://shop.example", "http://shop.example:80/", True),
        ("http://shop.example", "https://shop.example/", False),
        ("localhost:5000", "http://localhost:5000/", True),
        ("127.0.0.1:5000", "https://127.0.0.1:5000/", True),
        ("[::1]:5000", "http://[::1]:5000/", True),
        ("https://127.0.0.1:5000", "http://127.0.0.1:5000/", False),
        ("*", "https://any.example/", True),
        ("*", "http://any.example/", False),
        ("*", "http://127.0.0.1/", True),
        ("http://*", "http://any.example/", True),
        ("http://*", "https://any.example/", False),
        ("shop.example", "https://shop.example./", False),
        ("shop.example", "https://shop.example@other.example/", False),
    ],
)
def test_a_host_is_called_by_the_scheme_that_belongs_to_it(allowed: str, url: str, called: bool) -> None:
    http = HttpAdapter(allowed_hosts=[allowed], transport=httpx.MockTransport(lambda request: httpx.Response(204)))
    if called:
        assert http.get(url).payload["status"] == 204
    else:
        assert failed(lambda: http.get(url)).kind == "invalid_request"


@pytest.mark.parametrize("entry", ["", "shop.example/path", "ftp://shop.example", "a:b:c", "https://", "u:p@shop", 7])
def test_an_entry_that_is_no_host_is_refused(entry: Any) -> None:
    with pytest.raises(ValueError, match="allowed_hosts"):
        HttpAdapter(allowed_hosts=[entry])


@pytest.mark.parametrize(
    "name",
    [
        *("Host", "content-length", "Transfer-Encoding", "CONNECTION", "Upgrade", "TE", "Trailer", "Expect"),
        *("Keep-Alive", "Proxy-Connection", "HTTP2-Settings", "Proxy-Authenticate", "Proxy-Authorization"),
    ],
)
def test_headers_that_belong_to_the_connection_are_refused(server: Server, http: HttpAdapter, name: str) -> None:
    error = failed(lambda: http.post(server.url(), headers={name: "1"}, content=b"x"))
    assert (error.kind, server.asked) == ("invalid_request", [])
    with pytest.raises(ValueError, match="connection"):
        HttpAdapter(allowed_hosts=["*"], headers={name: "1"})


def test_hosts_are_compared_without_case() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(204))
    http = HttpAdapter(allowed_hosts=["Shop.Example"], transport=transport)
    assert http.get("https://SHOP.example:443/").payload["status"] == 204


@pytest.mark.rule("tools-hosts")
@pytest.mark.parametrize("settings", [{"timeout": 0}, {"timeout": None}, {"max_response_bytes": 0}])
def test_an_adapter_without_limits_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="without limit"):
        HttpAdapter(allowed_hosts=["*"], **settings)


def test_one_text_is_no_list_of_hosts() -> None:
    with pytest.raises(ValueError, match=r"\['shop.example'\]"):
        HttpAdapter(allowed_hosts="shop.example")


# -- what comes back ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "body", "parsed"),
    [
        ("application/json", '{"id": 7}', {"id": 7}),
        ("application/problem+json; charset=utf-8", "[1]", [1]),
        ("application/json", "{broken", "{broken"),
        ("application/json", "[NaN]", "[NaN]"),
        ("application/json", "", ""),
        ("text/plain", '{"id": 7}', '{"id": 7}'),
        ("text/plain; charset=latin-1", "Käse".encode("latin-1"), "Käse"),
        ("application/octet-stream", b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_the_body_is_json_where_it_is_json(
    server: Server, http: HttpAdapter, kind: str, body: bytes | str, parsed: Any
) -> None:
    server.replies(200, body, Content_Type=kind)
    result = http.get(server.url())
    assert result.payload["body"] == parsed
    assert result.payload["headers"]["content-type"] == kind


@pytest.mark.rule("tools-http")
def test_a_redirect_is_an_answer_and_is_not_followed(server: Server, http: HttpAdapter) -> None:
    server.replies(302, Location="http://elsewhere.example/")
    payload = http.get(server.url()).payload
    assert (payload["status"], payload["headers"]["location"]) == (302, "http://elsewhere.example/")
    assert len(server.asked) == 1


@pytest.mark.rule("tools-http")
@pytest.mark.parametrize(
    ("status", "retryable", "certain"),
    [
        (400, False, True),
        (404, False, True),
        (408, True, True),
        (429, True, True),
        (500, True, False),
        (503, True, False),
        (599, True, False),
    ],
)
def test_other_statuses_say_whether_to_try_again(
    server: Server, http: HttpAdapter, status: int, retryable: bool, certain: bool
) -> None:
    server.replies(status, '{"why": "because"}', Content_Type="application/json", X_Request_Id="q-1")
    error = failed(lambda: http.post(server.url("/orders")))
    assert (error.kind, error.retryable, error.certain) == ("http", retryable, certain)
    assert error.details["status"] == status
    assert error.details["body"] == {"why": "because"}
    assert error.details["headers"]["x-request-id"] == "q-1"
    assert (error.details["method"], error.details["url"]) == ("POST", server.url("/orders"))
    assert str(status) in error.message
    assert len(server.asked) == 1, "a call is one request"


def test_reading_has_no_effect_whatever_comes_back(server: Server, http: HttpAdapter) -> None:
    server.replies(500)
    assert failed(lambda: http.get(server.url())).certain


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        ("9" * 40, 86_400.0),
        (format_datetime(NOW + timedelta(days=900), usegmt=True), 86_400.0),
        ("-5", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_kept_in_seconds(server: Server, http: HttpAdapter, header: str, seconds: float | None) -> None:
    server.replies(429, Retry_After=header)
    assert failed(lambda: http.get(server.url())).retry_after == seconds


def test_a_long_body_of_an_error_is_cut(server: Server, http: HttpAdapter) -> None:
    server.replies(500, "x" * 5_000, Content_Type="text/plain")
    body = failed(lambda: http.get(server.url())).details["body"]
    assert len(body) == 2_000
    assert body.endswith("…")


def test_an_answer_that_is_too_large_is_refused(server: Server) -> None:
    server.replies(200, b"x" * 2_000)
    http = HttpAdapter(allowed_hosts=[server.host], max_response_bytes=1_999)
    error = failed(lambda: http.post(server.url()))
    assert (error.kind, error.retryable, error.certain) == ("response_too_large", False, False)
    assert "1999" in error.message
    assert HttpAdapter(allowed_hosts=[server.host], max_response_bytes=2_000).post(server.url())


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "GZIP", "gzip, gzip", "deflate, gzip", "identity"])
def test_a_compressed_answer_is_read(server: Server, http: HttpAdapter, encoding: str) -> None:
    server.replies(200, compressed(b"tea" * 100, encoding), Content_Encoding=encoding)
    assert http.get(server.url()).payload["body"] == "tea" * 100
    assert server.asked[0][2]["accept-encoding"] == "gzip, deflate"


def test_several_gzip_files_in_a_row_are_one_answer(server: Server, http: HttpAdapter) -> None:
    server.replies(200, gzip.compress(b"black ") + gzip.compress(b"tea"), Content_Encoding="gzip")
    assert http.get(server.url()).payload["body"] == "black tea"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "gzip, gzip", "deflate, gzip"])
def test_an_answer_that_grows_when_it_is_decompressed_is_refused_before_it_has(
    server: Server, http: HttpAdapter, encoding: str
) -> None:
    server.replies(200, compressed(b"\0" * 50_000_000, encoding), Content_Encoding=encoding)
    tracemalloc.start()
    try:
        error = failed(lambda: http.get(server.url()))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.kind == "response_too_large"
    assert most < 20_000_000


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip, gzip", "gzip", "deflate", "compress", "x" * 500])
def test_an_answer_that_is_not_written_as_it_says_is_refused(server: Server, http: HttpAdapter, encoding: str) -> None:
    server.replies(200, b"this is not compressed", Content_Encoding=encoding)
    error = failed(lambda: http.post(server.url()))
    assert (error.kind, error.retryable, error.certain) == ("unreadable_response", False, False)
    assert len(error.message) < 300


def test_an_answer_that_is_compressed_more_than_twice_is_refused(server: Server, http: HttpAdapter) -> None:
    server.replies(200, compressed(b"tea", "gzip, gzip, gzip"), Content_Encoding="gzip, gzip, gzip")
    error = failed(lambda: http.get(server.url()))
    assert (error.kind, "compressed 3 times" in error.message) == ("unreadable_response", True)


def test_an_answer_that_ends_within_its_compression_is_refused(server: Server, http: HttpAdapter) -> None:
    server.replies(200, gzip.compress(b"tea" * 100)[:-9], Content_Encoding="gzip")
    assert failed(lambda: http.get(server.url())).kind == "unreadable_response"


@pytest.mark.parametrize("body", [b"x" * 5_000, b"not gzip"])
def test_a_refusal_is_told_by_its_status_whatever_its_body_is(server: Server, body: bytes) -> None:
    server.replies(503, body, Content_Encoding="" if len(body) > 100 else "gzip", Retry_After="7")
    error = failed(lambda: HttpAdapter(allowed_hosts=[server.host], max_response_bytes=100).post(server.url()))
    assert (error.kind, error.retryable, error.retry_after) == ("http", True, 7.0)


@pytest.mark.parametrize("charset", ["hex", "zlib", "rot13", "idna", "unknown-8bit", "utf-16"])
def test_a_charset_that_cannot_be_used_breaks_nothing(server: Server, http: HttpAdapter, charset: str) -> None:
    server.replies(200, b"tea", Content_Type=f"text/plain; charset={charset}")
    assert isinstance(http.get(server.url()).payload["body"], str)


# -- when nothing comes back -------------------------------------------------------------------------------------


@pytest.mark.rule("tools-time-outs")
def test_a_server_that_does_not_answer_is_a_timeout(server: Server, http: HttpAdapter) -> None:
    server.answer = lambda handler: server.released.wait(PATIENCE)  # type: ignore[assignment]
    error = in_time(lambda: http.post(server.url(), timeout=0.1))
    assert (error.kind, error.retryable, error.certain) == ("timeout", True, False)
    assert "0.1 seconds" in error.message


def in_time(call: Callable[[], ToolResult]) -> ToolError:
    """What it raises, long before the server gives up."""
    began = time.monotonic()
    error = failed(call)
    assert time.monotonic() - began < PATIENCE / 2
    return error


def test_a_server_that_trickles_is_a_timeout(server: Server) -> None:
    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        until = time.monotonic() + PATIENCE
        while not server.released.wait(0.02) and time.monotonic() < until:
            handler.wfile.write(b".")

    server.answer = trickle
    http = HttpAdapter(allowed_hosts=[server.host], max_response_bytes=100)
    assert in_time(lambda: http.get(server.url(), timeout=0.2)).kind == "timeout"


@pytest.mark.parametrize(
    "opening",
    [
        b"HTTP/1.1 200 OK\r\nX-Slow: ",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: ",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"",
    ],
)
def test_a_server_that_takes_its_time_with_any_part_is_a_timeout(server: Server, opening: bytes) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.wfile.write(opening)
        until = time.monotonic() + PATIENCE
        while not server.released.wait(0.05) and time.monotonic() < until:
            handler.wfile.write(b"x")

    server.answer = drip
    error = in_time(lambda: HttpAdapter(allowed_hosts=[server.host]).post(server.url(), timeout=0.3))
    assert (error.kind, error.retryable, error.certain) == ("timeout", True, False)


@pytest.mark.rule("tools-time-outs")
def test_a_port_where_nobody_listens_is_a_transport_error_and_surely_had_no_effect() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        error = failed(lambda: HttpAdapter(allowed_hosts=[host]).post(f"http://{host}/"))
    assert (error.kind, error.retryable, error.certain) == ("transport", True, True)
    assert error.details["reason"] == "ConnectError"


@pytest.mark.rule("tools-time-outs")
def test_a_connection_that_breaks_is_a_transport_error_and_may_have_had_an_effect(
    server: Server, http: HttpAdapter
) -> None:
    server.answer = lambda handler: handler.connection.shutdown(socket.SHUT_RDWR)
    error = failed(lambda: http.post(server.url()))
    assert (error.kind, error.retryable, error.certain) == ("transport", True, False)
    assert len(server.asked) == 1, "a call is one request"


def test_a_connect_timeout_surely_had_no_effect() -> None:
    def never(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("too late", request=request)

    http = HttpAdapter(allowed_hosts=["shop.example"], transport=httpx.MockTransport(never))
    error = failed(lambda: http.post("https://shop.example/"))
    assert (error.kind, error.certain) == ("timeout", True)


# -- what nobody may see -----------------------------------------------------------------------------------------


@pytest.mark.rule("tools-secrets")
def test_secrets_do_not_come_back_in_what_is_stored(server: Server) -> None:
    def echo(handler: BaseHTTPRequestHandler) -> None:
        token = handler.headers["Authorization"].removeprefix("Bearer ")
        said = f"you sent {token} to {handler.path}".encode()
        handler.send_response(403)
        handler.send_header("Set-Cookie", f"session={OTHER_SECRET}")
        handler.send_header("X-Echo", handler.headers["Authorization"])
        handler.send_header("Content-Length", str(len(said)))
        handler.end_headers()
        handler.wfile.write(said)

    server.answer = echo
    http = HttpAdapter(allowed_hosts=[server.host], headers={"Authorization": f"Bearer {SECRET}"})
    error = failed(lambda: http.get(server.url("/orders"), params={"api_key": f"{SECRET}2", "page": "3"}))
    assert SECRET not in seen_in(error)
    assert OTHER_SECRET not in seen_in(error)
    assert error.details["url"] == server.url("/orders?api_key=[redacted]&page=[redacted]")
    assert "you sent" in error.details["body"]


def test_secrets_do_not_come_back_when_the_call_breaks(server: Server, http: HttpAdapter) -> None:
    server.answer = lambda handler: handler.connection.shutdown(socket.SHUT_RDWR)
    error = failed(lambda: http.get(server.url(f"/?token={SECRET}"), headers={"Authorization": SECRET}))
    assert SECRET not in seen_in(error)


@pytest.mark.parametrize("name", ["X-Api-Key", "apikey", "Ocp-Apim-Subscription-Key", "X-Otp", "X-Session", "Bearer"])
def test_a_header_that_names_a_secret_anywhere_else_names_one_here(server: Server, name: str) -> None:
    def echo(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(403)
        handler.send_header("X-Echo", handler.headers[name])
        handler.send_header("Author", "Ada")
        handler.end_headers()

    server.answer = echo
    error = failed(lambda: HttpAdapter(allowed_hosts=[server.host], headers={name: SECRET}).get(server.url("/")))
    assert SECRET not in seen_in(error)
    assert "Ada" in seen_in(error)


def test_a_header_with_a_line_break_is_refused_without_being_quoted(server: Server, http: HttpAdapter) -> None:
    error = failed(lambda: http.get(server.url(), headers={"Authorization": f"{SECRET}\r\nX-Other: 1"}))
    assert (error.kind, error.certain) == ("invalid_request", True)
    assert SECRET not in seen_in(error)
    assert server.asked == []


@pytest.mark.rule("tools-secrets")
def test_what_a_result_tells_of_its_request_has_no_secrets(server: Server, http: HttpAdapter) -> None:
    metadata = http.get(server.url(f"/orders?token={SECRET}"), headers={"Authorization": SECRET}).metadata
    assert SECRET not in json.dumps(dict(metadata))


# -- without httpx -----------------------------------------------------------------------------------------------


def test_without_httpx_the_contract_is_there_and_the_adapter_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.startswith("flask_squidmesh.tools")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "httpx", None)
    importlib.import_module("flask_squidmesh.tools")
    with pytest.raises(ImportError, match=r"flask-squidmesh\[http\]"):
        importlib.import_module("flask_squidmesh.tools.http")
