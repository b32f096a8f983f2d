"""Which servers may be called, within which time, and how large an answer may become.

A small body can be written so that it becomes a very large one, more so when it was compressed several times. So the
bytes are counted as they come out of each layer, and not after all of them.
"""

from __future__ import annotations

import socket
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from threading import Timer
from types import TracebackType
from typing import Any, Final

import httpx

EVERY_HOST: Final = "*"
DEFAULT_PORTS: Final = {"https": 443, "http": 80}

Origin = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The origins that may be called. everywhere: the schemes by which every host may be. listed: for people."""

    origins: frozenset[Origin]
    everywhere: frozenset[str]
    listed: tuple[str, ...]

    @classmethod
    def of(cls, entries: Iterable[str]) -> AllowedHosts:
        """What the entries allow: "example.com" by https alone, "http://example.com" by http alone, each with a port
        where it is not the scheme's own; "*" and "http://*" every host.

        A bare name of this machine itself, such as "localhost:5000", allows both schemes, because nothing that is sent
        to it goes over a network. Raises ValueError for an entry that is none of these.
        """
        origins: set[Origin] = set()
        everywhere: set[str] = set()
        listed = tuple(entries)
        for entry in listed:
            schemes, place = _split(entry)
            if place == EVERY_HOST:
                everywhere.update(schemes)
            else:
                origins.update(_origins(entry, schemes, place))
        return cls(frozenset(origins), frozenset(everywhere), listed)

    def allow(self, url: httpx.URL) -> bool:
        """Whether a request may go there."""
        if url.scheme in self.everywhere or (self.everywhere and _is_here(url.host)):
            return True
        return _origin(url) in self.origins


def _split(entry: object) -> tuple[tuple[str, ...], str]:
    if not isinstance(entry, str):
        raise ValueError(f"allowed_hosts holds a value of type {type(entry).__name__}. Give text, as 'example.com'.")
    scheme, separator, place = entry.lower().rpartition("://")
    return ((scheme,) if separator else ("https",)), place


def _origins(entry: str, schemes: tuple[str, ...], place: str) -> Iterable[Origin]:
    try:
        url = httpx.URL(f"{schemes[0]}://{place}")
    except httpx.InvalidURL as error:
        raise _unreadable(entry) from error
    if schemes[0] not in DEFAULT_PORTS or not url.host or url.userinfo or url.path not in ("", "/") or url.query:
        raise _unreadable(entry)
    yield _origin(url)
    if "://" not in entry and _is_here(url.host):
        yield _origin(httpx.URL(f"http://{place}"))


def _origin(url: httpx.URL) -> Origin:
    return url.scheme, url.host, url.port or DEFAULT_PORTS[url.scheme]


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _unreadable(entry: str) -> ValueError:
    return ValueError(
        f"allowed_hosts holds {entry!r}. Give a host, with a port where it is not the scheme's own, and a scheme in "
        'front where it is not https: "example.com", "example.com:8443", "http://example.com", or "*" for every host.'
    )


_CONNECTED: Final = (".connect_tcp.complete", ".connect_unix_socket.complete")


class CallDeadline:
    """Ends an exchange when its time is over.

    httpx limits each wait by itself, so that a server which sends one byte now and then could hold a call for ever. So
    the connection is shut down from a thread of its own, which ends whatever waits for it.
    """

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._connections: list[socket.socket] = []
        self._timer = Timer(seconds, self._shut)
        self._timer.daemon = True

    @property
    def passed(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self._until

    def watch(self, event: str, info: Mapping[str, Any]) -> None:
        """What httpx calls as `trace` of a request: learn of the connection that was made for it."""
        if event.endswith(_CONNECTED):
            found = info["return_value"].get_extra_info("socket")
            # A duplicate stays valid when TLS takes the socket over.
            self._connections.append(socket.socket(fileno=socket.dup(found.fileno())))
            if self.passed:
                self._shut()

    def __enter__(self) -> CallDeadline:
        self._timer.start()
        return self

    def __exit__(self, _type: type[BaseException] | None, _error: object, _traceback: TracebackType | None) -> None:
        self._timer.cancel()
        for connection in self._connections:
            connection.close()

    def _shut(self) -> None:
        for connection in tuple(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # it has ended by itself
                continue


ACCEPTED: Final = "gzip, deflate"
MOST_LAYERS: Final = 2
_GZIP_OR_ZLIB: Final = zlib.MAX_WBITS | 32
_BARE_DEFLATE: Final = -zlib.MAX_WBITS
_GZIP: Final = b"\x1f\x8b"


class TooLarge(Exception):
    """The body, or what a layer of it becomes, has more bytes than are allowed."""


class Undecodable(Exception):
    """The body is not written as the answer says; the message tells how it should have been."""


def bounded(body: bytes, most: int) -> bytes:
    """The body. Raises TooLarge."""
    if len(body) > most:
        raise TooLarge
    return body


def decoded(body: bytes, headers: Mapping[str, str], most: int) -> bytes:
    """The body without its compression. Raises TooLarge and Undecodable."""
    names = [name.strip().lower() for name in headers.get("content-encoding", "").split(",")]
    layers = [name for name in names if name not in ("", "identity")]
    unknown = [name for name in layers if name not in ("gzip", "x-gzip", "deflate")]
    if unknown:
        raise Undecodable(f"it is encoded as {', '.join(unknown)[:100]}, and {ACCEPTED} was asked for")
    if len(layers) > MOST_LAYERS:
        raise Undecodable(f"it is compressed {len(layers)} times, and {MOST_LAYERS} times is the most")
    for name in reversed(layers):
        body = _opened(name, body, most) if body else body
    return body


def _opened(name: str, body: bytes, most: int) -> bytes:
    try:
        return _bounded(_GZIP_OR_ZLIB, body, most)
    except zlib.error as error:
        if name != "deflate":
            raise Undecodable("it says that it is gzip and is not") from error
    try:
        # Some servers leave out the header that "deflate" asks for.
        return _bounded(_BARE_DEFLATE, body, most)
    except zlib.error as error:
        raise Undecodable("it says that it is deflate and is not") from error


def _bounded(bits: int, body: bytes, most: int) -> bytes:
    """What the body becomes; a gzip file may be several in a row."""
    opened = b""
    while body:
        layer = zlib.decompressobj(bits)
        opened += layer.decompress(body, most + 1 - len(opened))
        if len(opened) > most:
            raise TooLarge
        if not layer.eof:
            raise Undecodable("it ends in the middle of its compression")
        body = layer.unused_data if layer.unused_data.startswith(_GZIP) else b""
    return opened
