"""What a step asks for, checked before anything is sent, with its secrets kept out of what is told."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeGuard

import httpx
from pydantic_core import to_jsonable_python

from ...secret_names import SECRET_KEYS, is_secret, patterns
from ..adapter import ToolError
from .transport import ACCEPTED, AllowedHosts

HIDDEN: Final = "[redacted]"
SHORTEST_SECRET: Final = 4

_NAMES: Final = patterns(
    (*SECRET_KEYS, r"^(key|sig)$", r"(^|_)(signature|session|authenticate|authentication|auth)(_|$)")
)


def _is_secret(name: str) -> bool:
    """Whether a header or a query key of this name usually holds a secret: what is one anywhere, and some more."""
    return is_secret(name, _NAMES)


def shown_url(url: httpx.URL) -> str:
    """The URL for people: its query keys stay, their values go."""
    address = str(url.copy_with(query=None, fragment=None, username=None, password=None))
    keys = "&".join(f"{key}={HIDDEN}" for key in dict(url.params.multi_items()))
    return f"{address}?{keys}" if keys else address


@dataclass(frozen=True, slots=True)
class Secrets:
    """The values of one request that must not come back in what the other side answers."""

    values: tuple[str, ...]

    @classmethod
    def of(cls, url: httpx.URL, headers: Mapping[str, str]) -> Secrets:
        """What is secret in the headers and in the query."""
        found = {*_in_headers(headers), *(value for key, value in url.params.multi_items() if _is_secret(key))}
        return cls(tuple(sorted((value for value in found if len(value) >= SHORTEST_SECRET), key=len, reverse=True)))

    def hide(self, text: str) -> str:
        """The text without them."""
        for value in self.values:
            text = text.replace(value, HIDDEN)
        return text

    def shown_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers without secrets."""
        return {name: HIDDEN if _is_secret(name) else self.hide(value) for name, value in headers.items()}


def _in_headers(headers: Mapping[str, str]) -> Iterator[str]:
    """Whole values, and without the word before them, as in "Bearer abc"."""
    for name, value in headers.items():
        if _is_secret(name):
            yield value
            yield value.partition(" ")[2]


NAME: Final = "http"
KEYS: Final = ("method", "url", "headers", "params", "json", "content", "timeout")
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# Headers that say where a message ends, who it is for or what happens to the connection: they belong to whoever sends
# it. With one of a caller's, two servers in a row could read one message as two.
OF_THE_CONNECTION: Final = frozenset(
    {
        *("host", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "upgrade"),
        *("te", "trailer", "expect", "http2-settings", "proxy-authenticate", "proxy-authorization"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request that may be sent. timeout: seconds. secrets: what must not be seen of it."""

    message: httpx.Request
    timeout: float
    secrets: Secrets

    @property
    def is_safe(self) -> bool:
        """Whether the method promises to change nothing on the other side."""
        return self.message.method in SAFE_METHODS


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRules:
    """What an adapter allows and adds: hosts, headers, and the usual timeout in seconds."""

    allowed_hosts: AllowedHosts
    headers: Mapping[str, str]
    timeout: float

    def check(self, asked: Mapping[str, object]) -> HttpRequest:
        """The request that is meant. Raises ToolError of kind invalid_request, which never quotes what is secret."""
        _check_keys(asked)
        url = _url(asked.get("url"), asked.get("params"))
        self._check_host(url)
        timeout = self.timeout if asked.get("timeout") is None else _timeout(asked["timeout"])
        ours = {"user-agent": "flask-squidmesh", "accept-encoding": ACCEPTED}
        headers = {**ours, **_lowered(self.headers), **_headers(asked.get("headers"))}
        message = _message(_method(asked.get("method")), url, headers, _body(asked, headers), timeout)
        return HttpRequest(message=message, timeout=timeout, secrets=Secrets.of(url, headers))

    def _check_host(self, url: httpx.URL) -> None:
        if not self.allowed_hosts.allow(url):
            place = f"{url.scheme}://{url.netloc.decode('ascii')}"
            listed = ", ".join(sorted(self.allowed_hosts.listed)) or "none is"
            raise _invalid(f"the host {place} is not among the allowed ones ({listed}). Add it to allowed_hosts")


def of_the_connection(headers: Mapping[str, str]) -> list[str]:
    """Those of the headers that nobody but the sender of the message may set."""
    return sorted(name for name in headers if name.lower() in OF_THE_CONNECTION)


def is_timeout(value: object) -> TypeGuard[float]:
    """Whether the value is a number of seconds that a call can be limited to."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _invalid(fault: str) -> ToolError:
    return ToolError(f"The HTTP request was not sent: {fault}.", adapter=NAME, kind="invalid_request", certain=True)


def _check_keys(asked: Mapping[str, object]) -> None:
    unknown = sorted(str(key) for key in asked if key not in KEYS)
    if unknown:
        raise _invalid(f"it has unknown keys ({', '.join(unknown)}). Known are {', '.join(KEYS)}")
    if asked.get("json") is not None and asked.get("content") is not None:
        raise _invalid("it has both json and content. Give one of them")


def _method(value: object) -> str:
    if not isinstance(value, str) or not (value.isascii() and value.isalpha()):
        raise _invalid('its method is missing or no word. Give one such as "GET"')
    return value.upper()


def _url(value: object, params: object) -> httpx.URL:
    if not isinstance(value, str) or not value:
        raise _invalid("its url is missing or empty. Give a whole one, such as https://example.com/orders")
    try:
        url = httpx.URL(value)
    except httpx.InvalidURL:
        raise _invalid("its url cannot be read. Give a whole one, such as https://example.com/orders") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise _invalid("its url does not begin with http:// or https:// and a host")
    if url.userinfo:
        raise _invalid("its url holds a user name or password. Send them in the Authorization header")
    return url.copy_with(fragment=None) if params is None else _with_params(url, params)


def _with_params(url: httpx.URL, params: object) -> httpx.URL:
    if not isinstance(params, Mapping):
        raise _invalid(f"its params are of type {type(params).__name__}. Give a mapping")
    return url.copy_with(fragment=None).copy_merge_params(dict(params))


def _headers(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _invalid(f"its headers are of type {type(value).__name__}. Give a mapping of texts")
    for name, text in value.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise _invalid(f"its header {name} is of type {type(text).__name__}. Give text")
    if refused := of_the_connection(value):
        raise _invalid(f"its headers have {', '.join(refused)}, which only the connection itself sets. Leave them out")
    return _lowered(value)


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): text for name, text in headers.items()}


def _timeout(value: object) -> float:
    if not is_timeout(value):
        raise _invalid("its timeout is not a number of seconds greater than 0")
    return float(value)


def _body(asked: Mapping[str, object], headers: dict[str, str]) -> bytes | str | None:
    """The body as it is sent; one made of JSON says so in the headers."""
    content = asked.get("content")
    if content is not None and not isinstance(content, bytes | str):
        raise _invalid(f"its content is of type {type(content).__name__}. Give bytes or text, or use json")
    if asked.get("json") is None:
        return content
    headers.setdefault("content-type", "application/json")
    try:
        return json.dumps(to_jsonable_python(asked["json"]), allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise _invalid(f"its json cannot be written as JSON ({type(error).__name__})") from None


def _message(
    method: str, url: httpx.URL, headers: Mapping[str, str], body: bytes | str | None, timeout: float
) -> httpx.Request:
    limits = httpx.Timeout(timeout).as_dict()
    try:
        return httpx.Request(method, url, headers=headers, content=body, extensions={"timeout": limits})
    except (UnicodeError, ValueError, TypeError) as error:
        raise _invalid(f"its headers cannot be sent ({type(error).__name__})") from None
