"""Ids that sort by the time they were made, so that new rows stand together in their indexes."""

from __future__ import annotations

import os
import time
import uuid


def new_id() -> str:
    """A UUID of version 7 (RFC 9562): milliseconds since 1970, then random bits."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 7 << 76
    return str(uuid.UUID(int=value & ~(0x3 << 62) | 2 << 62))


def read_id(text: object) -> str | None:
    """The id in its usual form, or None where it is none."""
    try:
        return str(uuid.UUID(str(text)))
    except ValueError:
        return None
