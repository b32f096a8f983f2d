"""Keeping secrets out of messages and details, which are stored and shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import httpx

from ...secret_names import SECRET_KEYS, is_secret, patterns

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
