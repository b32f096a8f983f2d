"""What every process that performs steps does beside them: it says that it lives, relays, takes over from dead workers,
fires schedules, goes on with actions on many runs, and keeps to SQUIDMESH_RETENTION.

A new periodic duty goes into `Maintenance.once`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from .. import bulk_jobs
from ..outcomes import let_ctrl_c_through, type_name
from ..relay import relay, take_from_dead_workers

if TYPE_CHECKING:
    from ..runtime import Runtime


LONGEST_INTERVAL_SECONDS = 15.0
BULK_SECONDS = 5.0
UPKEEP = "upkeep"
TAKEOVER_LOOKS = 10
"""Within a claim timeout, for an executor whose workers do not look into the database by themselves."""

logger = logging.getLogger("flask_squidmesh")


class Maintenance:
    """Does it from a thread of its own for as long as the `with` block lasts, however busy the process is.

    queue: whose work the process takes. threads: how many steps it performs at once.
    """

    def __init__(self, runtime: Runtime, *, queue: str, threads: int) -> None:
        self._runtime, self._queue, self._threads = runtime, queue, threads
        self._since = runtime.clock.now()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="squidmesh-upkeep", daemon=True)

    def __enter__(self) -> Maintenance:
        """Begin."""
        self._runtime.claims.on_beat.append(self._beat)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, and take the process off the list of those that live."""
        self._ended.set()
        self._runtime.claims.on_beat.remove(self._beat)
        self._thread.join()
        self._sign_off()

    def once(self) -> None:
        """Relay, fire schedules and go on with bulk actions now."""
        with self._runtime.in_context():
            for duty in (relay, self._fire, self._go_on_in_bulk):
                self._attend(duty)

    def _run(self) -> None:
        with self._runtime.database.reserved(UPKEEP):
            self._go_on()
        self._runtime.database.let_go(UPKEEP)

    def _go_on(self) -> None:
        # A process may take over from the dead only while its silences stay shorter than a claim holds.
        interval = min(LONGEST_INTERVAL_SECONDS, self._runtime.settings.claim_timeout / 2)
        begins = True
        while True:
            try:
                with self._runtime.in_context():
                    self._beat()
                    if begins:
                        self._attend(lambda runtime: runtime.heartbeats.forget_the_dead())
                    begins = False
                    self.once()
                    self._attend(lambda runtime: runtime.retention.keep(self._ended.wait))
            except BaseException as error:  # the host's code too; the thread goes on
                logger.warning("squidmesh: the worker's upkeep failed (%s)", type_name(error))
            if self._waited(interval):
                return

    def _waited(self, seconds: float) -> bool:
        """Wait until the next round; answer whether this is the end. Meanwhile look for what dead workers held, where
        the executor's workers do not look into the database by themselves."""
        until, timeout = time.monotonic() + seconds, self._runtime.settings.claim_timeout
        looks_itself = hasattr(self._runtime.executor, "wake")
        while (left := until - time.monotonic()) > 0:
            if self._ended.wait(left if looks_itself else min(left, timeout / TAKEOVER_LOOKS)):
                return True
            if not looks_itself:
                self._attend(_take_over)
        return self._ended.is_set()

    def _attend(self, duty: Callable[[Runtime], object]) -> None:
        """One duty that cannot be done keeps nobody from the others."""
        if self._ended.is_set():
            return
        try:
            duty(self._runtime)
        except BaseException as error:
            let_ctrl_c_through(error)
            logger.warning("squidmesh: the worker's upkeep failed (%s)", type_name(error))

    def _fire(self, runtime: Runtime) -> None:
        runtime.scheduler.fire_due(self._since)

    def _go_on_in_bulk(self, runtime: Runtime) -> None:
        bulk_jobs.go_on_with_all(runtime, BULK_SECONDS)

    def _beat(self) -> None:
        self._runtime.heartbeats.record("worker", self._runtime.worker_name, queue=self._queue, threads=self._threads)

    def _sign_off(self) -> None:
        try:
            with self._runtime.in_context():
                self._runtime.heartbeats.forget(self._runtime.worker_name)
        except Exception as error:
            logger.warning("squidmesh: the worker could not sign off (%s)", type(error).__name__)


def _take_over(runtime: Runtime) -> None:
    with runtime.in_context():
        take_from_dead_workers(runtime)
