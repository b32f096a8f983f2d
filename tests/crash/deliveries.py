"""What delivers the work: the database's own workers, or a queue that forgets or repeats what a dead process held."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from flask_squidmesh import Executor
from flask_squidmesh.executor import Payload, Wake
from flask_squidmesh.integrations.database_executor import DatabaseExecutor
from flask_squidmesh.testing import drain
from tests.shop import Shop

from .points import Points


class Delivering(Executor):
    """An executor with a point on either side of each hand-over, which also says how its work is performed."""

    def __init__(self, points: Points) -> None:
        self._points = points

    def begin(self, shop: Shop) -> None:
        """Nothing has been handed over yet. The jobs to come are those of this app."""

    @abstractmethod
    def deliver(self, shop: Shop) -> None:
        """Perform all that is due now."""

    def process_died(self) -> None:
        """What it held is taken back, or lost."""


class Workers(Delivering, DatabaseExecutor):
    """The executor `database`."""

    def enqueue(self, payload: Payload, *, schedule_in: float | None = None) -> Mapping[str, Any]:
        with self._points.around("a hand-over"):
            return super().enqueue(payload, schedule_in=schedule_in)

    def wake(self, payload: Payload, *, schedule_in: float | None = None) -> Wake:
        with self._points.around("a hand-over within"):
            return super().wake(payload, schedule_in=schedule_in)

    def deliver(self, shop: Shop) -> None:
        drain()


class Queue(Delivering):
    """A host's own queue, which takes a job off before it is done and so loses it with the process."""

    def begin(self, shop: Shop) -> None:
        self._now = shop.clock.now
        self._jobs: list[tuple[datetime, Payload]] = []
        self._held: list[tuple[datetime, Payload]] = []

    def enqueue(self, payload: Payload, *, schedule_in: float | None = None) -> Mapping[str, Any]:
        with self._points.around("a hand-over"):
            self._jobs.append((self._now() + timedelta(seconds=schedule_in or 0), Payload(payload)))
            return {"jobs": len(self._jobs)}

    def deliver(self, shop: Shop) -> None:
        while due := [job for job in self._jobs if job[0] <= self._now()]:
            self._held = due[:1]
            self._jobs.remove(due[0])
            shop.mesh.perform(due[0][1])
            self._held = []

    def process_died(self) -> None:
        self._held = []


class RepeatingQueue(Queue):
    """A host's own queue, which delivers a job again whose process died."""

    def process_died(self) -> None:
        self._jobs = self._held + self._jobs
        self._held = []


DELIVERIES: Final[Mapping[str, type[Delivering]]] = {
    "database": Workers,
    "forgetful queue": Queue,
    "repeating queue": RepeatingQueue,
}
