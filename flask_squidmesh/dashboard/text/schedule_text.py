"""What is said of schedules: what they do with windows that overlap or passed, and why a window was not started."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from .language import N_

LEFT_OUT: Final[Mapping[str, str]] = {
    "overlap": N_("a run had not ended"),
    "queue_full": N_("the queue was full"),
    "replaced": N_("a later window took its place"),
    "catch_up": N_("no worker looked in time"),
    "paused": N_("the schedule was paused"),
}
POLICIES: Final[Mapping[tuple[str, str], str]] = {
    ("overlap", "skip"): N_("starts nothing while a run has not ended"),
    ("overlap", "queue"): N_("waits until a run has ended"),
    ("overlap", "cancel"): N_("cancels a run that has not ended"),
    ("catch_up", "all"): N_("makes up for every window that was missed"),
    ("catch_up", "none"): N_("makes up for no window that was missed"),
}


def window_text(said: object) -> str:
    """The time of a window, as an audit event keeps it."""
    try:
        return f"{datetime.fromisoformat(str(said)):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return "…"
