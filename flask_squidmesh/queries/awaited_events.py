"""The events that a run waits for, as its rows tell of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ..engine.kept_decisions import DecisionKept, MisfitKept, TimerKept
from .inbox import asked_at, deadline_of
from .results import View
from .run_record import Row


@dataclass(frozen=True, kw_only=True)
class EventWait(View):
    """An event that a visit waits for. since: since when. counts_from: since when it may have come, None for since the
    run began. is_sole: whether nobody else takes it then. decide_by: when it is due; deadline: see `inbox.deadline`.
    timers: what happens by itself until then; timeout: where it leads when that time is over. misfit: the last that
    came and did not fit.
    """

    step: str
    visit: int
    name: str
    key: str
    since: datetime
    counts_from: datetime | None
    is_sole: bool
    decide_by: datetime | None
    deadline: str | None
    timers: Sequence[TimerKept]
    timeout: str | None
    misfit: MisfitKept | None


def awaited_in(rows: Iterable[Row], now: datetime) -> tuple[EventWait, ...]:
    """The events that these step runs wait for, what is due first."""
    open_waits = [row for row in rows if row["status"] == "paused" and row["decision"]]
    views = [_view(row, row["decision"], now) for row in open_waits if "awaits" in row["decision"]]
    return tuple(sorted(views, key=lambda view: (view.decide_by is None, view.decide_by or view.since)))


def _view(row: Row, decision: DecisionKept, now: datetime) -> EventWait:
    awaits = decision["awaits"]
    return EventWait(
        step=row["step"],
        visit=row["visit"],
        name=awaits["name"],
        key=awaits["key"],
        since=asked_at(row),
        counts_from=datetime.fromisoformat(awaits["since"]) if awaits["since"] else None,
        is_sole=awaits["accept"] == "first",
        decide_by=row["decide_by"],
        deadline=deadline_of(row, now),
        timers=decision.get("timers") or (),
        timeout=decision.get("timeout"),
        misfit=decision.get("misfit"),
    )
