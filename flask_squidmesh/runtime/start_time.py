"""When a run begins that does not begin at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from ..errors import given

FURTHEST: Final = timedelta(days=36_525)
CLOCKS_DIFFER: Final = timedelta(seconds=60)


class UnfitTimeError(ValueError):
    """What was said is no time at which a run can begin; the text says why."""


def start_time(at: object, now: datetime) -> datetime | None:
    """When a run begins of which this was said: a time, or how long from now; None for at once.

    Raises UnfitTimeError for what is no such thing, has no zone, has passed by more than clocks differ, or is more than
    a hundred years away.
    """
    if at is None:
        return None
    begins = _moment(at, now)
    if begins < now - CLOCKS_DIFFER:
        raise _refused(f"{begins.isoformat()} has passed. Leave it out to start the run now.")
    return begins.astimezone(UTC) if begins > now else None


def _moment(at: object, now: datetime) -> datetime:
    if isinstance(at, timedelta):
        if at < timedelta(0):
            raise _refused(f"{at} is before now. Leave it out to start the run now.")
        if at > FURTHEST:
            raise _refused(f"{at.days} days from now are too far; the most are {FURTHEST.days}.")
        return now + at
    if not isinstance(at, datetime):
        raise _refused(f"{given(at)} is no time. Pass a datetime with a time zone, or a timedelta from now.")
    if at.tzinfo is None or at.utcoffset() is None:
        raise _refused(f"{at.isoformat()} has no time zone. Pass one, such as datetime.now(UTC) + timedelta(hours=2).")
    if at.year > now.year + FURTHEST.days // 366:
        raise _refused(f"{at.isoformat()} is too far; the most are {FURTHEST.days} days from now.")
    return at


def _refused(why: str) -> UnfitTimeError:
    return UnfitTimeError(f"at={why}")
