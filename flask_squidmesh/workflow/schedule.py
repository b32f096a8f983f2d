"""When a cron expression is due, in the zone it is meant in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

if TYPE_CHECKING:
    from .spec import TriggerSpec

# CronSim reads a repeated hour as its first turn, so a search starts well before it and drops what is not wanted.
_MARGIN = timedelta(hours=3)


def zone(name: str) -> ZoneInfo:
    """The time zone of this name. Raises ValueError if there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError):
        raise ValueError(f"there is no time zone {name!r}") from None


def check(expression: Any) -> list[str]:
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
    for due in _walk(expression, timezone, now - _MARGIN, reverse=False):
        if due > now:
            return due
    raise ValueError(f"the cron expression {expression!r} is never due")


def last_due(expression: str, timezone: str, now: datetime) -> datetime | None:
    """The latest due time up to and including `now`, in UTC; None if there was none."""
    for due in _walk(expression, timezone, now + _MARGIN, reverse=True):
        if due <= now:
            return due
    return None


def metadata(
    workflow: str, trigger: TriggerSpec, *, window: datetime, now: datetime, signal_id: str | None = None
) -> dict[str, Any]:
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


def _walk(expression: str, timezone: str, start: datetime, *, reverse: bool) -> Iterator[datetime]:
    for due in CronSim(expression, start.astimezone(zone(timezone)), reverse=reverse):
        yield due.astimezone(UTC)
