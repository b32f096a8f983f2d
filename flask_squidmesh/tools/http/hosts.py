"""Which servers may be called, and by which scheme."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

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
