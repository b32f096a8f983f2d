"""Performing steps in the test's own thread."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

import sqlalchemy as sa

from ..clock import SettableClock
from ..errors import ConfigurationError
from ..runtime.runtime import Runtime, current_runtime
from ..storage.tables import dispatches
from ..storage.write_batch import BEGINNING, NO_QUEUE

LEAST_MOVE = timedelta(milliseconds=1)


def drain(*, limit: int = 1_000) -> int:
    """Perform everything that is due now, in this thread, until the runs are blocked; return how many deliveries.

    Reminders, escalations, time-outs and deadlines of runs that are due are performed too, and subscribers and channels
    are told of what has happened.

    Blocked means that every run has ended, waits for a person, or waits for a later time: a wait, a delay before a
    retry, a cron activation put off. What waits for later is left: move the clock and drain again, or call
    `work_through`. Claims are taken over as soon as they have expired.

    limit: deliveries after which RuntimeError is raised, because the runs keep making work.
    """
    runtime = current_runtime()
    done = 0
    while _performed_one(runtime):
        done += 1
        if done > limit:
            raise RuntimeError(f"drain performed {limit} deliveries and there is more; is a workflow looping?")
    return done


def work_through(*, limit: int = 1_000) -> int:
    """Drain, move the clock to when the next work is due, and so on until none is; return how many deliveries.

    So waits, delays before retries and expired claims are passed without sleeping. Afterwards every run has ended or
    waits for a person, whose time is left to run: see `advance_to_deadline`. Work of workflows that this app does not
    know is left.

    limit: deliveries and moves of the clock after which RuntimeError is raised.

    Raises ConfigurationError unless the app's clock is a SettableClock.
    """
    runtime = current_runtime()
    clock = _settable(runtime)
    done = drain(limit=limit)
    for _ in range(limit):
        due = _first_due(runtime, runtime.settings.queue)
        if due is None:
            return done
        clock.advance(max(due - clock.now(), LEAST_MOVE))
        done += drain(limit=limit)
    raise RuntimeError(f"work_through moved the clock {limit} times and there is more; is a workflow looping?")


def advance_to_deadline(*, limit: int = 1_000) -> int:
    """Move the clock to when something next happens by itself, and drain; return how many deliveries.

    That is a reminder, an escalation or the time-out of an open wait, what people are told of a step with `within=`, or
    the deadline of a run, whichever comes first of all runs. So each of them is one call, however long it takes.

    limit: as for `drain`.

    Raises AssertionError where nothing will happen by itself, and ConfigurationError unless the app's clock is a
    SettableClock.
    """
    runtime = current_runtime()
    clock = _settable(runtime)
    due = _first_due(runtime, NO_QUEUE)
    if due is None:
        raise AssertionError(
            "Nothing happens by itself: no open wait has a reminder, an escalation or a route for its time-out ahead, "
            "no step under way a within=, and no unfinished run a deadline."
        )
    clock.advance(max(due - clock.now(), LEAST_MOVE))
    return drain(limit=limit)


def _performed_one(runtime: Runtime) -> bool:
    queue = runtime.config.queue
    # The thread that renews claims may be giving one back just now, and a run that it has locked would be passed by.
    with suppress(sa.exc.SQLAlchemyError):  # it goes on trying
        runtime.claims.give_back()
    if runtime.internal_work.perform_due():
        return True
    for claim in runtime.claimer.claim_due(queue, limit=1, take_over=True, left_to_others=timedelta(0)):
        runtime.deliverer.deliver(claim)
        return True
    return runtime.scheduler.activate_next(queue) or runtime.notice_deliverer.deliver_due() > 0


def _settable(runtime: Runtime) -> SettableClock:
    if not isinstance(runtime.clock.source, SettableClock):
        raise ConfigurationError(
            "The clock of this app cannot be moved. Use memory_app, or make the extension for tests with "
            "SquidMesh(clock=SettableClock())."
        )
    return runtime.clock.source


def _first_due(runtime: Runtime, queue: str) -> datetime | None:
    """When the next work of the queue is due, or a run begins, but for what this app does not know how to do."""
    mine = sa.or_(dispatches.c.queue == queue, dispatches.c.kind == BEGINNING)
    known = sa.select(sa.func.min(dispatches.c.due_at)).where(mine, dispatches.c.held.is_(None))
    with runtime.database.read() as connection:
        due: datetime | None = connection.scalar(known)
    return due
