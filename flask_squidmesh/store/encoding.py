"""Values as the text that PostgreSQL reads them from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from sqlalchemy.types import NullType, TypeEngine

from .tables import OwnJson, Timestamp

Encode = Callable[[Any], bytes]

MICROSECOND: Final = timedelta(microseconds=1)
MOMENTS_KEPT: Final = 64

_to_json: Final = json.JSONEncoder().encode


def encoder(type_: TypeEngine[Any]) -> Encode:
    """How values of the type, but for None, become text. Raises TypeError for a type that no column of ours has."""
    if isinstance(type_, sa.ARRAY):
        encode = encoder(type_.item_type)
        return partial(_array, _quoting(encode) if encode in (_text, _json) else encode)
    for known, encode in _ENCODERS:
        if isinstance(type_, known):
            return encode
    raise TypeError(f"Values of the type {type_!r} are not sent.")


def _text(value: str) -> bytes:
    if "\0" in value:  # libpq would take it for the end
        raise psycopg.DataError("PostgreSQL text cannot contain the character U+0000")
    return value.encode()


def _number(value: int) -> bytes:
    return b"%d" % value


def _truth(value: bool) -> bytes:
    return b"true" if value else b"false"


def _time(value: datetime) -> bytes:
    return _utc(value if value.tzinfo is UTC else value.astimezone(UTC))


@lru_cache(MOMENTS_KEPT)  # the moment of a decision stands in most of its rows
def _utc(value: datetime) -> bytes:
    return value.isoformat().encode()


def _duration(value: timedelta) -> bytes:
    return b"%d microseconds" % (value // MICROSECOND)


def _json(value: Any) -> bytes:
    return b"{}" if value == {} else _to_json(value).encode()  # mostly there is nothing in it


def _array(encode: Encode, values: Iterable[Any]) -> bytes:
    return b"{%s}" % b",".join([b"NULL" if value is None else encode(value) for value in values])


def _quoting(encode: Encode) -> Encode:
    """For values that may have in them what an array is written with."""
    return lambda value: b'"%s"' % encode(value).replace(b"\\", b"\\\\").replace(b'"', b'\\"')


_ENCODERS: Final[tuple[tuple[Any, Encode], ...]] = (
    (sa.Uuid, str.encode),
    ((sa.String, NullType), _text),
    (sa.Boolean, _truth),
    (sa.Integer, _number),
    (Timestamp, _time),
    (sa.Interval, _duration),
    (OwnJson, _json),
)
