"""The embedded default: workers pull due dispatches from the host's own database."""

from __future__ import annotations

from datetime import timedelta

from ..executor import Executor, Identified, Metadata, Notification, Payload, Wake
from ..runtime.runtime import current_runtime
from ..runtime.waking import CHANNEL, NOTIFIED_POLL_SECONDS
from ..storage.tables import dispatches
from ..storage.write_batch import WriteBatch, dispatch_row


class DatabaseExecutor(Executor):
    """Delivers through `flask squidmesh worker`, or the worker inside `flask run` for development.

    A step's dispatch is a row already, so handing it over means waking a worker. A cron activation becomes a row.
    """

    worker_command = "flask squidmesh worker"

    def enqueue(self, payload: Payload, *, schedule_in: float | None = None) -> Metadata:
        """Wake a worker for a step or a compensation; write a row for a cron activation."""
        runtime = current_runtime()
        queue: str = payload.get("queue", runtime.settings.queue)
        if payload["kind"] == "cron":
            with runtime.database.write() as connection:
                now = runtime.clock.now()
                due = now + timedelta(seconds=schedule_in or 0)
                row = dispatch_row(None, None, "cron", due, queue, now, payload)
                batch = WriteBatch()
                batch.insert(dispatches, [row])
                if notice := self.wake(payload, schedule_in=schedule_in).notice:
                    batch.notify(*notice)
                batch.execute(connection)
        runtime.wake_signal.set()
        return {"queue": queue, "schedule_in": schedule_in}

    def wake(self, payload: Payload, *, schedule_in: float | None = None) -> Wake:
        """Have the workers of every process look when the transaction commits (PostgreSQL).

        What is due after their next look they come to by themselves.
        """
        settings = current_runtime().settings
        next_look = max(settings.poll_interval, NOTIFIED_POLL_SECONDS)
        queue: str = payload.get("queue", settings.queue)
        notice = Notification(CHANNEL, queue) if (schedule_in or 0) < next_look else None
        return Wake(metadata={"queue": queue, "schedule_in": schedule_in}, notice=notice)

    def continues(self, run: Identified, step: str) -> bool:
        """True: the worker that finished a step may go on with the next."""
        return True
