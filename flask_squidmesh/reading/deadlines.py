"""Whether a decision is late."""

from __future__ import annotations

from datetime import datetime
from typing import Final

DUE_SOON: Final = 0.25


def deadline(since: datetime, decide_by: datetime | None, now: datetime) -> str | None:
    """on_time, due_soon (the last quarter of the time has begun) or overdue; None without a deadline."""
    if decide_by is None:
        return None
    if now >= decide_by:
        return "overdue"
    return "due_soon" if now >= decide_by - (decide_by - since) * DUE_SOON else "on_time"
