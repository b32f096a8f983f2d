"""Undoing how a body was compressed, up to a number of bytes.

A small body can be written so that it becomes a very large one, more so when it was compressed several times. So the
bytes are counted as they come out of each layer, and not after all of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final

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
