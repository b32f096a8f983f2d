"""Which windows of a schedule are started, which wait for a run of it to end, and which are left out, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from ..definition import cron
from ..definition.spec import TriggerSpec

MOST_CAUGHT_UP: Final = 100
MOST_QUEUED: Final = 100
REMEMBERED: Final = 20
LATE: Final = timedelta(seconds=60)

Reason = Literal["overlap", "queue_full", "replaced", "catch_up", "paused"]
MISSED: Final = ("catch_up", "paused")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutWindows:
    """Windows that were not started, between two times, and why; `count` is at least so many where it is 1,000.

    reason: "overlap" while a run had not ended, "queue_full", "replaced" in the queue by a later window, "catch_up"
    because no worker was up, "paused". run_id: the run that had not ended. signal_id: names the activation.
    """

    first: datetime
    last: datetime
    count: int
    reason: Reason
    at: datetime
    run_id: str | None = None
    signal_id: str | None = None

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> LeftOutWindows:
        """From what `kept` made of it."""
        times = {name: datetime.fromisoformat(kept[name]) for name in ("first", "last", "at")}
        return cls(**{**kept, **times})

    def kept(self) -> dict[str, Any]:
        """As JSON data."""
        times = {name: getattr(self, name).isoformat() for name in ("first", "last", "at")}
        rest = {"count": self.count, "reason": self.reason, "run_id": self.run_id, "signal_id": self.signal_id}
        return {**times, **rest}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedWindow:
    """A window that waits until a run of its schedule has ended. queue: through which the activation came."""

    window: datetime
    at: datetime
    signal_id: str | None = None
    queue: str | None = None

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> QueuedWindow:
        """From what `kept` made of it."""
        times = {name: datetime.fromisoformat(kept[name]) for name in ("window", "at")}
        return cls(**{**kept, **times})

    def kept(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "window": self.window.isoformat(),
            "at": self.at.isoformat(),
            "signal_id": self.signal_id,
            "queue": self.queue,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DueWindows:
    """The windows that are to be started, in order, and those before them that are not."""

    due: Sequence[datetime]
    missed: LeftOutWindows | None


def due_windows(trigger: TriggerSpec, passed: datetime | None, now: datetime) -> DueWindows:
    """What of the windows since `passed` is to be started, as the trigger's catch_up says."""
    assert trigger.expression is not None
    assert trigger.timezone is not None
    most = MOST_CAUGHT_UP if trigger.catch_up == "all" else 1
    due, older = cron.windows(trigger.expression, trigger.timezone, after=passed, until=now, most=most)
    if trigger.catch_up == "none" and due and due[0] < now - LATE:
        due, older = [], [*older, *due]
    return DueWindows(due=due, missed=left_out(older, "catch_up", now))


def paused_windows(
    trigger: TriggerSpec, passed: datetime | None, paused_at: datetime | None, now: datetime
) -> LeftOutWindows | None:
    """The windows that came while the schedule was paused, now that it is resumed."""
    assert trigger.expression is not None
    assert trigger.timezone is not None
    since = max((time for time in (passed, paused_at) if time is not None), default=now)
    return left_out(
        cron.windows(trigger.expression, trigger.timezone, after=since, until=now, most=0)[1], "paused", now
    )


def left_out(windows: Sequence[datetime], reason: Reason, now: datetime) -> LeftOutWindows | None:
    """These windows as left out; None where there are none."""
    if not windows:
        return None
    count = min(len(windows), cron.COUNTED)
    return LeftOutWindows(first=windows[0], last=windows[-1], count=count, reason=reason, at=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldWindows:
    """What a window that cannot be started now leads to: what is queued then, and what is left out."""

    queued: Sequence[QueuedWindow]
    left_out: Sequence[LeftOutWindows]


def held_back(
    trigger: TriggerSpec, window: QueuedWindow, queued: Sequence[QueuedWindow], former: str | None
) -> HeldWindows:
    """What becomes of a window while a run of its schedule has not ended, or others are queued before it."""
    if trigger.overlap == "queue" and len(queued) < MOST_QUEUED:
        return HeldWindows(queued=(*queued, window), left_out=())
    if trigger.overlap == "cancel":
        return HeldWindows(queued=(window,), left_out=[_alone(each, "replaced", window.at, former) for each in queued])
    reason: Reason = "queue_full" if trigger.overlap == "queue" else "overlap"
    return HeldWindows(queued=queued, left_out=[_alone(window, reason, window.at, former)])


def _alone(each: QueuedWindow, reason: Reason, at: datetime, former: str | None) -> LeftOutWindows:
    return LeftOutWindows(
        first=each.window,
        last=each.window,
        count=1,
        reason=reason,
        at=at,
        run_id=former,
        signal_id=each.signal_id,
    )


def is_settled(window: QueuedWindow, queued: Sequence[QueuedWindow], left_out: Sequence[LeftOutWindows]) -> bool:
    """Whether the activation is queued or left out already, as where a queue delivers it twice."""
    name = (window.signal_id, None if window.signal_id else window.window)
    settled = [(each.signal_id, None if each.signal_id else each.window) for each in queued]
    skipped = [each for each in left_out if each.reason not in MISSED]
    settled += [(each.signal_id, None if each.signal_id else each.first) for each in skipped]
    return name in settled


def remembered(
    before: Sequence[LeftOutWindows], new: Sequence[LeftOutWindows]
) -> tuple[Sequence[LeftOutWindows], Sequence[LeftOutWindows]]:
    """The latest of what was left out, newest first, and what of the new is a stretch of its own.

    What a worker that is up leaves out of a schedule that is due more often than it looks is one stretch that grows.
    """
    kept, own = list(before), []
    for each in new:
        grows = each.reason == "catch_up" and each.at - each.first <= LATE
        if grows and kept and kept[0].reason == "catch_up" and each.first - kept[0].last <= LATE:
            count = min(kept[0].count + each.count, cron.COUNTED)
            kept[0] = replace(kept[0], last=each.last, count=count, at=each.at)
        else:
            kept.insert(0, each)
            own.append(each)
    return kept[:REMEMBERED], own
