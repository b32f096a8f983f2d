"""Sending one request, once, and no further than it may go."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cache
from typing import TypedDict, Unpack

import httpx

from ...clock import Clock, SystemClock
from ..adapter import ToolError, ToolResult
from .answer import error_of, facts, result_of
from .request import NAME, HttpRequest, RequestRules, is_timeout, of_the_connection
from .transport import AllowedHosts, CallDeadline, TooLarge, Undecodable, bounded, decoded

QueryValue = str | int | float | bool | None | Sequence[str | int | float | bool | None]
_NEVER_SENT = (httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ConnectError, httpx.ProxyError)


class RequestOptions(TypedDict, total=False):
    """What a request may have beside its method and its URL.

    params: added to the query. json: anything pydantic can write. content: the body as it is, in place of json.
    timeout: seconds, in place of the adapter's.
    """

    headers: Mapping[str, str] | None
    params: Mapping[str, QueryValue] | None
    json: object
    content: bytes | str | None
    timeout: float | None


class HttpAdapter:
    """Calls HTTP servers, and says of each failure whether it may be tried again.

    One call is one request on a connection of its own: no retries, no redirects followed, no cookies kept.

    allowed_hosts: the hosts that may be called, as "example.com", or "example.com:8443" for a port that is not the
    scheme's own; by https, or by http where the entry says so ("http://example.com") or names this machine itself;
    "*" for every host. Nothing else is called. headers: sent with every request. timeout: seconds within which the
    whole answer must be there. max_response_bytes: answers that are larger, as they are sent or once they are
    decompressed, are refused. transport: of httpx, for proxies, certificates of one's own, and tests; it stays open.
    clock: what a date in Retry-After is measured by.

    Raises ValueError for settings that make no sense.
    """

    name = NAME

    def __init__(
        self,
        *,
        allowed_hosts: Iterable[str],
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        max_response_bytes: int = 1_000_000,
        transport: httpx.BaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        if isinstance(allowed_hosts, str):
            raise ValueError(f"allowed_hosts is one text. Give a list: allowed_hosts=[{allowed_hosts!r}].")
        if not is_timeout(timeout) or max_response_bytes < 1:
            raise ValueError("timeout and max_response_bytes must be greater than 0. A call without limit may hang.")
        if refused := of_the_connection(headers or {}):
            raise ValueError(
                f"headers has {', '.join(refused)}, which only the connection itself sets. Leave them out."
            )
        hosts = AllowedHosts.of(allowed_hosts)
        self._rules = RequestRules(allowed_hosts=hosts, headers=dict(headers or {}), timeout=float(timeout))
        self._most, self._transport, self._clock = max_response_bytes, transport, clock or SystemClock()

    def get(self, url: str, **options: Unpack[RequestOptions]) -> ToolResult:
        """Send a GET request; options as in `request`."""
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Unpack[RequestOptions]) -> ToolResult:
        """Send a POST request; options as in `request`."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Unpack[RequestOptions]) -> ToolResult:
        """Send a PUT request; options as in `request`."""
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Unpack[RequestOptions]) -> ToolResult:
        """Send a PATCH request; options as in `request`."""
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Unpack[RequestOptions]) -> ToolResult:
        """Send a DELETE request; options as in `request`."""
        return self.request("DELETE", url, **options)

    def request(self, method: str, url: str, **options: Unpack[RequestOptions]) -> ToolResult:
        """Send a request.

        options: headers, params (added to the query), json (anything pydantic can write) or content (bytes or text),
        timeout (seconds, instead of the adapter's).

        Returns a ToolResult whose payload is {status, headers, body}, for a status of 200 to 399; body is parsed where
        it is JSON, and text otherwise.

        Raises ToolError of kind "invalid_request", "http" (any other status), "timeout", "transport",
        "response_too_large" or "unreadable_response".
        """
        return self.invoke({"method": method, "url": url, **options})

    def invoke(self, request: Mapping[str, object], context: Mapping[str, object] | None = None) -> ToolResult:
        """As `request`, with method, url and options in one mapping. The context is not sent anywhere."""
        checked = self._rules.check(request)
        with CallDeadline(checked.timeout) as deadline:
            response, content = self._answer(checked, deadline)
        if 200 <= response.status_code < 400:
            return result_of(checked, response, content)
        raise error_of(checked, response, content, self._clock.now())

    def _answer(self, request: HttpRequest, deadline: CallDeadline) -> tuple[httpx.Response, bytes]:
        try:
            return self._exchange(request, deadline)
        except httpx.TimeoutException as error:
            raise _timed_out(request, certain=isinstance(error, _NEVER_SENT)) from None
        except httpx.LocalProtocolError:
            raise _invalid_message(request) from None
        except (httpx.RequestError, ssl.SSLError, OSError) as error:
            if deadline.passed:
                raise _timed_out(request) from None
            raise _failed(request, error) from None

    def _exchange(self, request: HttpRequest, deadline: CallDeadline) -> tuple[httpx.Response, bytes]:
        """Send the request and read the answer, no longer and no more than allowed."""
        request.message.extensions["trace"] = deadline.watch
        with self._client() as client, closing(client.send(request.message, stream=True)) as response:
            try:
                content = self._content(response, deadline)
            except (TooLarge, Undecodable) as fault:
                content = b""  # what a refusal says of itself matters less than its status
                if response.status_code < 400:
                    raise self._unfit(request, response.status_code, fault) from None
        if deadline.passed:  # the end of an answer that is cut off may look like any other
            raise _timed_out(request)
        return response, content

    def _content(self, response: httpx.Response, deadline: CallDeadline) -> bytes:
        """The decoded body. Raises TooLarge and Undecodable."""
        if response.is_stream_consumed:  # a transport for tests gave the body as a whole
            return bounded(response.content, self._most)
        content = bytearray()
        for chunk in response.iter_raw():
            content += chunk
            if len(content) > self._most:
                raise TooLarge
            if deadline.passed:
                return b""
        return decoded(bytes(content), response.headers, self._most)

    def _unfit(self, request: HttpRequest, status: int, fault: TooLarge | Undecodable) -> ToolError:
        if isinstance(fault, TooLarge):
            return _too_large(request, status, self._most)
        return _unreadable(request, status, fault)

    @contextmanager
    def _client(self) -> Iterator[httpx.Client]:
        """A client for one call; a transport of the caller's stays open."""
        client = httpx.Client(transport=self._transport, verify=_certificates())
        try:
            yield client
        finally:
            if self._transport is None:
                client.close()


@cache
def _certificates() -> ssl.SSLContext:
    """Read once, because reading them takes longer than most calls."""
    return httpx.create_ssl_context()


def _timed_out(request: HttpRequest, *, certain: bool = False) -> ToolError:
    return ToolError(
        f"{request.message.url.host} did not answer within {request.timeout:g} seconds.",
        adapter=NAME,
        kind="timeout",
        details=facts(request),
        retryable=True,
        certain=certain or request.is_safe,
    )


def _failed(request: HttpRequest, error: Exception) -> ToolError:
    reason = request.secrets.hide(str(error)) or type(error).__name__
    return ToolError(
        f"The call to {request.message.url.host} failed: {reason}",
        adapter=NAME,
        kind="transport",
        details={**facts(request), "reason": type(error).__name__},
        retryable=True,
        certain=isinstance(error, _NEVER_SENT) or request.is_safe,
    )


def _invalid_message(request: HttpRequest) -> ToolError:
    return ToolError(
        "The HTTP request was not sent: its headers or body break the protocol. Look for line breaks in headers.",
        adapter=NAME,
        kind="invalid_request",
        details=facts(request),
        certain=True,
    )


def _unreadable(request: HttpRequest, status: int, fault: Undecodable) -> ToolError:
    return ToolError(
        f"The answer of {request.message.url.host} cannot be read: {fault}.",
        adapter=NAME,
        kind="unreadable_response",
        details={**facts(request), "status": status},
        certain=request.is_safe,
    )


def _too_large(request: HttpRequest, status: int, most: int) -> ToolError:
    return ToolError(
        f"{request.message.url.host} answered with more than {most} bytes. Ask for less, or raise max_response_bytes.",
        adapter=NAME,
        kind="response_too_large",
        details={**facts(request), "status": status},
        certain=request.is_safe,
    )
