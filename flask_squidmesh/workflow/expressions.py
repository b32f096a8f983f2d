"""Since when a schedule has had its cron expression, told by workers of several versions that look at it.

What is kept is JSON: for each expression since when it was seen, and while another one is seen beside it, as during a
deploy, when it was seen last.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from .spec import TriggerSpec

OVERLAP = timedelta(minutes=5)

Kept = Mapping[str, Mapping[str, str]]


def seen(kept: Kept, trigger: TriggerSpec, *, began: datetime, now: datetime) -> dict[str, dict[str, str]]:
    """What is to be kept once the trigger was seen now, which is what was kept where there is nothing new.

    began: since when the first expression of all counts as seen. One that comes back begins anew, unless workers
    have shown it within the last minutes, as during a deploy that takes its time.
    """
    mine, at = _named(trigger), now.isoformat()
    known = {name: {"seen": at, **times} for name, times in kept.items() if not _is_ahead(times, now)}
    others = {name: times for name, times in known.items() if name != mine and not _is_old(times, now)}
    first = at if known else began.isoformat()
    since = first if mine not in known or _was_replaced(mine, known, now) else known[mine]["since"]
    return {**others, mine: {"since": since, **({"seen": at} if others else {})}}


def since(kept: Kept, trigger: TriggerSpec) -> datetime | None:
    """Since when the trigger's expression has been seen; None where it is not on record."""
    own = kept.get(_named(trigger))
    return datetime.fromisoformat(own["since"]) if own else None


def _named(trigger: TriggerSpec) -> str:
    return f"{trigger.expression} {trigger.timezone}"


def _is_ahead(times: Mapping[str, str], now: datetime) -> bool:
    """Whether a wrong clock wrote it."""
    return any(datetime.fromisoformat(time) > now + OVERLAP for time in times.values())


def _was_replaced(mine: str, known: Kept, now: datetime) -> bool:
    """Whether another expression has been the present one since, and this is no deploy that takes its time."""
    return _is_old(known[mine], now) and max(known, key=lambda name: _last(known[name])) != mine


def _is_old(times: Mapping[str, str], now: datetime) -> bool:
    return datetime.fromisoformat(times["seen"]) <= now - OVERLAP


def _last(times: Mapping[str, str]) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(times["seen"]), datetime.fromisoformat(times["since"])
