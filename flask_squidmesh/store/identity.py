"""Ids that sort by the time they were made, so that new rows stand together in their indexes."""

from __future__ import annotations

import os
import secrets
import threading
import time
import uuid

RunId = uuid.UUID | str
_TAIL_BITS = 74
_guard = threading.Lock()
_last = (0, 0)


def new_id() -> str:
    """A UUID of version 7 (RFC 9562): milliseconds since 1970, then random bits, rising within a millisecond."""
    moment, tail = _next()
    value = moment << 80 | 7 << 76 | (tail >> 62) << 64 | 0x2 << 62 | tail & (1 << 62) - 1
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _next() -> tuple[int, int]:
    """A random step, not one of 1, keeps processes apart that were forked within a millisecond."""
    global _last
    with _guard:
        moment, (last, tail) = time.time_ns() // 1_000_000, _last
        later = moment > last
        _last = (moment, secrets.randbits(_TAIL_BITS - 1)) if later else (last, tail + 1 + secrets.randbits(32))
        return _last


def _in_child() -> None:
    """Another thread of the parent may have held the guard."""
    global _guard
    _guard = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def read_id(text: object) -> str | None:
    """The id in its usual form, or None where it is none."""
    if isinstance(text, uuid.UUID):
        return str(text)
    try:
        return str(uuid.UUID(text)) if isinstance(text, str) else None
    except ValueError:
        return None
