"""When a schedule's expression is due, in the zone it is meant in, and since when a schedule has had it.

An expression is of cron, or an interval as `every` writes it, counted from 1970-01-01 00:00 UTC.

What is kept is JSON: for each expression since when it was seen, and while another one is seen beside it, as during a
deploy, when it was seen last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from .spec import TriggerSpec
from .values import JsonValue

# CronSim reads a repeated hour as its first turn, so a search starts well before it and drops what is not wanted.
_MARGIN = timedelta(hours=3)
_ORIGIN: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS: Final = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_EVERY: Final = re.compile(r"every ((?:[1-9]\d*[dhms])+)")
COUNTED: Final = 1000


def zone(name: str) -> ZoneInfo:
    """The time zone of this name. Raises ValueError if there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError):
        raise ValueError(f"there is no time zone {name!r}") from None


def check(expression: object) -> list[str]:
    """What is wrong with a cron expression, one clause each; empty if nothing is."""
    if not isinstance(expression, str):
        return [f"must be text with five fields, found {expression!r}"]
    if len(expression.split()) != 5:
        return [f"{expression!r} must have five fields: minute, hour, day of month, month, day of week"]
    try:
        next(CronSim(expression, datetime(2024, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        return [f"{expression!r} cannot be read: {str(error).lower()}"]
    except StopIteration:
        return [f"{expression!r} is never due"]
    return []


def next_due(expression: str, timezone: str, now: datetime) -> datetime:
    """The first due time after `now`, in UTC. Raises ValueError if the expression is never due."""
    if length := interval(expression):
        return _ORIGIN + ((now - _ORIGIN) // length + 1) * length
    for due in _walk(expression, timezone, now - _MARGIN, reverse=False):
        if due > now:
            return due
    raise ValueError(f"the cron expression {expression!r} is never due")


def last_due(expression: str, timezone: str, now: datetime) -> datetime | None:
    """The latest due time up to and including `now`, in UTC; None if there was none."""
    return next(_backwards(expression, timezone, now), None)


def windows(
    expression: str, timezone: str, *, after: datetime | None, until: datetime, most: int
) -> tuple[list[datetime], list[datetime]]:
    """The latest due times after the one and up to the other, in order, and those before them, at most COUNTED.

    after: None for the last one alone.
    """
    found: list[datetime] = []
    for due in islice(_backwards(expression, timezone, until), most + COUNTED if after else 1):
        if after is not None and due <= after:
            break
        found.append(due)
    return found[:most][::-1], found[most:][::-1]


def every(length: timedelta) -> str:
    """The interval as an expression."""
    left, text = int(length.total_seconds()), ""
    for unit, seconds in _UNITS.items():
        count, left = divmod(left, seconds)
        text += f"{count}{unit}" if count else ""
    return f"every {text}"


def interval(expression: str) -> timedelta | None:
    """The interval that the expression is; None for one of cron."""
    found = _EVERY.fullmatch(expression)
    if found is None:
        return None
    parts = re.findall(r"(\d+)([dhms])", found[1])
    return timedelta(seconds=sum(int(count) * _UNITS[unit] for count, unit in parts))


def metadata(
    workflow: str, trigger: TriggerSpec, *, window: datetime, now: datetime, signal_id: str | None = None
) -> dict[str, JsonValue]:
    """What steps find in their state under "schedule".

    window: the time the schedule meant; where a person starts the run, the time of the start.
    """
    return {
        "workflow": workflow,
        "trigger": trigger.name,
        "expression": trigger.expression,
        "timezone": trigger.timezone,
        "intended_window": window.isoformat(),
        "received_at": now.isoformat(),
        "signal_id": signal_id,
        "idempotency": trigger.idempotency,
    }


def _backwards(expression: str, timezone: str, now: datetime) -> Iterator[datetime]:
    """The due times up to and including `now`, the latest first."""
    if length := interval(expression):
        due = _ORIGIN + (now - _ORIGIN) // length * length
        while due >= _ORIGIN:
            yield due.astimezone(UTC)
            due -= length
        return
    for due in _walk(expression, timezone, now + _MARGIN, reverse=True):
        if due <= now:
            yield due


def _walk(expression: str, timezone: str, start: datetime, *, reverse: bool) -> Iterator[datetime]:
    for due in CronSim(expression, start.astimezone(zone(timezone)), reverse=reverse):
        yield due.astimezone(UTC)


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
