"""DBOS Transact for Python, its system database beside the app's tables and its pools at their defaults.

Chains one after another are direct calls of a workflow; all else goes through a queue with the worker concurrency asked
for, started by its client. A free slot waits for the next poll: the queue is polled every 0.01 s, the best of those
tried, where runs are drained, and as by default every second for the latency and the costs of an idle worker.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from dbos import DBOS, DBOSClient

from .answering import Task, answer
from .peer import STEPS, Peer, works
from .workers import last_step, opened, step

QUEUE, WORKFLOW, ORDER, VERSION = "work", "run", "order", "1"
PAID = "paid"
POLLING_SECONDS, DEFAULT_POLLING_SECONDS = 0.01, 1.0

no_op = DBOS.step(name="step")(step)
last_no_op = DBOS.step(name="last_step")(last_step)


def perform(steps: int) -> None:
    """A run of so many steps."""
    for _ in range(steps - 1):
        no_op()
    last_no_op()


workflow = DBOS.workflow(name=WORKFLOW)(perform)


def fulfil() -> None:
    """An order that waits for its payment."""
    last_no_op()
    DBOS.recv(PAID, timeout_seconds=600)
    last_no_op()


order = DBOS.workflow(name=ORDER)(fulfil)


class Dbos(Peer):
    """DBOS."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.polling_seconds = (
            DEFAULT_POLLING_SECONDS if self.measured in ("latency", "event", "idle") else POLLING_SECONDS
        )
        self._closers: list[Callable[[], object]] = []

    def install(self) -> None:
        """Migrate, and register the queue with no slots yet."""
        DBOS.migrate(self.task.database)
        self._client = DBOSClient(system_database_url=self.task.database)
        self._closers.append(self._client.destroy)
        self._client.register_queue(
            QUEUE, worker_concurrency=0, polling_interval_sec=self.polling_seconds, on_conflict="always_update"
        )

    def here(self) -> Callable[[], object]:
        """A direct call."""
        self._launch()
        self._closers.append(DBOS.destroy)
        return lambda: workflow(STEPS)

    def start(self, steps: int) -> None:
        """Enqueue."""
        self._client.enqueue({"queue_name": QUEUE, "workflow_name": WORKFLOW, "app_version": VERSION}, steps)

    def order(self, key: str) -> None:
        """Enqueue, under the key as its id."""
        self._client.enqueue(
            {"queue_name": QUEUE, "workflow_name": ORDER, "app_version": VERSION, "workflow_id": key},
        )

    def settle(self, key: str) -> None:
        """Send."""
        self._client.send(key, {"status": "settled"}, PAID)

    def ended(self) -> int:
        """By status."""
        return self.number("SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'")

    def work(self) -> None:
        """Launch, and give the queue its slots."""
        self._launch()
        opened()
        queue = DBOS.retrieve_queue(QUEUE)
        assert queue is not None
        queue.set_worker_concurrency(self.task.threads)
        threading.Event().wait()

    def close(self) -> None:
        """Close the client, or the app."""
        while self._closers:
            self._closers.pop()()

    def _launch(self) -> None:
        DBOS(
            config={
                "name": "bench",
                "system_database_url": self.task.database,
                "executor_id": f"process-{os.getpid()}",
                "application_version": VERSION,
                "log_level": "WARNING",
            }
        )
        DBOS.launch()


if __name__ == "__main__":
    answer(works(Dbos))
